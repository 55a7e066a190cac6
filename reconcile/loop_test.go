package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"

	"sandboxer/desired"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a loop on a fake world. Everything runs in one synctest bubble,
// so that time passes only when all of it waits.
type harness struct {
	t      *testing.T
	world  *fakeWorld
	store  *fakeStore
	source *fakeSource
	loop   *Loop
	log    []string

	mu      sync.Mutex
	passes  map[string][]Pass
	actions []Action
	errs    []error
	during  func(Action) // called in the middle of an action
	ended   func() error // ends the loop and gives what Run returned
}

func newHarness(t *testing.T, change func(*Config)) *harness {
	h := &harness{t: t, world: newFakeWorld(time.Now), store: newFakeStore(), source: newFakeSource(), passes: make(map[string][]Pass)}
	cfg := Config{
		Looker: h.world, Actor: actorFunc(func(ctx context.Context, a Action, d *Declared) error {
			h.mu.Lock()
			during := h.during
			h.mu.Unlock()
			if during != nil {
				during(a)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return h.world.Do(ctx, a, d)
		}),
		Source: h.source, Store: h.store, Lister: h.world,
		Log: funcr.New(func(prefix, args string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.log = append(h.log, args)
		}, funcr.Options{}),
		OnPass: func(p Pass) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.passes[p.Name] = append(h.passes[p.Name], p)
		},
		OnAction: func(a Action, err error, _ time.Duration) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.actions, h.errs = append(h.actions, a), append(h.errs, err)
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if h.loop, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	h.world.changed = h.loop.Poke
	return h
}

type actorFunc func(ctx context.Context, a Action, d *Declared) error

func (f actorFunc) Do(ctx context.Context, a Action, d *Declared) error { return f(ctx, a, d) }

// run starts the loop; it is ended with the test.
func (h *harness) run() {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.loop.Run(ctx) }()
	h.ended = sync.OnceValue(func() error { cancel(); return <-done })
	h.t.Cleanup(func() {
		if err := h.ended(); err != nil {
			h.t.Errorf("Run: %v", err)
		}
		if v := h.world.violations; len(v) > 0 {
			h.t.Errorf("asked for what must never be: %v", v)
		}
	})
	synctest.Wait()
}

func (h *harness) declare(name string, changes ...func(*desired.Sandbox)) {
	d := newDeclared(append(changes, func(s *desired.Sandbox) { s.Name = name })...)
	h.source.set(name, d)
	h.loop.Poke(name)
}

func (h *harness) undeclare(name string) {
	h.source.set(name, nil)
	h.loop.Poke(name)
}

// verbs are the actions so far, as "verb container".
func (h *harness) verbs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s []string
	for _, a := range h.actions {
		v := string(a.Verb)
		if a.Container != "" {
			v += " " + a.Container
		}
		s = append(s, v)
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func (h *harness) passCount(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.passes[name])
}

func (h *harness) lastPass(name string) Pass {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.passes[name]
	if len(p) == 0 {
		h.t.Fatalf("no pass of %s", name)
	}
	return p[len(p)-1]
}

func (h *harness) reached(name string) {
	h.t.Helper()
	d, _ := h.source.Declared(name)
	if err := h.world.asDeclared(name, d); err != nil {
		h.t.Errorf("not as declared: %v", err)
	}
}

func TestLoopFromNothingToRunningToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		began := time.Now()
		h.declare("box")
		synctest.Wait()
		h.reached("box")
		if want := []string{"create", "setOOMScore", "start app", "start web"}; !slices.Equal(h.verbs(), want) {
			t.Errorf("did %v, expected %v", h.verbs(), want)
		}
		if !time.Now().Equal(began) {
			t.Errorf("it waited %s for nothing", time.Since(began))
		}
		h.undeclare("box")
		synctest.Wait()
		h.reached("box")
		if len(h.store.saved) > 0 {
			t.Errorf("remembered of what is gone: %+v", h.store.saved)
		}
		if len(h.loop.keys) > 0 {
			t.Errorf("%d keys are left", len(h.loop.keys))
		}
	})
}

func TestLoopIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		synctest.Wait()
		writes, actions, passes := h.store.writes, len(h.actions), h.passCount("box")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if h.store.writes != writes || len(h.actions) != actions || len(h.log) > 0 {
			t.Errorf("idle, and yet %d writes, %d actions, log %v", h.store.writes-writes, len(h.actions)-actions, h.log)
		}
		if n := h.passCount("box") - passes; n < 19 || n > 21 {
			t.Errorf("%d passes in 10 minutes of 30 s resyncs", n)
		}
	})
}

func TestLoopPokesWhileBusyRunAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		var concurrent, most int
		h.during = func(a Action) {
			if a.Verb != Create {
				return
			}
			h.mu.Lock()
			concurrent++
			most = max(most, concurrent)
			h.mu.Unlock()
			time.Sleep(time.Second)
			h.mu.Lock()
			concurrent--
			h.mu.Unlock()
		}
		h.declare("box", state(desired.Created), func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = nil })
		synctest.Wait()
		for range 100 {
			h.loop.Poke("box")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if most != 1 {
			t.Errorf("%d workers on one key", most)
		}
		if n := h.passCount("box"); n != 3 {
			t.Errorf("%d passes, expected one that only looks, one before the creation and one after it", n)
		}
	})
}

// However few the workers, all that is declared is seen before anything is
// done, but for what another worker is looking at.
func TestLoopLooksAtAllFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(cfg *Config) { cfg.Workers = 2 })
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprint("box", i))
			h.source.set(names[i], newDeclared(func(s *desired.Sandbox) { s.Name = names[i] }))
		}
		most := 0
		h.during = func(Action) {
			h.mu.Lock()
			defer h.mu.Unlock()
			most = max(most, len(names)-len(h.passes))
		}
		h.run()
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, name := range names {
			h.reached(name)
		}
		if most > 1 {
			t.Errorf("something was done before %d others were looked at", most)
		}
	})
}

// What a first look plans counts as done by nobody: a container that is to end
// is asked to, also when its sandbox was changed while no daemon ran.
func TestLoopFirstLookRemembersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		time.Sleep(time.Minute)
		synctest.Wait() // a pass may begin in the same instant
		h.loop.mu.Lock()
		h.loop.keys["box"].looked = false // as for a daemon that has just begun
		h.loop.mu.Unlock()
		before := len(h.actions)
		h.declare("box", state(desired.Stopped))
		time.Sleep(time.Minute)
		synctest.Wait()
		asked := func(a Action) bool { return a.Verb == Signal }
		if !slices.ContainsFunc(h.actions[before:], asked) {
			t.Errorf("nobody was asked to end: %v", h.actions[before:])
		}
		h.reached("box")
	})
}

func TestLoopSlowSandboxHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.during = func(a Action) {
			if a.Sandbox == "slow" {
				time.Sleep(20 * time.Second)
			}
		}
		h.declare("slow")
		h.declare("box")
		synctest.Wait()
		h.reached("box")
	})
}

func TestLoopSiblingsStartSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.during = func(a Action) {
			if a.Verb == Start {
				time.Sleep(time.Second)
			}
		}
		began := time.Now()
		h.declare("box")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		h.reached("box")
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

func TestLoopBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		synctest.Wait()
		actions := len(h.actions)
		h.world.set(func() { h.world.blind = true })
		h.undeclare("box")
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(h.actions) != actions {
			t.Errorf("blind, and yet %+v", h.actions[actions:])
		}
		if p := h.lastPass("box"); !p.Blind || !errors.Is(p.LookErr, errFake) || len(p.Conditions) != 1 {
			t.Errorf("pass %+v", p)
		}
		if len(h.log) != 1 {
			t.Errorf("one cause was logged %d times: %v", len(h.log), h.log)
		}
		h.world.set(func() { h.world.blind = false })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		h.reached("box")
	})
}

func TestLoopHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		synctest.Wait()
		actions := len(h.actions)
		h.source.hold("box")
		h.undeclare("box")
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(h.actions) != actions || len(h.store.saved) != 1 {
			t.Errorf("held, and yet %+v", h.actions[actions:])
		}
	})
}

func TestLoopStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.store.setFail(true)
		h.declare("box")
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(h.actions) > 0 {
			t.Errorf("acted without memory: %+v", h.actions)
		}
		if !h.lastPass("box").Blind {
			t.Error("not blind without memory")
		}
		h.store.setFail(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		h.reached("box")

		h.store.setFail(true) // a disk that is full stops nothing
		h.world.exit("box", "app", 1)
		synctest.Wait()
		h.reached("box")
		h.store.setFail(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := h.store.saved["box"].Containers["app"].Restarts; n != 1 {
			t.Errorf("%d restarts stored, expected 1", n)
		}
	})
}

func TestLoopShutdownCompletesWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.during = func(Action) { time.Sleep(5 * time.Second) }
		h.declare("box")
		synctest.Wait()
		began := time.Now()
		if err := h.ended(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("ended after %s, with the creation half-way", took)
		}
		if want := []string{"create"}; !slices.Equal(h.verbs(), want) || h.errs[0] != nil {
			t.Errorf("did %v (%v), expected %v and no more", h.verbs(), h.errs, want)
		}
		h.loop.Poke("box") // after the end: nothing
	})
}

func TestLoopActionTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(cfg *Config) {
			cfg.Actor = actorFunc(func(ctx context.Context, _ Action, _ *Declared) error {
				<-ctx.Done()
				return ctx.Err()
			})
		})
		h.run()
		h.declare("box")
		synctest.Wait()
		began := time.Now()
		if err := h.ended(); err != nil || time.Since(began) != 30*time.Second {
			t.Errorf("ended after %s with %v", time.Since(began), err)
		}
	})
}

func TestLoopTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newHarness(t, nil)
		first.run()
		first.declare("box")
		synctest.Wait()
		if err := first.ended(); err != nil {
			t.Fatal(err)
		}
		second := newHarness(t, func(cfg *Config) {
			cfg.Looker, cfg.Actor, cfg.Lister = first.world, first.world, first.world
			cfg.Store, cfg.Source = first.store, first.source
		})
		first.source.set("box", newDeclared())
		second.run()
		if len(second.actions) > 0 {
			t.Errorf("a daemon that starts anew did %+v", second.actions)
		}
	})
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := New(Config{Looker: newFakeWorld(time.Now)}); err == nil {
		t.Error("New without Actor, Source, Store succeeded")
	}
}

func TestNoteFailure(t *testing.T) {
	d := newDeclared()
	m := settled(d).Memory
	for _, tt := range []struct {
		name string
		a    Action
		err  error
		want func(*Memory)
	}{
		{"changed world: no failure", Action{Verb: Create, Sandbox: "box"}, fmt.Errorf("x: %w", ErrChanged), nil},
		{"create", Action{Verb: Create, Sandbox: "box"}, errFake, func(m *Memory) {
			m.CreateFailures, m.LastError = 1, "fake failure"
			m.NextCreate = t0.Add(createDelay(d.Spec.RestartBackoff, "box", 1))
		}},
		{"score, but not denied", Action{Verb: SetOOMScore}, errFake, nil},
		{"start is recorded elsewhere", Action{Verb: Start, Container: "app"}, errFake, nil},
		{"limits", Action{Verb: SetLimits}, errFake, func(m *Memory) {
			m.LimitsDenied, m.LimitsDeniedFor, m.LimitsRetry = "fake failure", d.LimitsHash, t0.Add(time.Minute)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := cloneMemory(m)
			if tt.want != nil {
				tt.want(&want)
			}
			if s := diff(want, noteFailure(m, tt.a, d, tt.err, t0)); s != "" {
				t.Error(s)
			}
		})
	}
	t.Run("a signal that was not sent has not begun the grace", func(t *testing.T) {
		in := settled(d)
		undeclare(&in)
		r := Plan(in)
		got := r.Memory
		for _, a := range r.Actions {
			got = noteFailure(got, a, nil, errFake, t0)
		}
		want := cloneMemory(in.Memory)
		want.StopAsked = t0
		if s := diff(want, got); s != "" {
			t.Error(s)
		}
	})
}

var _ Lister = (*fakeWorld)(nil)
