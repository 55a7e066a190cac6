package actuator

import (
	"context"
	"errors"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/probe"
	"sandboxer/observed"
)

// hook is what an instance does, or has done, before it is stopped.
type hook struct {
	cancel context.CancelFunc
	over   bool
}

// preStop begins what a container is to do before it is sent its stop signal,
// and has the loop poked when that is over, at the action's deadline at the
// latest. What goes on already goes on.
func (a *Actuator) preStop(w work) error {
	rec := w.container()
	if rec == nil || w.PreStop == nil {
		return &StateError{ID: "container " + w.Container, State: "absent", Action: string(w.Verb)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.hooks[rec.ID]; h != nil && !h.over || a.background.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(a.background, w.Until)
	h := &hook{cancel: cancel}
	a.hooks[rec.ID] = h
	a.waiting.Go(func() {
		defer cancel()
		began := time.Now()
		err := probe.PreStop(ctx, a.Reach(w.Sandbox, w.Container, rec.ID), w.PreStop)
		a.mu.Lock()
		current := a.hooks[rec.ID] == h
		h.over = true
		a.mu.Unlock()
		if !current || a.background.Err() != nil {
			return // it has ended meanwhile, or somebody else goes on
		}
		if err != nil && ctx.Err() != nil {
			err = errors.New("it was not over within the grace period")
		}
		var state *StateError
		if !errors.As(err, &state) && !errors.Is(err, gvisor.ErrNoProcess) && !errors.Is(err, gvisor.ErrUnknownContainer) {
			a.c.PreStopped(*rec, err, time.Since(began)) // else the container has ended by itself
		}
		a.c.Poke(w.Sandbox)
	})
	return nil
}

// PreStop says what is known of what an instance does before it is stopped.
func (a *Actuator) PreStop(containerID string) observed.Hook {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch h := a.hooks[containerID]; {
	case h == nil:
		return observed.HookNone
	case h.over:
		return observed.HookOver
	}
	return observed.HookRuns
}

// endHook needs a.mu. What an instance does before it is stopped is of no use
// any more.
func (a *Actuator) endHook(containerID string) {
	if h := a.hooks[containerID]; h != nil {
		h.cancel()
		delete(a.hooks, containerID)
	}
}

// cutHook ends what goes on, and keeps in mind that it was begun.
func (a *Actuator) cutHook(containerID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.hooks[containerID]; h != nil {
		h.cancel()
	}
}
