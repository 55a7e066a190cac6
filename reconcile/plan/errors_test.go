package plan

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sandboxer/desired"
)

var errFailed = errors.New("no luck")

func TestFailed(t *testing.T) {
	d := newDeclared()
	m := settled(d).Memory
	for _, tt := range []struct {
		name string
		a    Action
		err  error
		want func(*Memory)
	}{
		{"changed world: no failure", Action{Verb: Create, Sandbox: "box"}, fmt.Errorf("x: %w", ErrChanged), nil},
		{"create", Action{Verb: Create, Sandbox: "box"}, errFailed, func(m *Memory) {
			m.CreateFailures, m.LastError = 1, "no luck"
			m.NextCreate = t0.Add(createDelay(d.Spec.RestartBackoff, "box", 1))
		}},
		{"score, but not denied", Action{Verb: SetOOMScore}, errFailed, nil},
		{"start is recorded elsewhere", Action{Verb: Start, Container: "app"}, errFailed, nil},
		{"limits", Action{Verb: SetLimits}, errFailed, func(m *Memory) {
			m.LimitsDenied, m.LimitsDeniedFor, m.LimitsRetry = "no luck", d.LimitsHash, t0.Add(time.Minute)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := cloneMemory(m)
			if tt.want != nil {
				tt.want(&want)
			}
			if s := diff(want, m.Failed(tt.a, d, tt.err, t0)); s != "" {
				t.Error(s)
			}
		})
	}
	t.Run("a signal that was not sent has not begun the grace", func(t *testing.T) {
		in := settled(d)
		undeclare(&in)
		r := Decide(in)
		got := r.Memory
		for _, a := range r.Actions {
			got = got.Failed(a, nil, errFailed, t0)
		}
		want := cloneMemory(in.Memory)
		want.StopAsked = t0
		if s := diff(want, got); s != "" {
			t.Error(s)
		}
	})
}

// A container that is declared again as soon as it was removed is missed by nobody.
func TestDeclaredAgainOnceRemoved(t *testing.T) {
	d := newDeclared()
	without := newDeclared(func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
	in := settled(d)
	for _, a := range []Action{{Verb: Remove, Container: "web"}, {Verb: Remove, Container: "app"}, {Verb: Kill, Container: "web"}} {
		m := in.Memory.Done(a, without)
		if _, is := m.Containers[a.Container]; is != (a.Verb != Remove || a.Container == "app") {
			t.Errorf("after %s of %q its memory is there: %v", a.Verb, a.Container, is)
		}
	}
	in.Memory = in.Memory.Done(Action{Verb: Remove, Container: "web"}, without)
	in.Observed.Containers = in.Observed.Containers[:1]
	in.Observed.Scores = in.Observed.Scores[:2]
	if r := Decide(in); len(r.Actions) != 1 || r.Actions[0].Verb != Start || len(r.Notices) > 0 {
		t.Errorf("%+v, %+v", r.Actions, r.Notices)
	}
}
