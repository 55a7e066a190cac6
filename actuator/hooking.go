package actuator

import (
	"context"
	"time"

	"sandboxer/observed"
)

// hooked is a container for which hooks run, whichever its instance.
type hooked struct{ sandbox, container string }

// hooking is one sequence of hooks.
type hooking struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	before *hooking // is waited for first; nil: nobody
	since  time.Time
}

// beside runs hooks of a container while everything else goes on, one sequence
// after the other, and pokes the loop when they are over. Where the daemon is
// about to end, nothing is begun: the record says what is left to do.
func (a *Actuator) beside(c observed.ContainerRecord, run func(context.Context)) {
	key := hooked{c.Sandbox, c.Name}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.background.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(a.background)
	h := &hooking{cancel: cancel, done: make(chan struct{}), before: a.hooks[key], since: time.Now()}
	a.hooks[key] = h
	a.waiting.Go(func() {
		defer a.c.Poke(c.Sandbox)
		defer close(h.done)
		defer cancel(nil)
		if h.before != nil {
			<-h.before.done
			a.mu.Lock()
			h.before = nil
			a.mu.Unlock()
		}
		if ctx.Err() == nil {
			run(ctx)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.hooks[key] == h {
			delete(a.hooks, key)
		}
	})
}

// endHooks ends the hooks that run for a container, with their process groups,
// and waits for that.
func (a *Actuator) endHooks(ctx context.Context, c observed.ContainerRecord) error {
	a.mu.Lock()
	last := a.hooks[hooked{c.Sandbox, c.Name}]
	for h := last; h != nil; h = h.before {
		h.cancel(errNotWanted)
	}
	a.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// AwaitHooks returns when no hook runs, or ctx is done.
func (a *Actuator) AwaitHooks(ctx context.Context) {
	for ctx.Err() == nil {
		var some *hooking
		a.mu.Lock()
		for _, some = range a.hooks {
			break
		}
		a.mu.Unlock()
		if some == nil {
			return
		}
		select {
		case <-some.done:
		case <-ctx.Done():
		}
	}
}

// persist writes a record until that succeeds (a full disk), or ctx is done.
func (a *Actuator) persist(ctx context.Context, c observed.ContainerRecord) {
	for ctx.Err() == nil {
		err := a.c.Records.SaveContainer(c)
		if err == nil {
			return
		}
		a.c.Log.V(1).Info("writing a record failed", "sandbox", c.Sandbox, "container", c.Name, "error", err.Error())
		rest(ctx, endRetry)
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
