package test

import (
	"encoding/json"
	"fmt"
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

// An end that was asked for is no warning, and says that it was; a crash is one.
func TestAskedEndsAreNoWarnings(t *testing.T) {
	w := start(t)
	ended := func(name, container string) occurrence {
		t.Helper()
		var last occurrence
		told := w.until(func() bool {
			for _, e := range w.occurrences(name) {
				if e.Reason == "Ended" && e.Container == container {
					last = e
				}
			}
			return last.Reason != ""
		})
		if !told {
			t.Errorf("the end of %s/%s is not told of", name, container)
		}
		return last
	}
	normal := func(sandbox, container, want string) {
		t.Helper()
		if e := ended(sandbox, container); e.Type != "Normal" || e.Message != fmt.Sprintf("container %q %s", container, want) {
			t.Errorf("the end of %s/%s is told as %+v, want %q", sandbox, container, e, want)
		}
	}
	const term = "exit-on-term 143 then print up then sleep"
	two := "containers:\n- " + box("app", term) + "\n- " + box("aid", term, "restartPolicy: Never")
	const asked = "ended with exit code 143, as it was asked to"
	for name, end := range map[string]func(string){
		"restarted": func(name string) { w.ok("restart", name) },
		"edited": func(name string) {
			w.declare(name, "hostname: other\n"+two)
		},
		"stopped":  func(name string) { w.declare(name, "state: Stopped\n"+two) },
		"removed":  w.undeclare,
		"left-out": func(name string) { w.declare(name, "containers:\n- "+box("aid", term, "restartPolicy: Never")) },
	} {
		w.declare(name, two)
		w.running(name)
		w.said(name+"/app", "up")
		w.said(name+"/aid", "up")
		end(name)
		normal(name, "app", asked)
		if name != "left-out" {
			normal(name, "aid", asked)
		}
		switch name {
		case "stopped":
			s := w.wait(name, "stopped", phase("Stopped"))
			if c := s.box("app"); c.Reason != "Stopped" || !c.exited(143) {
				t.Errorf("a container of a stopped sandbox is %+v", c)
			}
		case "restarted":
			w.running(name)
			if out := w.ok("describe", name); !strings.Contains(out, "Stopped, exit code 143, ") || strings.Contains(out, "Warning") {
				t.Errorf("after a restart describe says\n%s", out)
			}
		}
	}
	w.declare("killed", two)
	w.running("killed")
	w.said("killed/aid", "up")
	w.ok("kill", "killed/aid")
	normal("killed", "aid", "ended with exit code 143, as a user asked")
	s := w.wait("killed", "half gone", func(s sandbox) bool { return s.box("aid").State == "stopped" })
	if c := s.box("aid"); c.Reason != "Killed" || !strings.Contains(s.Status.Message, "(Killed)") {
		t.Errorf("after a kill it is %+v", s)
	}
	w.declare("crashed", "restartPolicy: Never\n"+app("exit 143"))
	w.wait("crashed", "known", func(sandbox) bool { return true })
	if e := ended("crashed", "app"); e.Type != "Warning" {
		t.Errorf("a crash is told as %+v", e)
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
			w.stored("web", "hunter2")
			w.kill()
		}
		w.declare("web", web(edit.grace, edit.secret))
		if i == 2 {
			w.start()
		}
		now := w.wait("web", "changed", and(running, func(s sandbox) bool { return s.Status.SpecHash != was.Status.SpecHash }))
		// A pass may be published before the event.
		w.until(func() bool { return len(changed()) > i })
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
