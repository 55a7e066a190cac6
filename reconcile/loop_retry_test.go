package reconcile

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

func TestLoopFailingActionBacksOff(t *testing.T) {
	for _, verb := range []plan.Verb{plan.Create, plan.Start, plan.Pause, plan.SetLimits, plan.SetOOMScore} {
		t.Run(string(verb), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				h := newHarness(t, func(cfg *Config) {
					actor := cfg.Actor
					cfg.Actor = actorFunc(func(ctx context.Context, a plan.Action, d *plan.Declared) error {
						if a.Verb == verb {
							tries++
							return errFake
						}
						return actor.Do(ctx, a, d)
					})
				})
				h.run()
				h.declare("box", desiredtest.State(desired.Paused), func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				if verb == plan.SetLimits {
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
			cfg.Actor = actorFunc(func(context.Context, plan.Action, *plan.Declared) error { return nil })
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
		if c := h.lastPass("box").Conditions; len(c) == 0 || c[0].Type != plan.CreateFailed {
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
			cfg.Actor = actorFunc(func(ctx context.Context, a plan.Action, d *plan.Declared) error {
				if a.Verb == plan.Start && fail.Load() {
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
		h.declare("box", desiredtest.State(desired.Stopped))
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
	a := plan.Action{Verb: plan.Pause, Sandbox: "box", Reason: "why"}
	for _, want := range []time.Duration{100, 200, 400} {
		if _, ok := r.due(a, t0); !ok {
			t.Fatal("not due")
		}
		r.note(a, errFake, t0)
		r.prune([]plan.Action{{Verb: plan.SetLimits}}) // something else in between
		at, ok := r.due(a, t0)
		if ok || at.Sub(t0) != want*time.Millisecond {
			t.Fatalf("after a failure due in %s, expected %s ms", at.Sub(t0), want)
		}
		r[target{plan.Pause, ""}] = func(t attempt) attempt { t.next = t0; return t }(r[target{plan.Pause, ""}])
	}
	r.note(a, errFake, t0)
	if r.prune(nil); len(r) > 0 {
		t.Error("an empty plan does not forget")
	}
	r.note(a, nil, t0)
	if _, ok := r.due(a, t0); !ok {
		t.Error("what was done is not due at once")
	}
	if r.prune([]plan.Action{{Verb: plan.SetLimits}}); len(r) > 0 {
		t.Error("what was done and is planned no more is not forgotten")
	}
	if d := retryDelay(1000, plan.ReplaceGofer); d != 5*time.Second {
		t.Errorf("a container waits %s for its gofer", d)
	}
	if d := retryDelay(1000, plan.Start); d != 30*time.Second {
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
		h.declare("box", func(s *desired.Sandbox) { s.Spec.Containers[0].OOMScoreAdj = new(-500) })
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		tries := 0
		for _, a := range h.actions {
			if a.Verb == plan.SetOOMScore {
				tries++
			}
		}
		if tries < 8 || tries > 12 {
			t.Errorf("%d tries in 10 minutes", tries)
		}
		c := h.lastPass("box").Conditions
		if len(c) != 1 || c[0].Type != plan.OOMScoreDenied || c[0].Message != "OOM score refused: permission denied" {
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
