package daemon

import (
	"slices"
	"strings"
	"testing"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A plan without an action says why a sandbox is not as declared.
func TestPlanNotes(t *testing.T) {
	conditions := []plan.Condition{
		{Type: plan.DependencyNotReady, Message: `waiting for "db"`},
		{Type: plan.RecordDamaged, Message: "is past"},
		{Type: plan.SuspendFailed, Message: "a session runs"},
	}
	if got, want := planNotes("web", "the guard", conditions), []string{"web: the guard",
		`web: waiting for "db"`, "web: a session runs"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for phase, want := range map[api.Phase]string{api.Pending: "web: Pending: why", api.Failed: "web: Failed: why", api.Running: "", api.Succeeded: ""} {
		got := standingNotes(api.Sandbox{Name: "web", Status: api.Status{Phase: phase, Message: "why"}})
		if strings.Join(got, "\n") != want {
			t.Errorf("%s: %q, want %q", phase, got, want)
		}
	}
}

// So does one without an action for what is held, or was rejected.
func TestHoldNote(t *testing.T) {
	set := &desired.Set{
		Sandboxes: map[string]*desired.Sandbox{"guarded": {}, "rejected": {}, "fine": {}},
		Held:      map[string]string{"guarded": "the guard"},
		Problems:  []desired.Problem{{File: "a.yaml", Name: "rejected", Message: "is wrong"}, {File: "a.yaml", Name: "gone", Message: "is wrong"}},
	}
	for name, want := range map[string]string{
		"fine": "", "unknown": "", "guarded": "it is declared no more, and its removal is held: the guard",
		"rejected": "what was accepted last is in force: a.yaml: is wrong", "gone": "it is declared no more, and its removal is held: a.yaml: is wrong",
	} {
		if got := holdNote(set, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// What the daemon is at work on is between two states.
func TestIsHalfway(t *testing.T) {
	of := func(state observed.SandboxState, containers ...observed.Container) observed.Sandbox {
		return observed.Sandbox{Record: &observed.Record{State: state}, Containers: containers}
	}
	in := func(state observed.ContainerState) observed.Container {
		return observed.Container{ContainerRecord: observed.ContainerRecord{State: state}, State: state}
	}
	for what, c := range map[string]struct {
		o    observed.Sandbox
		want bool
	}{
		"nothing":                               {observed.Sandbox{}, false},
		"one that is made":                      {of(observed.SandboxCreating), true},
		"one that is stopped":                   {of(observed.SandboxStopping), true},
		"one that runs":                         {of(observed.SandboxUp, in(observed.Running), in(observed.Stopped)), false},
		"one of its containers that is started": {of(observed.SandboxUp, in(observed.Running), in(observed.Creating)), true},
	} {
		if got := isHalfway(c.o); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// A plan for other manifests says what the deletion guard would hold.
func TestGuardNotes(t *testing.T) {
	now := map[string]*desired.Sandbox{"a": {}, "b": {}, "c": {}, "d": {}}
	d := &daemon{c: Config{DeletionGuard: 0.5}}
	is := func(names ...string) *desired.Set {
		set := &desired.Set{Sandboxes: map[string]*desired.Sandbox{}}
		for _, name := range names {
			set.Sandboxes[name] = now[name]
		}
		return set
	}
	got := d.guardNotes(now, is("a"))
	if len(got) != 1 || !strings.Contains(got[0], "would hold the removal of 3 of 4 sandboxes (b, c, d)") {
		t.Errorf("of three: %q", got)
	}
	rejected := is("a")
	rejected.Problems = []desired.Problem{{Name: "b"}} // which goes on
	for what, set := range map[string]*desired.Set{"two": is("a", "b"), "two and a rejected one": rejected} {
		if got := d.guardNotes(now, set); got != nil {
			t.Errorf("of %s: %q", what, got)
		}
	}
}

// The next step towards another version is its end: what comes then is said.
func TestAnewNotes(t *testing.T) {
	s := &desired.Sandbox{Name: "web", Spec: desired.Spec{State: desired.Running, Containers: []desired.Container{{Name: "app"}, {Name: "aid"}}}}
	signal := func(container, class string) plan.Action {
		return plan.Action{Verb: plan.Signal, Container: container, Class: class}
	}
	for _, c := range []struct {
		actions []plan.Action
		want    string
	}{
		{[]plan.Action{signal("app", "container")}, "web/app: it is started again once it has ended"},
		{[]plan.Action{signal("gone", "container"), signal("app", ""), {Verb: plan.Start, Container: "aid", Class: "container"}}, ""},
		{[]plan.Action{signal("app", "sandbox"), signal("aid", "sandbox")}, "web: it is made anew once its containers have ended"},
		{[]plan.Action{{Verb: plan.Stop, Class: "sandbox"}}, "web: it is made anew once its containers have ended"},
	} {
		if got := strings.Join(anewNotes(s, c.actions), "\n"); got != c.want {
			t.Errorf("%v: %q, want %q", c.actions, got, c.want)
		}
	}
	stopped := *s
	stopped.Spec.State = desired.Stopped
	for what, s := range map[string]*desired.Sandbox{"what is declared no more": nil, "what is to be stopped": &stopped} {
		if got := anewNotes(s, []plan.Action{signal("app", "container")}); got != nil {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// Who waits for what has ended is told that it will not come.
func TestDependencyOfEnded(t *testing.T) {
	got := dependencyOf(api.Sandbox{Status: api.Status{Phase: api.Succeeded}})
	if got.Ready || !strings.Contains(got.Trouble, "init container's work") {
		t.Errorf("%+v", got)
	}
}

// A signal that is passed on is told of as what it is, and not where it is a
// command's of exec, or only tells of a window.
func TestSignalsThatAreNoKills(t *testing.T) {
	log, err := events.Open(events.Config{Dir: t.TempDir()})
	check(t, err)
	defer log.Close()
	d := &daemon{events: log}
	for _, k := range []api.KillRequest{
		{Signal: "HUP"},
		{Signal: "2", ContainerID: "web.app.1", PID: 7},
		{Signal: "2", ContainerID: "web.app.1", PID: 7, Foreground: true},
		{Signal: "2", ContainerID: "web.app.1"},
		{Signal: "28", ContainerID: "web.app.1", Foreground: true},
		{Signal: "WINCH"},
		{Signal: "37"},
		{Signal: "no such"},
	} {
		d.asked(api.Audit{Method: "POST", Path: "/v1/sandboxes/web/kill", Sandbox: "web", Container: "app", Signal: &k, PID: 1, Program: "p"})
	}
	var got []string
	for _, e := range log.List("web") {
		got = append(got, e.Container+" "+e.Message)
	}
	want := []string{`app SIGHUP for container "app" was asked for by uid 0 (p, pid 1)`,
		`app SIGINT for container "app" came through attach of uid 0 (p, pid 1)`,
		`app SIGWINCH for container "app" was asked for by uid 0 (p, pid 1)`,
		`app SIGRTMIN+3 for container "app" was asked for by uid 0 (p, pid 1)`}
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
}

// An event of what was asked for names the command, and no request.
func TestWhatAsked(t *testing.T) {
	for uri, want := range map[string]string{
		"/v1/sandboxes/web/restart":                       "restart",
		"/v1/sandboxes/web/restart?container=app":         `restart of container "app"`,
		"/v1/sandboxes/web/restart?container=app&gofer=1": `restart of gofers of container "app"`,
		"/v1/sandboxes/web/checkpoint":                    "checkpoint",
		"/v1/confirm-deletions":                           "the deletion of what is held",
		"/v1/sandboxes/web/new":                           "POST /v1/sandboxes/web/new",
	} {
		if got := whatAsked("POST", uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}
