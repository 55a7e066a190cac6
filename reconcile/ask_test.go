package reconcile

import (
	"context"
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
		if err := h.loop.Ask(ctx, "box", Restart([]string{"app"}, time.Now())); err == nil {
			t.Error("what could not be stored is said to be")
		}
		h.store.setFail(false)
		h.during = func(a Action) {
			if a.Verb == Signal && h.store.saved["box"].Containers["app"].RestartAsked.IsZero() {
				t.Error("it was done before it was stored")
			}
		}
		if err := h.loop.Ask(t.Context(), "box", Restart([]string{"app"}, time.Now())); err != nil {
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
