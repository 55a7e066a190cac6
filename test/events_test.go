package test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// occurrence is an event with all that is told of it.
type occurrence struct {
	Time, Sandbox, Container, Type, Reason, Action, Message, Revision string
}

func (w *world) occurrences(args ...string) []occurrence {
	w.t.Helper()
	var list struct{ Items []occurrence }
	w.json(&list, append([]string{"events", "-o", "json"}, args...)...)
	return list.Items
}

// Events outlive daemon and sandbox. Who follows them, as a table or as JSON,
// goes on when the daemon comes back, and sees each one once.
func TestEventsOverRestarts(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.declare("other", app("sleep"))
	w.running("web")
	w.running("other")
	before := w.occurrences("web")
	if len(before) < 2 || before[0].Sandbox != "web" || before[0].Time == "" || before[0].Message == "" {
		t.Fatalf("the events are %+v", before)
	}
	table, lines := w.session("events", "-f", "-o", "wide"), w.session("events", "web", "-f", "-o", "json")
	var followed []occurrence
	next := func(message string) {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case line := <-lines.lines:
				var e occurrence
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatalf("%v: %q; it says %s", err, line, lines.complaints())
				}
				if followed = append(followed, e); strings.Contains(e.Message, message) {
					return
				}
			case <-timeout:
				t.Fatalf("%q did not come, but %+v", message, followed)
			}
		}
	}
	next(before[len(before)-1].Message)
	table.expect("MESSAGE")
	for i, sig := range []string{"SIGHUP", "SIGUSR2"} {
		w.restart()
		// Each of them ends it, which may not have been seen yet.
		w.wait("web", "running again", and(running, func(s sandbox) bool { return s.box("app").RestartCount >= i }))
		w.ok("kill", "web", "-s", sig)
		next("a user sent " + sig)
		table.expect("a user sent " + sig + " to its first process")
	}
	w.undeclare("web")
	w.gone("web")
	after := w.occurrences("web")
	seen := map[occurrence]int{}
	for _, e := range followed {
		if seen[e]++; seen[e] > 1 {
			t.Errorf("it came twice: %+v", e)
		}
	}
	for i, e := range before {
		if seen[e] != 1 || i >= len(after) || after[i] != e {
			t.Errorf("%+v was not kept, or not shown to who followed: %+v", e, after)
		}
	}
	if out := w.ok("events"); strings.Count(out, "a user sent SIGHUP") != 1 || !strings.Contains(out, "other") {
		t.Errorf("all events are\n%s", out)
	}
}

// Every edit is told of with its old and new values, but for secret ones, and
// the revision that is in force from then on, also where no daemon ran meanwhile.
func TestChangedEvents(t *testing.T) {
	w := start(t)
	web := func(grace, secret string) string {
		return "terminationGracePeriodSeconds: " + grace + "\ncontainers:\n- " + box("app", "sleep", "env: [{name: TOKEN, value: "+secret+"}]")
	}
	w.declare("web", web("1", "hunter1"))
	was := w.running("web")
	changed := func() (list []occurrence) {
		t.Helper()
		for _, e := range w.occurrences("web") {
			if e.Reason == "Changed" {
				list = append(list, e)
			}
		}
		return list
	}
	for i, edit := range []struct{ grace, secret, container, want string }{
		{"2", "hunter1", "", "(in place): terminationGracePeriodSeconds: 1 → 2"},
		{"2", "hunter2", "app", "(container): env[TOKEN].value"},
		{"3", "hunter2", "", "(in place): terminationGracePeriodSeconds: 2 → 3"},
	} {
		if i == 2 {
			w.kill()
		}
		w.declare("web", web(edit.grace, edit.secret))
		if i == 2 {
			w.start()
		}
		now := w.wait("web", "changed", and(running, func(s sandbox) bool { return s.Status.SpecHash != was.Status.SpecHash }))
		list := changed()
		want := "revision " + now.Status.SpecHash + " after " + was.Status.SpecHash + " " + edit.want
		if len(list) != i+1 || list[i].Message != want || list[i].Container != edit.container || list[i].Revision != now.Status.SpecHash {
			t.Errorf("edit %d: %+v, not %q", i, list, want)
		}
		was = now
	}
	w.restart()
	w.running("web")
	if list := changed(); len(list) != 3 {
		t.Errorf("a restart of the daemon changed something: %+v", list)
	}
	if out := w.ok("events", "-o", "json"); strings.Contains(out, "hunter") {
		t.Errorf("a secret is told: %s", out)
	}
}
