package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/reconcile/plan"
)

// What is done exclusively begins after the action under way and ends before
// the next one; other sandboxes are worked on meanwhile.
func TestExclusively(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.during = func(a plan.Action) {
			if a.Verb == plan.Create && a.Sandbox == "box" {
				time.Sleep(time.Second)
			}
		}
		h.run()
		h.declare("box")
		synctest.Wait() // create is under way
		began, over := time.Now(), make(chan error, 1)
		var at, passes int
		go func() {
			over <- h.loop.Exclusively(context.Background(), "box", func() error {
				at, passes = int(time.Since(began)/time.Second), h.passCount("box")
				h.declare("box", desiredtest.State(desired.Paused))
				h.declare("other")
				time.Sleep(5 * time.Second)
				if n := h.passCount("box"); n != passes {
					t.Errorf("%d passes meanwhile", n-passes)
				}
				h.reached("other")
				return errFake
			})
		}()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if err := <-over; !errors.Is(err, errFake) {
			t.Errorf("it said %v", err)
		}
		if at != 1 {
			t.Errorf("it began after %d s", at)
		}
		h.reached("box") // it was looked at afterwards
	})
}

// Who waits too long is told so, and so is who comes too late; the loop ends
// only after what was begun.
func TestExclusivelyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		done, order := make(chan struct{}), make(chan string, 2)
		go func() {
			defer close(done)
			_ = h.loop.Exclusively(context.Background(), "box", func() error {
				time.Sleep(time.Minute)
				order <- "done"
				return nil
			})
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		never := func() error { t.Error("it was done"); return nil }
		if err := h.loop.Exclusively(ctx, "box", never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited too long: %v", err)
		}
		if err := h.ended(); err != nil {
			t.Error(err)
		}
		order <- "ended"
		<-done
		if got := []string{<-order, <-order}; !slices.Equal(got, []string{"done", "ended"}) {
			t.Errorf("in the order %v", got)
		}
		if err := h.loop.Exclusively(context.Background(), "box", never); !errors.Is(err, errClosed) {
			t.Errorf("came too late: %v", err)
		}
	})
}

// A checkpoint is written and read for longer than other actions may take.
func TestImagesHaveTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.during = func(a plan.Action) {
			if a.Verb == plan.Suspend || a.Verb == plan.Restore {
				time.Sleep(9 * time.Minute)
			}
		}
		h.run()
		for _, s := range []desired.State{desired.Suspended, desired.Running} {
			h.declare("box", desiredtest.State(s))
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			h.reached("box")
		}
		if i := slices.IndexFunc(h.errs, func(err error) bool { return err != nil }); i >= 0 {
			t.Errorf("%s: %v", h.actions[i].Verb, h.errs[i])
		}
		if verbs := h.verbs(); !slices.Contains(verbs, "suspend") || !slices.Contains(verbs, "restore") {
			t.Errorf("did %v", verbs)
		}
	})
}
