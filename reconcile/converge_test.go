package reconcile

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// TestPlanConverges disturbs a fake world at random, with failing actions and
// a daemon that starts anew, then leaves it in peace: the plan must empty
// within some rounds, and the world be as declared.
func TestPlanConverges(t *testing.T) {
	const most = 60
	rapid.Check(t, func(t *rapid.T) {
		now := t0
		w := newFakeWorld(func() time.Time { return now })
		s := &session{t: t, w: w, now: &now, d: plan.Declare(desiredtest.Any(t))}
		calm := false
		w.fails = func() bool { return !calm && rapid.IntRange(0, 4).Draw(t, "fails") == 0 }
		for range rapid.IntRange(0, 25).Draw(t, "disturbances") {
			s.disturb()
		}
		calm, w.deny, w.uncheckpointable = true, false, false
		s.calm()
		var last plan.Result
	rounds:
		for range most {
			if last = s.round(); len(last.Actions) == 0 {
				switch {
				case !last.Again.IsZero():
					now = last.Again
				case !s.initSucceeds():
					break rounds
				}
			}
		}
		w.mu.Lock()
		violations := w.violations
		w.mu.Unlock()
		if len(violations) > 0 {
			t.Fatalf("asked for what must never be: %v", violations)
		}
		if len(last.Actions) > 0 {
			t.Fatalf("after %d rounds there is still: %+v", most, last.Actions)
		}
		if err := w.asDeclared("box", s.d); err != nil {
			t.Fatalf("%v\nmemory %+v", err, s.m)
		}
		if s.d == nil && !s.m.IsZero() {
			t.Fatalf("nothing is left but %+v", s.m)
		}
	})
}

// session is a daemon's work on one sandbox without its loop.
type session struct {
	t    *rapid.T
	w    *fakeWorld
	now  *time.Time
	d    *plan.Declared
	m    plan.Memory
	held bool
	deps map[string]plan.Dependency
}

// round looks, plans and acts once, and forgets what a restart forgets.
func (s *session) round() plan.Result {
	*s.now = s.now.Add(time.Millisecond)
	o, err := s.w.Look(context.Background(), "box")
	r := plan.Decide(plan.Input{Now: *s.now, Name: "box", Desired: s.d, Held: s.held, Blind: err != nil, Observed: o, Memory: s.m, Dependencies: s.deps})
	s.m = r.Memory
	for _, a := range r.Actions {
		s.checkDependencies(a)
		if err := s.w.Do(context.Background(), a, s.d); err != nil {
			s.m = s.m.Failed(a, s.d, err, *s.now)
		} else {
			s.m = s.m.Done(a, s.d)
		}
	}
	b, err := json.Marshal(s.m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.m = plan.Memory{}
	if err := json.Unmarshal(b, &s.m); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *session) disturb() {
	t, w := s.t, s.w
	container := rapid.SampledFrom([]string{"app", "web", "db", "make", "fill"}).Draw(t, "which")
	switch rapid.SampledFrom([]string{
		"round", "round", "round", "round", "time", "exit", "crash", "silence", "torn", "torn container", "lose container",
		"ask", "probe", "preStop is over", "forget preStop", "renew", "dependencies", "dependencies", "exit", "exit", "gofer", "keeper", "gofer and sockets", "memory", "score", "declare", "state", "state", "undeclare", "checkpoints fail", "hold", "blind", "deny", "stubborn", "reboot", "forget",
	}).Draw(t, "event") {
	case "round":
		s.round()
	case "time":
		*s.now = s.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 31 * time.Second, time.Hour, -time.Minute, year, -year}).Draw(t, "passes"))
	case "exit":
		w.exit("box", container, rapid.IntRange(0, 1).Draw(t, "code"))
	case "crash":
		w.crash("box")
	case "silence":
		w.disturb("box", func(b *fakeBox) { b.silent = b.sentry })
	case "torn":
		w.disturb("box", func(b *fakeBox) {
			if b.rec != nil {
				b.rec, b.broken = nil, "torn"
			}
		})
	case "torn container":
		w.disturb("box", func(b *fakeBox) {
			if b.containers[container] != nil {
				b.torn[container], b.excused[container] = "torn", true
			}
		})
	case "lose container":
		w.disturb("box", func(b *fakeBox) {
			delete(b.containers, container)
			delete(b.torn, container)
			b.excused[container] = true
		})
	case "gofer":
		w.disturb("box", func(b *fakeBox) {
			if c := b.containers[container]; c != nil {
				c.gofer = false
			}
		})
	case "ask":
		ask := rapid.SampledFrom([]func([]string, time.Time) func(plan.Memory) plan.Memory{plan.Restart, plan.RestartGofers}).Draw(t, "what")
		container = rapid.SampledFrom([]string{"app", "web", "db"}).Draw(t, "whose")
		s.m = ask([]string{container}, *s.now)(s.m)
	case "renew":
		s.m = plan.Renew([]string{"app", "web", "db"}, *s.now)(s.m)
	case "dependencies":
		s.deps = anyDependencies(t)
	case "probe":
		cm := s.m.Containers[container]
		s.m = plan.Learn(plan.Probed{Container: container, ID: cm.Live, StartedAt: cm.LiveAt, Conclusive: true, Message: "no",
			Kind: rapid.SampledFrom([]string{plan.LivenessProbe, plan.ReadinessProbe, plan.StartupProbe}).Draw(t, "kind")})(s.m)
	case "preStop is over", "forget preStop":
		w.disturb("box", func(b *fakeBox) {
			if c := b.containers[container]; c != nil && c.preStop == observed.PreStopRuns {
				c.preStop = rapid.SampledFrom([]observed.PreStop{observed.PreStopNone, observed.PreStopOver}).Draw(t, "how")
			}
		})
	case "keeper":
		w.disturb("box", func(b *fakeBox) {
			if c := b.containers[container]; c != nil {
				c.keeper = false
			}
		})
	case "gofer and sockets":
		w.disturb("box", func(b *fakeBox) {
			if c := b.containers[container]; c != nil {
				c.gofer, c.sockets = false, false
			}
		})
	case "memory":
		w.disturb("box", func(b *fakeBox) {
			if c := b.containers[container]; c != nil {
				c.used = rapid.Int64Range(0, 200<<20).Draw(t, "used")
			}
		})
	case "score":
		w.disturb("box", func(b *fakeBox) { b.score = 77 })
	case "declare":
		s.d, s.held = plan.Declare(desiredtest.Any(t)), false
	case "state":
		if s.d != nil {
			changed := *s.d.Sandbox
			changed.Spec.State = desiredtest.AnyState().Draw(t, "state")
			s.d = plan.Declare(&changed)
		}
	case "undeclare":
		s.d, s.held = nil, false
	case "hold":
		before := s.d
		s.d, s.held = nil, true
		if r := s.round(); len(r.Actions) > 0 {
			t.Fatalf("held, and yet: %+v", r.Actions)
		}
		s.d, s.held = before, false
	case "blind":
		w.blind = true
		if r := s.round(); len(r.Actions) > 0 {
			t.Fatalf("blind, and yet: %+v", r.Actions)
		}
		w.blind = false
	case "deny":
		w.deny = !w.deny
	case "checkpoints fail":
		w.uncheckpointable = !w.uncheckpointable
	case "stubborn":
		w.stubborn[container] = !w.stubborn[container]
	case "reboot":
		w.crash("box")
		w.mu.Lock()
		delete(w.boxes, "box")
		w.mu.Unlock()
	case "forget":
		s.m = plan.Memory{}
		w.disturb("box", func(b *fakeBox) {
			// What an earlier sandbox left may be taken for this one's.
			b.excused["make"], b.excused["fill"], b.begun = true, true, true
		})
	}
}
