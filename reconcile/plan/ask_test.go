package plan

import (
	"testing"
	"time"
)

// Where the clock was set back after somebody asked, one new instance is new
// enough: its successors would not be newer for as long as the clock needs.
func TestPlanAskedBeforeTheClockWasSetBack(t *testing.T) {
	in := settled(newDeclared())
	recall(&in.Memory, "app", func(c *ContainerMemory) { c.RestartAsked = t0.Add(time.Hour) })
	in.Observed.Containers[0].GoferSince = t0.Add(-time.Minute)
	recall(&in.Memory, "web", func(c *ContainerMemory) { c.GoferAsked = t0.Add(time.Hour) })
	r := Decide(in)
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
	if r = Decide(in); len(r.Actions) > 0 {
		t.Errorf("what is new is not new enough: %+v", r.Actions)
	}
}
