package status

import (
	"slices"
	"testing"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// What changes in place is always told of, the rest where no action does.
func TestUpdates(t *testing.T) {
	was := &desired.Sandbox{Name: "web", Spec: desired.Spec{Containers: []desired.Container{{Name: "app"}, {Name: "log"}}}}
	is := &desired.Sandbox{Name: "web", Labels: map[string]string{"a": "1"}, Spec: desired.Spec{
		Hostname: "h", Containers: []desired.Container{{Name: "app", Args: []string{"x"}, OOMScoreAdj: new(1)}, {Name: "log", Bundle: "/b"}}}}
	const quietly = " changed; no process is touched for it, but as another action here says"
	actions := []plan.Action{
		{Verb: plan.Signal, Container: "app", Class: "container"},
		{Verb: plan.SetOOMScore, Class: "in place"},
	}
	want := []api.Action{
		{Sandbox: "web", Action: "update", Class: "in place", Reason: "labels.a" + quietly},
		{Sandbox: "web", Action: "update", Class: "sandbox", Reason: "hostname changed; the sandbox is made anew when it runs next"},
		{Sandbox: "web", Container: "app", Action: "update", Class: "in place", Reason: "oomScoreAdj" + quietly},
		{Sandbox: "web", Container: "log", Action: "update", Class: "container", Reason: "bundle changed; the container is made anew when it runs next"},
	}
	if got := Updates(was, is, actions); !slices.Equal(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	for _, pair := range [][2]*desired.Sandbox{{was, was}, {nil, is}, {was, nil}} {
		if got := Updates(pair[0], pair[1], nil); got != nil {
			t.Errorf("%+v became %+v by %+v", pair[0], pair[1], got)
		}
	}
}
