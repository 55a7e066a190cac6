package main

import (
	"errors"
	"strings"
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
		w := waiter{c: &cli{stdout: &out}, goal: forExit}
		if err := w.see(running("web.app.2", c.before)); err != nil {
			t.Errorf("%s: at first: %v", what, err)
		}
		err := w.see(running("web.app.3", c.after))
		if reached := errors.Is(err, errReached); reached != (c.says != "") || out.String() != c.says {
			t.Errorf("%s: it says %q, %v; want %q", what, out.String(), err, c.says)
		}
	}
}
