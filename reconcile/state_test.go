package reconcile

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

func (s State) key(name string) KeyState {
	i := slices.IndexFunc(s.Keys, func(k KeyState) bool { return k.Name == name })
	if i < 0 {
		return KeyState{}
	}
	return s.Keys[i]
}

// slowLooks is a Looker that takes its time.
type slowLooks struct {
	Looker
	slow chan struct{} // is waited for; nil: it does not
}

func (l *slowLooks) Look(ctx context.Context, name string) (observed.Sandbox, error) {
	if l.slow != nil {
		<-l.slow
	}
	return l.Looker.Look(ctx, name)
}

// The state tells what is done to each sandbox and since when, who waits, when it is
// worked on next, and what failed.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := &slowLooks{}
		fruitless := false
		h := newHarness(t, func(c *Config) {
			c.Workers = 1
			looks.Looker, c.Looker = c.Looker, looks
			actor := c.Actor
			c.Actor = actorFunc(func(ctx context.Context, a plan.Action, d *plan.Declared) error {
				if fruitless && a.Verb == plan.SetOOMScore {
					return nil
				}
				return actor.Do(ctx, a, d)
			})
		})
		if s := h.loop.State(); len(s.Keys)+len(s.Queue)+s.Working+s.Passing != 0 || s.Workers != 1 {
			t.Errorf("before anything: %+v", s)
		}
		h.during = func(a plan.Action) {
			if a.Verb == plan.Create {
				time.Sleep(time.Second)
			}
		}
		h.run()
		looks.slow = make(chan struct{})
		h.declare("box")
		began := time.Now()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		s := h.loop.State()
		if k := s.key("box"); k.Phase != Looking || !k.Since.Equal(began) || !k.Last.Equal(began) || k.Passes != 0 || s.Working != 1 || s.Passing != 1 {
			t.Errorf("while it is looked at: %+v", s)
		}
		h.loop.Poke("box")
		if k := h.loop.State().key("box"); !k.Again || k.Queued {
			t.Errorf("poked while it is looked at: %+v", k)
		}
		h.declare("late")
		if s := h.loop.State(); !slices.Equal(s.Queue, []string{"late"}) || !s.key("late").Queued || s.key("late").Phase != "" {
			t.Errorf("while the other one waits: %+v", s)
		}
		slow := looks.slow
		looks.slow = nil
		close(slow)
		synctest.Wait() // both are being made, one after the other
		began = time.Now()
		s = h.loop.State()
		k := s.key("box")
		if k.Phase == "" {
			k = s.key("late")
		}
		if want := []ActionState{{plan.Create, "", began}}; k.Phase != Acting || !slices.Equal(k.Actions, want) {
			t.Errorf("while it is made: %+v", k)
		}
		if k := s.key("box"); k.Took != 10*time.Millisecond || k.Passes != 1 {
			t.Errorf("after a look that took long: %+v", k)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		h.reached("box")
		if k := h.loop.State().key("box"); k.Phase != "" || len(k.Actions) != 0 || !k.Next.IsZero() || k.Passes < 3 || k.Queued || len(k.Retries) != 0 {
			t.Errorf("once it is as declared: %+v", k)
		}

		h.world.exit("box", "app", 1) // is started again at once
		synctest.Wait()
		h.world.exit("box", "app", 1) // and now later
		synctest.Wait()
		if k, next := h.loop.State().key("box"), h.lastPass("box").Memory.Containers["app"].NextStart; !k.Next.Equal(next) || next.IsZero() {
			t.Errorf("it is worked on at %s, want %s", k.Next, next)
		}
		time.Sleep(time.Until(h.loop.State().key("box").Next) + time.Second)
		synctest.Wait()

		fruitless = true
		h.declare("one")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		k = h.loop.State().key("one")
		if len(k.Retries) != 1 || k.Retries[0].Verb != plan.SetOOMScore || k.Retries[0].Failed || k.Retries[0].Attempts < 2 || !k.Retries[0].Next.Equal(k.Next) {
			t.Errorf("while nothing comes of it: %+v", k)
		}

		err := h.loop.Exclusively(t.Context(), "box", func() error {
			if k := h.loop.State().key("box"); k.Phase != Exclusive || !k.Since.Equal(time.Now()) {
				t.Errorf("while a request has it: %+v", k)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
