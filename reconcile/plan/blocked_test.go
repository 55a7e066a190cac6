package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// What runs and would be ended for another in its place is to be looked into, and
// nothing else: not what is as declared, has ended, or is on its way to its end.
func TestSuccessors(t *testing.T) {
	args := func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"x"} }
	hostname := func(s *desired.Sandbox) { s.Spec.Hostname = "h" }
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   []string
	}{
		{"as declared", func(*Input) {}, nil},
		{"labels", func(in *Input) { redeclare(in, func(s *desired.Sandbox) { s.Labels = nil }) }, nil},
		{"a container", func(in *Input) { redeclare(in, args) }, []string{"app"}},
		{"the sandbox", func(in *Input) { redeclare(in, hostname, args) }, []string{Whole}},
		{"a container less", func(in *Input) {
			redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
		}, nil},
		{"a restart", func(in *Input) { recall(&in.Memory, "web", func(cm *ContainerMemory) { cm.RestartAsked = t0 }) }, []string{"web"}},
		{"a restart of the sandbox", func(in *Input) { in.Memory.RestartAsked = t0 }, []string{Whole}},
		{"frozen", func(in *Input) { freeze(in); redeclare(in, args) }, []string{"app"}},
		{"ended", func(in *Input) { redeclare(in, args); end(in, "app", 1, time.Second) }, nil},
		{"nothing runs", func(in *Input) {
			redeclare(in, hostname)
			end(in, "app", 1, time.Second)
			end(in, "web", 1, time.Second)
		}, nil},
		{"asked to end", func(in *Input) {
			redeclare(in, args)
			recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.StopID, cm.StopAsked = "box.app.1", t0 })
		}, nil},
		{"the sandbox was asked to end", func(in *Input) { redeclare(in, hostname); in.Memory.StopAsked = t0 }, nil},
		{"declared stopped", func(in *Input) { redeclare(in, args, desiredtest.State(desired.Stopped)) }, nil},
		{"declared no more", undeclare, nil},
		{"blind", func(in *Input) { redeclare(in, args); in.Blind = true }, nil},
		{"silent", func(in *Input) { redeclare(in, args); in.Observed.Unresponsive = true }, nil},
		{"gone", func(in *Input) { redeclare(in, hostname); noProcess(in) }, nil},
	} {
		in := settled(newDeclared())
		c.change(&in)
		if got := Successors(&in); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What could not be started takes nothing down: what runs goes on, it is told of
// once, and the rest of the sandbox is kept as ever. Once it could it is.
func TestBlockedChangeEndsNothing(t *testing.T) {
	app := func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"x"} }
	whole := func(s *desired.Sandbox) { s.Spec.Hostname = "h" }
	const goesOn = "; what runs goes on as it was, since the next could not be started: no such file"
	for _, c := range []struct {
		name    string
		change  func(*Input)
		blocked string
		says    string
		freed   Verb
	}{
		{"a container", func(in *Input) { redeclare(in, app) }, "app", `container "app" was changed: args` + goesOn, Signal},
		{"a restart", func(in *Input) { recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.RestartAsked = t0 }) },
			"app", `a restart of container "app" was asked for` + goesOn, Signal},
		{"the sandbox", func(in *Input) { redeclare(in, app, whole) }, Whole, "the sandbox was changed: hostname" + goesOn, Signal},
		{"the sandbox, one less", func(in *Input) {
			redeclare(in, whole, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
		}, Whole, "the sandbox was changed: hostname" + goesOn, Signal},
		{"a restart of the sandbox", func(in *Input) { in.Memory.RestartAsked = t0 }, Whole, whyRenewed + goesOn, Signal},
		{"frozen", func(in *Input) {
			redeclare(in, app, desiredtest.State(desired.Paused))
			freeze(in)
		}, "app", `container "app" was changed: args` + goesOn, Resume},
		{"to be suspended", func(in *Input) { redeclare(in, app, desiredtest.State(desired.Suspended)) },
			"app", `container "app" was changed: args` + goesOn, Signal},
		{"frozen, to be suspended", func(in *Input) {
			redeclare(in, whole, desiredtest.State(desired.Suspended))
			freeze(in)
		}, Whole, "the sandbox was changed: hostname" + goesOn, Resume},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := settled(newDeclared())
			c.change(&in)
			in.Blocked = map[string]string{c.blocked: "no such file"}
			r := Decide(in)
			for _, a := range r.Actions {
				if a.Verb != SetLimits {
					t.Errorf("it acts: %+v", a)
				}
			}
			if len(r.Conditions) != 1 || r.Conditions[0] != (Condition{StartBlocked, StartBlocked, c.says}) {
				t.Errorf("the conditions are %+v", r.Conditions)
			}
			if len(r.Notices) != 1 || r.Notices[0] != (Notice{"", StartBlocked, c.says}) {
				t.Errorf("it tells %+v", r.Notices)
			}
			in.Memory = r.Memory
			if r = Decide(in); len(r.Notices) > 0 || !r.Memory.Equal(in.Memory) {
				t.Errorf("it tells again: %+v", r.Notices)
			}
			in.Blocked = nil
			if r = Decide(in); len(r.Actions) == 0 || r.Actions[0].Verb != c.freed || len(r.Conditions) > 0 || r.Memory.Blocked != "" {
				t.Errorf("once it can be started: %+v, with %+v", r.Actions, r.Conditions)
			}
		})
	}
}

// A sandbox that goes on as it was has its containers kept: one that ends by itself
// is started again, with its back-off, unless it is declared for the next sandbox;
// a gofer that dies gets a successor.
func TestBlockedSandboxIsKept(t *testing.T) {
	blocked := func(changes ...func(*desired.Sandbox)) Input {
		in := settled(newDeclared())
		redeclare(&in, append(changes, func(s *desired.Sandbox) { s.Spec.Hostname = "h" })...)
		in.Blocked = map[string]string{Whole: "no such file"}
		in.Memory = Decide(in).Memory // who has noted the change
		return in
	}
	in := blocked()
	began := t0.Add(-time.Second)
	recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.Attempts, cm.LiveAt = 3, began })
	containerOf(&in, "app").StartedAt = began
	end(&in, "app", 1, time.Millisecond)
	r := Decide(in)
	if due := r.Memory.Containers["app"].NextStart; len(r.Actions) > 0 || !due.After(t0) || !r.Again.Equal(due) {
		t.Errorf("its back-off ends at %s, it is looked at again at %s, and acts: %+v", due, r.Again, r.Actions)
	}
	in.Memory, in.Now = r.Memory, r.Memory.Containers["app"].NextStart
	if r = Decide(in); len(r.Actions) != 1 || r.Actions[0].Verb != Start || r.Actions[0].Container != "app" {
		t.Errorf("after that: %+v", r.Actions)
	}

	in = blocked(func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"x"} })
	end(&in, "app", 1, time.Hour)
	if r = Decide(in); len(r.Actions) > 0 {
		t.Errorf("one for the next sandbox: %+v", r.Actions)
	}

	in = blocked()
	containerOf(&in, "web").GoferRun = observed.Gone
	if r = Decide(in); len(r.Actions) != 1 || r.Actions[0].Verb != ReplaceGofer {
		t.Errorf("without its gofer: %+v", r.Actions)
	}

	in = settled(newDeclared())
	redeclare(&in, desiredtest.State(desired.Stopped), func(s *desired.Sandbox) { s.Spec.Hostname = "h" })
	in.Blocked = map[string]string{Whole: "no such file"}
	if r = Decide(in); len(r.Actions) == 0 || !strings.Contains(r.Actions[0].Reason, whyStopped) {
		t.Errorf("declared Stopped: %+v", r.Actions)
	}
}
