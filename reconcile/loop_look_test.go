package reconcile

import (
	"context"
	"errors"
	"sandboxer/reconcile/plan"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Who asks for a look gets one that begins afterwards: also while an action is
// under way, where the resync alone is acted upon, and of what nobody knows.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, func(c *Config) { c.ResyncOnly, c.Resync = true, 1000*time.Hour })
		h.during = func(a plan.Action) {
			if a.Verb == plan.Create {
				time.Sleep(time.Second)
			}
		}
		h.run()
		synctest.Wait()
		h.declare("box")
		synctest.Wait()
		if n := h.passCount("box"); n != 0 {
			t.Fatalf("%d passes before anybody asked", n)
		}
		look := func(name string) {
			t.Helper()
			before := h.passCount(name)
			if err := h.loop.Look(context.Background(), name); err != nil {
				t.Error(err)
			}
			if h.passCount(name) == before {
				t.Errorf("nothing was looked at of %s", name)
			}
		}
		look("box")
		synctest.Wait() // create is under way
		if got := h.loop.Unfinished(); !slices.Equal(got, []string{"box: create"}) {
			t.Errorf("under way are %q", got)
		}
		began := time.Now()
		look("box")
		if time.Since(began) != time.Second {
			t.Errorf("it took %s", time.Since(began))
		}
		synctest.Wait()
		if got := h.loop.Unfinished(); len(got) > 0 {
			t.Errorf("at rest there are %q", got)
		}
		h.reached("box")
		look("box")
		look("nobody")
		synctest.Wait() // it is forgotten after the answer
		if h.loop.Knows("nobody") {
			t.Errorf("what is not there is remembered")
		}

		h.mu.Lock()
		h.during = func(plan.Action) { time.Sleep(time.Hour) }
		h.mu.Unlock()
		h.undeclare("box")
		look("box")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := h.loop.Look(ctx, "box"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it said %v", err)
		}
	})
}
