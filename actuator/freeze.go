package actuator

import (
	"context"
	"fmt"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
)

func (a *Actuator) pause(ctx context.Context, w work) error {
	return a.freeze(ctx, w, observed.SandboxPausing, observed.SandboxPaused, true)
}

func (a *Actuator) resume(ctx context.Context, w work) error {
	return a.freeze(ctx, w, observed.SandboxResuming, observed.SandboxUp, false)
}

// freeze pauses or resumes. The record says beforehand what is being done: a
// sentry counts pauses and dies of a resume too many, so after a crash in
// between, or without an answer, it is asked what it is before it is told
// anything.
func (a *Actuator) freeze(ctx context.Context, w work, through, to observed.SandboxState, paused bool) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	unsure := w.rec.State == observed.SandboxPausing || w.rec.State == observed.SandboxResuming || w.rec.State == observed.SandboxSaving
	if err := moveSandbox(w.rec, through); err != nil {
		return err
	}
	if err := a.c.Records.Save(*w.rec); err != nil {
		return err
	}
	is := !paused
	if unsure {
		late := a.unanswered(w.rec.Sentry)
		if is, err = sentry.Paused(ctx, w.rec.Name); err != nil {
			return err
		}
		if late != nil && is != late.paused {
			return fmt.Errorf("the sentry has not done yet what it was told before: %w", gvisor.ErrNoAnswer)
		}
	}
	if is != paused {
		tell := func(ctx context.Context) error { return a.tell(ctx, w.rec, paused) }
		if err := whileServed(ctx, w.gofers(), tell); err != nil {
			return err
		}
	}
	if err := moveSandbox(w.rec, to); err != nil {
		return err
	}
	return a.c.Records.Save(*w.rec)
}

// telling is a pause or resume that a sentry was told of and has not answered.
type telling struct {
	paused  bool
	sandbox string
	since   time.Time
}

// tell has a sentry pause or resume. What it does not answer in time it may
// still do, whenever that is: the question stays open, and until it is answered
// or seen to be done, nothing else is told, since that could be overtaken.
func (a *Actuator) tell(ctx context.Context, rec *observed.Record, paused bool) error {
	this, answer := &telling{paused, rec.Name, time.Now()}, make(chan error)
	a.mu.Lock()
	if err := a.background.Err(); err != nil {
		a.mu.Unlock()
		return err
	}
	a.freezing[rec.Sentry] = this
	a.waiting.Add(1)
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	go func() {
		defer a.waiting.Done()
		sentry, call := gvisor.Sentry{Socket: rec.ControlSocket}, gvisor.Sentry.Resume
		if paused {
			call = gvisor.Sentry.Pause
		}
		err := call(sentry, a.background)
		a.mu.Lock()
		if a.freezing[rec.Sentry] == this {
			delete(a.freezing, rec.Sentry)
		}
		a.mu.Unlock()
		select {
		case answer <- err:
		case <-ctx.Done():
			a.c.Poke(rec.Name) // nobody has seen yet that it is done
		}
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("pausing or resuming: %w: %w", gvisor.ErrNoAnswer, context.Cause(ctx))
	}
}

// unanswered is what a sentry was told last if it has not answered that.
func (a *Actuator) unanswered(sentry observed.Process) *telling {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.freezing[sentry]
}
