package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/reconcile/plan"
)

// A sandbox that does not come up is told of once, however often it is tried again,
// and anew once it had come up.
func TestTroubles(t *testing.T) {
	is := func(phase api.Phase, reason, hash string) api.Sandbox {
		return api.Sandbox{Name: "web", Status: api.Status{Phase: phase, Reason: reason, SpecHash: hash}}
	}
	failing := plan.Memory{Containers: map[string]plan.ContainerMemory{"app": {Attempts: 3}}}
	all := troubles{}
	for i, c := range []struct {
		s    api.Sandbox
		m    plan.Memory
		want bool
	}{
		{is(api.Pending, "Creating", "1"), plan.Memory{}, false},
		{is(api.Pending, api.CrashLoopBackOff, "1"), failing, true},
		{is(api.Running, "", "1"), failing, false},
		{is(api.Pending, api.CrashLoopBackOff, "1"), failing, false},
		{is(api.Failed, "StartError", "1"), failing, true},
		{is(api.Failed, "StartError", "1"), failing, false},
		{is(api.Failed, "StartError", "2"), failing, true},
		{is(api.Pending, "", "2"), plan.Memory{CreateFailures: 1}, false},
		{is(api.Failed, "StartError", "2"), failing, false},
		{is(api.Running, "", "2"), plan.Memory{}, false},
		{is(api.Failed, "StartError", "2"), failing, true},
	} {
		if got := all.tell(c.s, c.m); got != c.want {
			t.Errorf("%d: %s, %s: %v", i, c.s.Status.Phase, c.s.Status.Reason, got)
		}
	}
}

// What is wrong with manifests and what is held are warnings of the log, once each.
func TestWarnings(t *testing.T) {
	var out bytes.Buffer
	log, err := events.Open(events.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemon{c: Config{Log: logr.FromSlogHandler(slog.NewTextHandler(&out, nil))}, events: log}
	set := &desired.Set{Problems: []desired.Problem{{File: "a.yaml", Line: 3, Message: "is wrong"}},
		Held: map[string]string{"b": "the guard", "c": "the guard"}, Blocked: "there is no directory"}
	d.tellNew(&desired.Set{}, set)
	d.tellNew(set, set)
	if n := strings.Count(out.String(), "level=WARN"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, out.String())
	}
	for _, want := range []string{"a.yaml:3: is wrong", `reason="the guard"`, `reason="there is no directory"`} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("not once %s:\n%s", want, out.String())
		}
	}
}
