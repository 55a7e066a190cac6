package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/goleak"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
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
	actions []plan.Action
	errs    []error
	during  func(plan.Action) // called in the middle of an action
	ended   func() error      // ends the loop and gives what Run returned
}

func newHarness(t *testing.T, change func(*Config)) *harness {
	h := &harness{t: t, world: newFakeWorld(time.Now), store: newFakeStore(), source: newFakeSource(), passes: make(map[string][]Pass)}
	cfg := Config{
		Looker: h.world, Actor: actorFunc(func(ctx context.Context, a plan.Action, d *plan.Declared) error {
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
		OnAction: func(a plan.Action, err error, _ time.Duration) {
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

type actorFunc func(ctx context.Context, a plan.Action, d *plan.Declared) error

func (f actorFunc) Do(ctx context.Context, a plan.Action, d *plan.Declared) error {
	return f(ctx, a, d)
}

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
		h.during = func(a plan.Action) {
			if a.Verb != plan.Create {
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
		h.declare("box", desiredtest.State(desired.Created), func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = nil })
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
		h.during = func(plan.Action) {
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
		h.declare("box", desiredtest.State(desired.Stopped))
		time.Sleep(time.Minute)
		synctest.Wait()
		asked := func(a plan.Action) bool { return a.Verb == plan.Signal }
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
		h.during = func(a plan.Action) {
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

// However many hang, be it as they are looked at or as something is done to them,
// others have their turn: soon at first, at once when it is known who hangs.
func TestLoopHangingSandboxesHoldUpNoOther(t *testing.T) {
	for _, hanging := range []string{"looks", "actions"} {
		t.Run(hanging, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.loop.cfg.Looker = lookerFunc(func(ctx context.Context, name string) (observed.Sandbox, error) {
					if hanging == "looks" && strings.HasPrefix(name, "hung") {
						<-ctx.Done()
						return observed.Sandbox{}, ctx.Err()
					}
					return h.world.Look(ctx, name)
				})
				h.during = func(a plan.Action) {
					if strings.HasPrefix(a.Sandbox, "hung") {
						time.Sleep(time.Minute)
					}
				}
				h.run()
				for i := range 40 {
					h.declare(fmt.Sprint("hung", i))
				}
				h.declare("first")
				time.Sleep(3 * lendAfter)
				synctest.Wait()
				h.reached("first")
				time.Sleep(10 * time.Minute)
				h.loop.PokeAll()
				synctest.Wait()
				h.declare("second")
				synctest.Wait()
				h.reached("second")
			})
		})
	}
}

// On a host where all is slow, no more is begun than is bounded, and all gets its
// turn.
func TestLoopSlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *Config) { c.Workers = 2 })
		var now, most atomic.Int32
		h.during = func(a plan.Action) {
			if a.Verb != plan.Create {
				return
			}
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(20 * time.Second)
			now.Add(-1)
		}
		h.run()
		for i := range 50 {
			h.declare(fmt.Sprint("slow", i))
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if n := most.Load(); n <= 2 || n > 2*passesPerWorker {
			t.Errorf("%d passes at once", n)
		}
		for i := range 50 {
			h.reached(fmt.Sprint("slow", i))
		}
	})
}

func TestLoopSiblingsStartSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.during = func(a plan.Action) {
			if a.Verb == plan.Start {
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

// Who was asked to end has a moment in which nobody looks after him, as long as
// his end is told of.
func TestLoopLeavesWhoWasAskedToEnd(t *testing.T) {
	for _, resyncOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("resyncOnly=%t", resyncOnly), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, func(c *Config) { c.ResyncOnly = resyncOnly })
				h.world.set(func() { h.world.stubborn["app"], h.world.stubborn["web"] = true, true })
				h.run()
				h.declare("box")
				time.Sleep(time.Minute)
				synctest.Wait()
				h.undeclare("box")
				if resyncOnly {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				asked := h.lastPass("box")
				if signals := slices.ContainsFunc(asked.Pending, func(a plan.Action) bool { return a.Verb == plan.Signal }); signals == resyncOnly {
					t.Errorf("pending in the last pass: %v", asked.Pending)
				}
				time.Sleep(minWait)
				synctest.Wait()
				if later := h.lastPass("box"); slices.ContainsFunc(later.Pending, func(a plan.Action) bool { return a.Verb == plan.Signal }) {
					t.Errorf("still pending: %v", later.Pending)
				}
			})
		})
	}
}

// What is remembered of a sandbox outlives a power cut while it is to be; of one
// that is declared no more a crash is enough, and before its last step nothing is
// stored at all. One that is declared again in between is stored as before.
func TestLoopStoresDurablyWhatIsToBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.world.set(func() { h.world.stubborn["app"] = true })
		grace := func(s *desired.Sandbox) { s.Spec.TerminationGracePeriodSeconds = new(int64(20)) }
		h.declare("box", grace)
		synctest.Wait()
		if !h.store.durable["box"] {
			t.Error("a power cut would have it forgotten")
		}
		h.undeclare("box")
		synctest.Wait()
		if saved := h.store.saved["box"]; saved.StopAsked.IsZero() || h.store.durable["box"] {
			t.Errorf("on its way to its end: durably %t, %+v", h.store.durable["box"], saved)
		}
		h.declare("box", grace)
		synctest.Wait()
		if saved := h.store.saved["box"]; !saved.StopAsked.IsZero() || !h.store.durable["box"] {
			t.Errorf("declared again: durably %t, %+v", h.store.durable["box"], saved)
		}
		h.undeclare("box")
		synctest.Wait()
		writes := h.store.written()
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, left := h.store.saved["box"]; left || h.store.written() != writes+1 {
			t.Errorf("%d writes at its end, one of which is to forget it: %t", h.store.written()-writes, !left)
		}
	})
}

// Beside the last step of a sandbox in which nothing runs it is forgotten; what runs
// may yet have to be asked by whoever comes after a crash, and how that stands is
// remembered until it is over.
func TestLoopForgetsBesideTheLastStep(t *testing.T) {
	for _, test := range []struct {
		what     string
		stubborn bool
		stored   bool
	}{{"nothing runs", false, false}, {"something runs", true, true}} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, nil)
				h.run()
				h.world.set(func() { h.world.stubborn["app"] = test.stubborn })
				h.declare("box")
				synctest.Wait()
				before, after := false, false
				h.during = func(a plan.Action) {
					if a.Verb == plan.Destroy {
						before = h.world.asDeclared("box", nil) != nil
						synctest.Wait() // for all that goes on beside it
						after = h.store.has("box")
					}
				}
				h.undeclare("box")
				time.Sleep(time.Minute)
				synctest.Wait()
				if !before || after != test.stored {
					t.Errorf("in the middle of its destruction: there %t, stored %t", before, after)
				}
				if h.store.has("box") {
					t.Error("it is stored yet")
				}
			})
		})
	}
}

// What could not be ended is remembered.
func TestLoopStoresWhatCantBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		synctest.Wait()
		h.world.set(func() { h.world.fails = func() bool { return true } })
		before := h.store.saved["box"]
		h.undeclare("box")
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := h.store.saved["box"]; after.Equal(before) {
			t.Errorf("nothing was stored since: %+v", after)
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
		h.during = func(plan.Action) { time.Sleep(5 * time.Second) }
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
			cfg.Actor = actorFunc(func(ctx context.Context, _ plan.Action, _ *plan.Declared) error {
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

var _ Lister = (*fakeWorld)(nil)
