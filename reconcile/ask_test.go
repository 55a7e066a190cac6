package reconcile

import (
	"context"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What is asked for is stored before Ask returns, and then done once.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box")
		synctest.Wait()
		time.Sleep(time.Second)
		was := h.world.boxes["box"].containers["app"].rec

		h.store.setFail(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.loop.Ask(ctx, "box", plan.Restart([]string{"app"}, time.Now())); err == nil {
			t.Error("what could not be stored is said to be")
		}
		h.store.setFail(false)
		h.during = func(a plan.Action) {
			if a.Verb == plan.Signal && h.store.saved["box"].Containers["app"].RestartAsked.IsZero() {
				t.Error("it was done before it was stored")
			}
		}
		if err := h.loop.Ask(t.Context(), "box", plan.Restart([]string{"app"}, time.Now())); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		h.reached("box")
		if now := h.world.boxes["box"].containers["app"].rec; now.ID == was.ID {
			t.Error("it was not restarted")
		}
		if !slices.Contains(h.verbs(), "signal app") {
			t.Errorf("did %v", h.verbs())
		}
		if cm := h.lastPass("box").Memory.Containers["app"]; !cm.RestartAsked.IsZero() || cm.Restarts != 0 {
			t.Errorf("remembered: %+v", cm)
		}
	})
}

// What is told to the loop gets into its plans, and is acted upon once.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil)
		h.run()
		h.declare("box", desiredtest.Probed)
		synctest.Wait()
		time.Sleep(time.Second)
		was := h.world.boxes["box"].containers["app"].rec
		h.loop.Tell("box", plan.Learn(plan.Probed{Container: "app", ID: was.ID, StartedAt: was.StartedAt, Kind: plan.LivenessProbe, Conclusive: true, Message: "no"}))
		synctest.Wait()
		time.Sleep(time.Second)
		if now := h.world.boxes["box"].containers["app"].rec; now.ID == was.ID {
			t.Errorf("it was not restarted: %v", h.verbs())
		}
		if cm := h.lastPass("box").Memory.Containers["app"]; cm.Restarts != 1 || cm.Health != (plan.Health{}) || cm.Exit.Reason != observed.ReasonUnhealthy {
			t.Errorf("remembered: %+v", cm)
		}
	})
}
