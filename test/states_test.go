package test

import (
	"fmt"
	"strings"
	"testing"
)

// nothing is the state of a sandbox that has no manifest.
const nothing = "nothing"

func TestEveryStateFromEveryOther(t *testing.T) {
	w := start(t)
	states := []string{"Running", "Paused", "Stopped", "Suspended", "Created", nothing}
	for i, from := range states {
		for j, to := range states {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				w := w.in(t)
				name := fmt.Sprintf("s%d%d", i, j)
				var before sandbox
				switch from {
				case nothing:
				case "Paused", "Suspended":
					// Frozen before it is ready, it could not say how it ended.
					w.reach(name, "Running")
					before = w.reach(name, from)
				default:
					before = w.reach(name, from)
				}
				after := w.reach(name, to)
				w.checkPassage(before, after, from, to)
			})
		}
	}
}

// reach declares a state and waits until it is reached.
func (w *world) reach(name, state string) sandbox {
	w.t.Helper()
	if state == nothing {
		w.undeclare(name)
		w.gone(name)
		w.isState(sandbox{Name: name}, state)
		return sandbox{}
	}
	w.declare(name, app("exit-on-term 7 then print ready then sleep", "state: "+state))
	s := w.wait(name, state, func(s sandbox) bool { return s.Status.Phase == state && s.DesiredState == state })
	w.isState(s, state)
	if state == "Running" {
		w.said(name, "ready")
	}
	return s
}

// isState looks at the host for what the manifests' page says of a state.
func (w *world) isState(s sandbox, state string) {
	w.t.Helper()
	c, processes := s.box("app"), len(processesIn(w.parent+"/"+s.Name+"\n"))
	var want struct {
		state     string
		processes bool
		gofer     bool
	}
	switch state {
	case "Running":
		want.state, want.processes, want.gofer = "running", true, true
	case "Paused":
		want.state, want.processes, want.gofer = "paused", true, true
	case "Created":
		want.state, want.processes = "created", true
	case "Stopped", "Suspended":
		want.state = "stopped"
	}
	if c.State != want.state || (c.GoferPID != nil) != want.gofer || (s.Status.SandboxPID != 0) != want.processes ||
		(processes > 0) != want.processes {
		w.t.Errorf("%s is reached with %d processes and %+v", state, processes, s)
	}
	if s.Status.Ready != (state == "Running") {
		w.t.Errorf("%s is reached and ready is %v", state, s.Status.Ready)
	}
}

// checkPassage holds a change of state to its column in the manifests' page.
func (w *world) checkPassage(before, after sandbox, from, to string) {
	w.t.Helper()
	commands := from == "Running" || from == "Paused"
	kept := commands && (to == "Running" || to == "Paused") || from == "Created" && (to == "Running" || to == "Paused")
	if same := before.Status.SandboxPID == after.Status.SandboxPID; kept && !same {
		w.t.Errorf("the sandbox was replaced: %d became %d", before.Status.SandboxPID, after.Status.SandboxPID)
	} else if !kept && same && after.Status.SandboxPID != 0 {
		w.t.Errorf("the sandbox of before goes on")
	}
	c := after.box("app")
	switch {
	case from != "Suspended":
	case to == "Running", to == "Paused":
		if was := before.box("app"); c.ID != was.ID || !c.StartedAt.Equal(*was.StartedAt) {
			w.t.Errorf("%+v came back as %+v", was, c)
		}
		if log := w.ok("logs", after.Name); log != "ready\n" {
			w.t.Errorf("it did not go on where it was: %q", log)
		}
	case to == "Stopped":
		if c.Reason != "Discarded" || c.ExitCode != nil {
			w.t.Errorf("its checkpoint was discarded, and it is %+v", c)
		}
	}
	if c.RestartCount != 0 {
		w.t.Errorf("%d restarts were counted", c.RestartCount)
	}
	if commands && to == "Stopped" && !c.exited(7) {
		w.t.Errorf("it was not stopped gracefully: exit code %s", c.exit())
	}
	if from == "Stopped" && to == "Created" && c.State != "created" {
		w.t.Errorf("the container is %s", c.State)
	}
}

// Memory is kept while a sandbox is frozen, and nothing goes on meanwhile.
func TestPausedIsFrozen(t *testing.T) {
	w := start(t)
	spec := app("tick 0.02")
	w.declare("web", spec)
	before := w.running("web")
	w.said("web", "tick 5")
	w.declare("web", "state: Paused\n"+spec)
	w.wait("web", "paused", phase("Paused"))
	frozen := w.ok("logs", "web")
	// Something that takes many ticks.
	w.declare("other", app("sleep"))
	w.running("other")
	w.undeclare("other")
	w.gone("other")
	if now := w.ok("logs", "web"); now != frozen {
		t.Errorf("it ticked on: %d bytes of log became %d", len(frozen), len(now))
	}
	w.declare("web", spec)
	after := w.running("web")
	if after.box("app").ID != before.box("app").ID || after.box("app").RestartCount != 0 {
		t.Errorf("it was made anew: %+v", after)
	}
	for i, line := range w.said("web", "tick 100") {
		if line != fmt.Sprintf("tick %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

// A volume outlives a stop, and what a container wrote to its root does not.
func TestStoppedKeepsVolumesOnly(t *testing.T) {
	w := start(t)
	spec := `
volumes:
- {name: data, emptyDir: {}}
- {name: small, emptyDir: {sizeLimit: 1Mi}}
containers:
- {name: app, rootfs: {path: ROOT}, command: [/w, count, /data/n, then, count, /small/n, then, count, /n, then, print, ready, then, sleep],
   volumeMounts: [{name: data, mountPath: /data}, {name: small, mountPath: /small}]}`
	w.declare("web", spec)
	w.running("web")
	w.said("web", "ready")
	w.declare("web", "state: Stopped"+spec)
	w.wait("web", "stopped", phase("Stopped"))
	w.declare("web", spec)
	w.running("web")
	got := strings.Join(w.saidTimes("web", "ready", 2), "\n")
	const want = "count 1\ncount 1\ncount 1\nready\nended by terminated\ncount 2\ncount 2\ncount 1\nready"
	if got != want {
		t.Errorf("the log is %q", got)
	}
}
