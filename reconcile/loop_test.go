package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"

	"sandboxer/desired"
	"sandboxer/observed"
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
		if n := h.passCount("box"); n != 2 {
			t.Errorf("%d passes, expected one before the creation and one after it", n)
		}
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

func TestLoopFailingActionBacksOff(t *testing.T) {
	for _, verb := range []Verb{Create, Start, Pause, SetLimits, SetOOMScore} {
		t.Run(string(verb), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				h := newHarness(t, func(cfg *Config) {
					actor := cfg.Actor
					cfg.Actor = actorFunc(func(ctx context.Context, a Action, d *Declared) error {
						if a.Verb == verb {
							tries++
							return errFake
						}
						return actor.Do(ctx, a, d)
					})
				})
				h.run()
				h.declare("box", state(desired.Paused), func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				if verb == SetLimits {
					synctest.Wait()
					h.declare("box", func(s *desired.Sandbox) { s.Spec.Containers[0].Resources.Limits.CPU = nil })
				}
				for range 3600 {
					time.Sleep(time.Second)
					h.loop.Poke("box") // pokes don't break the back-off
				}
				synctest.Wait()
				if tries < 5 || tries > 150 {
					t.Errorf("%d tries in an hour", tries)
				}
			})
		})
	}
}

func TestLoopActionWithoutEffectBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(cfg *Config) {
			cfg.Actor = actorFunc(func(context.Context, Action, *Declared) error { return nil })
		})
		h.run()
		h.declare("box")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(h.actions); n < 5 || n > 150 {
			t.Errorf("%d tries in an hour of an action that changes nothing", n)
		}
	})
}

func TestLoopChangedDeclarationPreemptsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.during = nil
		fail := true
		h.world.fails = func() bool { return fail }
		h.run()
		h.declare("box")
		time.Sleep(time.Hour)
		synctest.Wait()
		if c := h.lastPass("box").Conditions; len(c) == 0 || c[0].Type != CreateFailed {
			t.Errorf("conditions %+v", c)
		}
		fail = false
		h.declare("box", func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"fixed"} })
		synctest.Wait()
		h.reached("box")
	})
}

func TestLoopChangedDeclarationPreemptsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		fail.Store(true)
		h := newHarness(t, func(cfg *Config) {
			actor := cfg.Actor
			cfg.Actor = actorFunc(func(ctx context.Context, a Action, d *Declared) error {
				if a.Verb == Start && fail.Load() {
					return errFake
				}
				return actor.Do(ctx, a, d)
			})
		})
		h.run()
		h.declare("box")
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		fail.Store(false)
		h.declare("box", func(s *desired.Sandbox) { s.Labels = nil })
		synctest.Wait()
		h.reached("box")
	})
}

func TestLoopPokeDuringALookIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(cfg *Config) {
			looker := cfg.Looker
			cfg.Looker = lookerFunc(func(ctx context.Context, name string) (observed.Sandbox, error) {
				o, err := looker.Look(ctx, name)
				time.Sleep(time.Second)
				return o, err
			})
			cfg.Resync = 24 * time.Hour
		})
		h.run()
		h.declare("box", state(desired.Stopped))
		time.Sleep(500 * time.Millisecond)
		h.declare("box")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		h.reached("box")
	})
}

func TestLoopShutdownDuringALookIsNotBlindness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(cfg *Config) {
			cfg.Looker = lookerFunc(func(ctx context.Context, _ string) (observed.Sandbox, error) {
				<-ctx.Done()
				return observed.Sandbox{}, ctx.Err()
			})
		})
		h.run()
		h.declare("box")
		synctest.Wait()
		if err := h.ended(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if h.passCount("box") > 0 || len(h.log) > 0 {
			t.Errorf("the end of the loop is told as a failed look: %v", h.log)
		}
	})
}

func TestRetries(t *testing.T) {
	r := make(retries)
	a := Action{Verb: Pause, Sandbox: "box", Reason: "why"}
	for _, want := range []time.Duration{100, 200, 400} {
		if _, ok := r.due(a, t0); !ok {
			t.Fatal("not due")
		}
		r.note(a, errFake, t0)
		r.prune([]Action{{Verb: SetLimits}}) // something else in between
		at, ok := r.due(a, t0)
		if ok || at.Sub(t0) != want*time.Millisecond {
			t.Fatalf("after a failure due in %s, expected %s ms", at.Sub(t0), want)
		}
		r[target{Pause, ""}] = func(t attempt) attempt { t.next = t0; return t }(r[target{Pause, ""}])
	}
	r.note(a, errFake, t0)
	if r.prune(nil); len(r) > 0 {
		t.Error("an empty plan does not forget")
	}
	r.note(a, nil, t0)
	if _, ok := r.due(a, t0); !ok {
		t.Error("what was done is not due at once")
	}
	if r.prune([]Action{{Verb: SetLimits}}); len(r) > 0 {
		t.Error("what was done and is planned no more is not forgotten")
	}
	if d := retryDelay(1000); d != 30*time.Second {
		t.Errorf("the longest delay is %s", d)
	}
}

type lookerFunc func(ctx context.Context, name string) (observed.Sandbox, error)

func (f lookerFunc) Look(ctx context.Context, name string) (observed.Sandbox, error) {
	return f(ctx, name)
}

func TestLoopDeniedScore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.world.set(func() { h.world.deny = true })
		h.run()
		h.declare("box")
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		tries := 0
		for _, a := range h.actions {
			if a.Verb == SetOOMScore {
				tries++
			}
		}
		if tries < 8 || tries > 12 {
			t.Errorf("%d tries in 10 minutes", tries)
		}
		c := h.lastPass("box").Conditions
		if len(c) != 1 || c[0].Type != OOMScoreDenied || c[0].Message != "OOM score refused: permission denied" {
			t.Errorf("conditions %+v", c)
		}
		h.world.set(func() { h.world.deny = false })
		time.Sleep(time.Minute)
		synctest.Wait()
		h.reached("box")
		if c := h.lastPass("box").Conditions; len(c) > 0 {
			t.Errorf("conditions %+v", c)
		}
	})
}

func TestLoopCrashBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box", func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
		synctest.Wait()
		var waits []time.Duration
		for range 6 {
			h.world.exit("box", "app", 1)
			began := time.Now()
			for !h.world.alive("box", "app") {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			waits = append(waits, time.Since(began))
		}
		for i, want := range []time.Duration{0, 1, 2, 4, 8, 16} {
			want *= time.Second
			if d := waits[i] - want; d < -want/10 || d > want/10+20*time.Millisecond {
				t.Errorf("wait %d was %s, expected %s ±10 %%", i+1, waits[i], want)
			}
		}
		if n := h.lastPass("box").Memory.Containers["app"].Restarts; n != 6 {
			t.Errorf("%d restarts counted, expected 6", n)
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

// TestLoopSettles disturbs many sandboxes at random, with and without events,
// and wants each as declared some time after the last disturbance.
func TestLoopSettles(t *testing.T) {
	for _, events := range []bool{true, false} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("events=%t/%d", events, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { settles(t, events, rand.New(rand.NewPCG(seed, 1))) })
			})
		}
	}
}

func settles(t *testing.T, events bool, r *rand.Rand) {
	h := newHarness(t, func(cfg *Config) { cfg.Log = logr.Discard() })
	var calm bool
	var dice sync.Mutex // actions run side by side
	h.world.fails = func() bool {
		dice.Lock()
		defer dice.Unlock()
		return !calm && r.IntN(6) == 0
	}
	if !events {
		h.world.changed = func(string) {}
	}
	h.run()
	states := []desired.State{desired.Running, desired.Running, desired.Paused, desired.Stopped, desired.Created}
	names := []string{"a", "b", "c", "d"}
	for range 80 {
		dice.Lock()
		name, container := names[r.IntN(len(names))], []string{"app", "web"}[r.IntN(2)]
		event, s, args, pause := r.IntN(10), states[r.IntN(len(states))], fmt.Sprint(r.IntN(3)), r.IntN(3000)
		dice.Unlock()
		switch event {
		case 0, 1, 2:
			h.source.set(name, newDeclared(state(s), func(d *desired.Sandbox) { d.Name, d.Spec.Containers[0].Args = name, []string{args} }))
		case 3:
			h.source.set(name, nil)
		case 4, 5:
			h.world.exit(name, container, 1)
		case 6:
			h.world.crash(name)
		case 7:
			h.world.disturb(name, func(b *fakeBox) { b.silent = b.sentry })
		case 8:
			h.world.disturb(name, func(b *fakeBox) {
				if b.rec != nil {
					b.rec, b.broken = nil, "torn"
				}
			})
		case 9:
			h.world.disturb(name, func(b *fakeBox) { b.score = 77 })
		}
		if events {
			h.loop.Poke(name)
		}
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	dice.Lock()
	calm = true
	dice.Unlock()
	time.Sleep(time.Hour) // the longest back-off, and a resync
	synctest.Wait()
	for _, name := range names {
		h.reached(name)
		if d, _ := h.source.Declared(name); d != nil {
			if p := h.lastPass(name); len(p.Pending) > 0 {
				t.Errorf("%s: there is still %+v", name, p.Pending)
			}
		}
	}
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
