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

// Where the clock was set back after somebody asked, one new instance is new
// enough: its successors would not be newer for as long as the clock needs.
func TestPlanAskedBeforeTheClockWasSetBack(t *testing.T) {
	in := settled(newDeclared())
	recall(&in.Memory, "app", func(c *ContainerMemory) { c.RestartAsked = t0.Add(time.Hour) })
	in.Observed.Containers[0].GoferSince = t0.Add(-time.Minute)
	recall(&in.Memory, "web", func(c *ContainerMemory) { c.GoferAsked = t0.Add(time.Hour) })
	r := Plan(in)
	if got := r.Memory.Containers["app"].RestartAsked; !got.Equal(t0) {
		t.Errorf("app is to be younger than %s, not %s", got, t0)
	}
	if got := r.Memory.Containers["web"].GoferAsked; !got.Equal(t0) {
		t.Errorf("web's gofer is to be younger than %s, not %s", got, t0)
	}
	for i := range in.Observed.Containers {
		c := &in.Observed.Containers[i]
		c.ID, c.StartedAt, c.GoferSince = c.ID+"1", t0.Add(time.Second), t0.Add(time.Second)
	}
	in.Memory, in.Now = r.Memory, t0.Add(2*time.Second)
	if r = Plan(in); len(r.Actions) > 0 {
		t.Errorf("what is new is not new enough: %+v", r.Actions)
	}
}
