package reconcile

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A panic costs the one sandbox that it is met with a pass, or an action, and
// is told of with its stack until it is over.
func TestPanicIsContained(t *testing.T) {
	for _, where := range []string{"look", "act", "publish"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sick atomic.Bool
				sick.Store(true)
				h := newHarness(t, func(c *Config) {
					look, pass := c.Looker, c.OnPass
					c.Looker = lookerFunc(func(ctx context.Context, name string) (observed.Sandbox, error) {
						if where == "look" && sick.Load() && name == "bad" {
							panic("met while looking")
						}
						return look.Look(ctx, name)
					})
					c.OnPass = func(p Pass) {
						if where == "publish" && sick.Load() && p.Name == "bad" && len(p.Pending) > 0 {
							panic("met while publishing")
						}
						pass(p)
					}
				})
				h.during = func(a plan.Action) {
					if where == "act" && sick.Load() && a.Sandbox == "bad" {
						panic("met while acting")
					}
				}
				h.run()
				h.declare("bad")
				h.declare("good")
				time.Sleep(3 * time.Second)
				h.reached("good")
				h.mu.Lock()
				passes := h.passes["bad"]
				told := len(passes) > 0 && slices.ContainsFunc(passes[len(passes)-1].Conditions, func(c plan.Condition) bool {
					return c.Type == plan.InternalError && strings.Contains(c.Message, "met while ")
				})
				stack := strings.Contains(strings.Join(h.log, "\n"), "panic_test.go")
				h.mu.Unlock()
				if !told || !stack {
					t.Errorf("told of: %v, with its stack: %v; %+v", told, stack, passes)
				}
				sick.Store(false)
				time.Sleep(2 * time.Minute)
				h.reached("bad")
				h.mu.Lock()
				defer h.mu.Unlock()
				passes = h.passes["bad"]
				for _, c := range passes[len(passes)-1].Conditions {
					t.Errorf("told of for ever: %+v", c)
				}
			})
		})
	}
}
