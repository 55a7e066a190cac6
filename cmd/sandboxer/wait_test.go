package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sandboxer/internal/api"
)

// A container that runs again before anybody looked has ended all the same, and
// what it ended with is told. What had ended before the wait does not count.
func TestWaitForTheEndOfWhatRunsAgain(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	running := func(id string, last *api.Exit) api.Change {
		return api.Change{Sandbox: api.Sandbox{Name: "web", Status: api.Status{
			Containers: []api.Container{{Name: "app", ID: id, State: "running", LastExit: last}}}}}
	}
	first := &api.Exit{ID: "web.app.1", ExitCode: new(3), FinishedAt: &at}
	for what, c := range map[string]struct {
		before *api.Exit
		after  *api.Exit
		says   string
	}{
		"the first end":              {nil, first, "3\n"},
		"a further end":              {first, &api.Exit{ID: "web.app.2", ExitCode: new(137), FinishedAt: &at}, "137\n"},
		"an ID that came again":      {first, &api.Exit{ID: "web.app.1", ExitCode: new(4), FinishedAt: new(at.Add(time.Second))}, "4\n"},
		"an end nobody can tell":     {first, &api.Exit{ID: "web.app.2"}, "unknown\n"},
		"the end before, once more":  {first, &api.Exit{ID: "web.app.1", ExitCode: new(3), FinishedAt: new(at)}, ""},
		"no end yet of a first one ": {nil, nil, ""},
	} {
		var out strings.Builder
		w := waiter{c: &cli{stdout: &out}, mu: &sync.Mutex{}, goal: forExit}
		if err := w.see(running("web.app.2", c.before)); err != nil {
			t.Errorf("%s: at first: %v", what, err)
		}
		err := w.see(running("web.app.3", c.after))
		if reached := errors.Is(err, errReached); reached != (c.says != "") || out.String() != c.says {
			t.Errorf("%s: it says %q, %v; want %q", what, out.String(), err, c.says)
		}
	}
}

// All phases and conditions that the manual tells of can be waited for, and no
// others.
func TestWaitKnowsWhatTheManualLists(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, known := range map[string][]string{"## Phases": phases(), "## Conditions": conditionTypes()} {
		_, section, _ := strings.Cut(string(manual), "\n"+title+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		listed := map[string]bool{}
		for line := range strings.Lines(section) {
			cells := strings.Split(line, "|")
			if len(cells) < 3 || !strings.HasPrefix(line, "| `") {
				continue
			}
			for name := range strings.SplitSeq(cells[1], ",") {
				listed[strings.Trim(name, " `")] = true
			}
		}
		for _, name := range known {
			if !listed[name] {
				t.Errorf("the manual does not tell of %s", name)
			}
			delete(listed, name)
		}
		for name := range listed {
			t.Errorf("%q can't be waited for", name)
		}
	}
}

// What can't come without a change is not waited for; what may come by itself, or
// by a removal, is.
func TestWaitForWhatCannotCome(t *testing.T) {
	at := new(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	ended := func(name string, code int) api.Container {
		return api.Container{Name: name, ID: "w." + name + ".1", State: "stopped", ExitCode: new(code), FinishedAt: at, Final: true}
	}
	because := func(c api.Container, reason, message string) api.Container {
		c.Reason, c.Message = reason, message
		return c
	}
	runs := api.Container{Name: "app", ID: "w.app.1", State: "running"}
	is := func(declared string, phase api.Phase, conditions string, list ...api.Container) api.Change {
		ch := api.Change{Sandbox: api.Sandbox{Name: "w", DesiredState: declared, Status: api.Status{Phase: phase, Message: "why", Containers: list}}}
		if conditions != "" {
			ch.Status.Conditions = []api.Condition{{Type: conditions, Message: "because"}}
		}
		return ch
	}
	goals := []string{""}
	for _, g := range []string{"ready", "exit", "deleted", "Pending", "Created", "Running", "Paused", "Stopped", "Suspended", "Succeeded", "Failed", "Terminating", "Invalid", "Unsupported"} {
		goal, err := parseGoal(g)
		if err != nil {
			t.Fatal(err)
		}
		goals = append(goals, goal)
	}
	for what, c := range map[string]struct {
		is api.Change
		// reached and waits list goals; all others are given up, with says.
		reached, waits string
		says           string
	}{
		"a job that failed": {is("Running", api.Failed, "", ended("app", 3)), "exit Failed", "deleted Pending Terminating Invalid Unsupported",
			`container "app" ended with exit code 3, for good`},
		"a job that succeeded": {is("Running", api.Succeeded, "", ended("app", 0)), "- exit Succeeded", "deleted Pending Terminating Invalid Unsupported",
			`container "app" ended with exit code 0, for good`},
		"a job that failed before it was paused": {is("Paused", api.Failed, "", ended("app", 3)), "exit Failed", "deleted Pending Terminating Invalid Unsupported",
			"exit code 3, for good"},
		"a job that could not be started": {is("Running", api.Failed, "", because(ended("app", 128), "StartError", "no such file")), "exit Failed",
			"deleted Pending Terminating Invalid Unsupported", `container "app" can't be started: no such file, for good`},
		"a job that used too much memory": {is("Running", api.Failed, "", because(ended("app", 137), "OOMKilled", "it used 65 MiB")), "exit Failed",
			"deleted Pending Terminating Invalid Unsupported", `container "app" ended with exit code 137 (OOMKilled), for good`},
		"one of two that failed":  {is("Running", api.Running, "", runs, ended("job", 3)), "- Running", "exit deleted Pending Failed Terminating Invalid Unsupported", ""},
		"what runs":               {is("Running", api.Running, "", runs), "- Running", "ready exit deleted Pending Succeeded Failed Terminating Invalid Unsupported", "it is declared Running"},
		"what is tried again":     {is("Running", api.Failed, "CreateFailed"), "Failed", "- ready exit deleted Pending Created Running Paused Stopped Suspended Succeeded Terminating Invalid Unsupported", ""},
		"what waits for others":   {is("Running", api.Pending, "DependencyMissing", api.Container{Name: "app", State: "creating"}), "Pending", "- ready exit deleted Created Running Paused Stopped Suspended Succeeded Failed Terminating Invalid Unsupported", ""},
		"what is stopped":         {is("Stopped", api.Stopped, "", api.Container{Name: "app", State: "stopped", Final: true}), "- Stopped", "deleted Pending Terminating Invalid Unsupported", "it is declared Stopped"},
		"what is being stopped":   {is("Stopped", api.Pending, "", runs), "Pending", "- ready exit deleted Created Running Paused Stopped Suspended Succeeded Failed Terminating Invalid Unsupported", ""},
		"what is suspended":       {is("Suspended", api.Suspended, ""), "- Suspended", "deleted Pending Terminating Invalid Unsupported", "it is declared Suspended"},
		"what is created":         {is("Created", api.Created, "", api.Container{Name: "app", State: "created", Final: true}), "- Created", "deleted Pending Terminating Invalid Unsupported", "it is declared Created"},
		"what is paused":          {is("Paused", api.Paused, "", runs), "- Paused", "deleted Pending Terminating Invalid Unsupported", "it is declared Paused"},
		"what can't be":           {is("Suspended", api.Pending, "Unsupported", runs), "Pending Unsupported", "ready exit deleted Created Running Paused Stopped Succeeded Failed Terminating Invalid", "because"},
		"what was never accepted": {is("", api.Invalid, "ManifestRejected"), "Invalid", "deleted Pending Terminating Unsupported", ""},
		"what goes on as before":  {is("Running", api.Running, "ManifestRejected", runs), "Running", "exit deleted Pending Succeeded Failed Terminating Invalid Unsupported", ""},
		"what is held":            {is("", api.Running, "DeletionHeld", runs), "Running", "- ready exit deleted Pending Created Paused Stopped Suspended Succeeded Failed Terminating Invalid Unsupported", ""},
	} {
		for _, goal := range goals {
			short := goal
			if short == "" {
				short = "-"
			}
			w := waiter{c: &cli{stdout: &strings.Builder{}}, mu: &sync.Mutex{}, arg: "w", goal: goal}
			err := w.see(c.is)
			got := map[bool]string{true: "waits", false: "given up"}[err == nil]
			if errors.Is(err, errReached) {
				got = "reached"
			}
			want := "given up"
			if slices.Contains(strings.Fields(c.waits), short) {
				want = "waits"
			}
			if slices.Contains(strings.Fields(c.reached), short) {
				want = "reached"
			}
			if got != want || got == "given up" && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, --for %s: %s, %v; want %s, %s", what, goal, got, err, want, c.says)
			}
		}
	}
}

// What is ready by a document before the latest one is not what was asked for.
func TestWaitForReadyHeedsRejection(t *testing.T) {
	w := waiter{c: &cli{stdout: &strings.Builder{}}, mu: &sync.Mutex{}, arg: "w", goal: forReady}
	err := w.see(api.Change{Sandbox: api.Sandbox{Name: "w", DesiredState: "Running", Status: api.Status{Phase: api.Running, Ready: true,
		Conditions: []api.Condition{{Type: api.ManifestRejected, Message: "w.yaml:3: no"}}}}})
	if err == nil || !strings.Contains(err.Error(), "was rejected: w.yaml:3: no") {
		t.Errorf("%v", err)
	}
}

// A container is judged by itself, and not by its siblings.
func TestWaitForOneContainer(t *testing.T) {
	ended := api.Container{Name: "job", State: "stopped", ExitCode: new(3), FinishedAt: new(time.Now()), Final: true}
	app := func(state string, ready bool) api.Container {
		return api.Container{Name: "app", State: state, Ready: ready}
	}
	for what, c := range map[string]struct {
		app        api.Container
		conditions []api.Condition
		reached    bool
	}{
		"ready beside one that failed":     {app("running", true), nil, true},
		"not ready yet":                    {app("running", false), nil, false},
		"paused":                           {app("paused", true), nil, false},
		"of a sandbox that answers nobody": {app("running", true), []api.Condition{{Type: api.RuntimeUnreachable}}, false},
	} {
		ch := api.Change{Sandbox: api.Sandbox{Name: "w", DesiredState: "Running", Status: api.Status{Phase: api.Running,
			Conditions: c.conditions, Containers: []api.Container{c.app, ended}}}}
		w := waiter{c: &cli{stdout: &strings.Builder{}}, mu: &sync.Mutex{}, arg: "w/app", container: "app", goal: forReady}
		if err := w.see(ch); errors.Is(err, errReached) != c.reached || !c.reached && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		w.container = "job"
		if err := w.see(ch); err == nil || !strings.Contains(err.Error(), `container "job" ended with exit code 3, for good`) {
			t.Errorf("%s: the one that failed: %v", what, err)
		}
	}
}

// Several have to be there at the same moment, and what can't come there is not
// waited for by the others.
func TestWaitForSeveralAtOnce(t *testing.T) {
	over := false
	meet := &meeting{missing: map[string]bool{"a": true, "b": true, "c": true}, all: func() { over = true }}
	is := func(name string, ready bool) {
		t.Helper()
		w := waiter{c: &cli{stdout: &strings.Builder{}}, mu: &sync.Mutex{}, meet: meet, arg: name, goal: forReady}
		if err := w.stand(w.see(api.Change{Sandbox: api.Sandbox{Name: name, Status: api.Status{Ready: ready}}})); err != nil {
			t.Fatal(err)
		}
	}
	is("a", true)
	is("b", false)
	is("a", false)
	is("b", true)
	meet.leave("c")
	if over || meet.isThere("a") || !meet.isThere("b") {
		t.Errorf("over %v while one is not ready any more", over)
	}
	// Nobody knows how those are that a daemon would tell of which is away.
	(&waiter{c: &cli{stderr: &strings.Builder{}}, mu: &sync.Mutex{}, meet: meet, arg: "b"}).lose(t.Context(), api.ErrCut)
	is("a", true)
	if over {
		t.Error("over while one is not known")
	}
	is("b", true)
	if !over {
		t.Error("not over while all are ready")
	}
}
