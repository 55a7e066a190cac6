package actuator

import (
	"context"
	"errors"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/probe"
	"sandboxer/observed"
)

// preStopping is what an instance does, or has done, before it is stopped.
type preStopping struct {
	cancel             context.CancelFunc
	over               bool
	sandbox, container string
	since              time.Time
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
	if h := a.preStops[rec.ID]; h != nil && !h.over || a.background.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(a.background, w.Until)
	h := &preStopping{cancel: cancel, sandbox: w.Sandbox, container: w.Container, since: time.Now()}
	a.preStops[rec.ID] = h
	a.waiting.Go(func() {
		defer cancel()
		began := time.Now()
		err := probe.PreStop(ctx, a.Reach(w.Sandbox, w.Container, rec.ID), w.PreStop)
		a.mu.Lock()
		current := a.preStops[rec.ID] == h
		h.over = true
		a.mu.Unlock()
		// Who is past the deadline is signalled, and may have ended by now.
		late := err != nil && !time.Now().Before(w.Until)
		if !current && !late || a.background.Err() != nil {
			return // it has ended meanwhile, or somebody else goes on
		}
		if late || err != nil && ctx.Err() != nil {
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
func (a *Actuator) PreStop(containerID string) observed.PreStop {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch h := a.preStops[containerID]; {
	case h == nil:
		return observed.PreStopNone
	case h.over:
		return observed.PreStopOver
	}
	return observed.PreStopRuns
}

// endPreStop needs a.mu. What an instance does before it is stopped is of no use
// any more.
func (a *Actuator) endPreStop(containerID string) {
	if h := a.preStops[containerID]; h != nil {
		h.cancel()
		delete(a.preStops, containerID)
	}
}

// cutPreStop ends what goes on, and keeps in mind that it was begun.
func (a *Actuator) cutPreStop(containerID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.preStops[containerID]; h != nil {
		h.cancel()
	}
}
