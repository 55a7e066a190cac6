package actuator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
)

// waiter is the wait for a container's end.
type waiter struct {
	cancel context.CancelFunc
	// rec is the container's record as it was written last.
	rec observed.ContainerRecord
	// failed: the wait failed, and the sentry was not asked since how the
	// container is.
	failed bool
	// end is how the container ended, once that is recorded.
	end *observed.Exit
}

// watch waits for a running container's end, and for its gofer's and keeper's.
func (a *Actuator) watch(sentry gvisor.Sentry, rec observed.ContainerRecord) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.waiters[rec.ID]; ok || a.background.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(a.background)
	w := &waiter{cancel: cancel, rec: rec}
	a.waiters[rec.ID] = w
	a.waiting.Go(func() {
		defer cancel()
		a.awaitEnd(ctx, sentry, rec, w)
	})
	return a.watchHelpers(rec)
}

// watchHelpers has the loop poked when a container's gofer or keeper ends.
func (a *Actuator) watchHelpers(rec observed.ContainerRecord) error {
	var errs []error
	for _, p := range []observed.Process{rec.Gofer, rec.Keeper} {
		if p.PID != 0 {
			errs = append(errs, a.c.Watcher.Watch(p, func() { a.c.Poke(rec.Sandbox) }))
		}
	}
	return errors.Join(errs...)
}

func (a *Actuator) unwatchHelpers(rec observed.ContainerRecord) {
	a.c.Watcher.Unwatch(rec.Gofer)
	a.c.Watcher.Unwatch(rec.Keeper)
}

// unwatch undoes watch.
func (a *Actuator) unwatch(rec observed.ContainerRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.waiters[rec.ID]; w != nil {
		w.cancel()
		delete(a.waiters, rec.ID)
	}
	a.endPreStop(rec.ID)
	a.unwatchHelpers(rec)
}

// endRetry is how long a wait that failed, or an end that could not be
// recorded (a full disk), rests before it is tried again.
const endRetry = time.Second

// awaitEnd records a container's end and only then has it acted upon. A wait
// that fails says nothing about the container: it is repeated, which the
// sentry allows, until it succeeds or the instance is discarded. A container
// that the sentry does not know will never end: a daemon was killed after it
// had taken it out and before it had said so in the record.
func (a *Actuator) awaitEnd(ctx context.Context, sentry gvisor.Sentry, rec observed.ContainerRecord, w *waiter) {
	for {
		status, err := sentry.Wait(ctx, rec.ID)
		switch {
		case err == nil:
			err = a.recordEnd(w, exitOf(status, time.Now()))
		case errors.Is(err, gvisor.ErrUnknownContainer):
			err = a.recordEnd(w, observed.Exit{At: time.Now(), Reason: observed.ReasonError, Message: "the sandbox does not know it any more, and nobody saw its end"})
		}
		if ctx.Err() != nil {
			return // discarded meanwhile, or the daemon ends
		}
		if err != nil {
			a.waitFailed(w)
		}
		a.c.Poke(rec.Sandbox)
		if err == nil {
			return
		}
		a.c.Log.V(1).Info("waiting for a container's end failed", "sandbox", rec.Sandbox, "container", rec.Name, "error", err.Error())
		select {
		case <-time.After(endRetry):
		case <-ctx.Done():
			return
		}
	}
}

func (a *Actuator) waitFailed(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.failed = true
}

// recordEnd writes how an instance ended into its record, unless the instance
// is being discarded: its record may be its successor's by now, which can even
// have the same ID, after a removal.
func (a *Actuator) recordEnd(w *waiter, exit observed.Exit) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec := w.rec
	if a.waiters[rec.ID] != w {
		return nil
	}
	if _, held := a.gofers[rec.ID]; !held && exit.Signal == int(unix.SIGKILL) && gone(rec.Gofer) && gone(rec.Keeper) {
		// The sentry kills a container at whose sockets nobody is left.
		exit.Reason, exit.Message = observed.ReasonGoferLost, "its gofer died, and so did all that held its sockets"
	}
	if slices.Contains(rec.Sent, exit.Code-128) {
		exit = exit.Wanted(observed.ReasonKilled, observed.AsUserAsked)
	}
	rec.Exit = &exit
	if err := moveContainer(&rec, observed.Stopped); err != nil {
		return err
	}
	if err := a.c.Records.SaveContainer(rec); err != nil {
		return fmt.Errorf("recording the end of container %s: %w", rec.ID, err)
	}
	w.end = &exit
	delete(a.waiters, rec.ID)
	a.endPreStop(rec.ID)
	a.c.Ended(rec)
	a.unwatchHelpers(rec)
	a.letGo(rec.ID)
	return endHelpers(rec)
}

// recorded returns a function that says how an instance that runs has ended, as far as
// this daemon has recorded it; nil: it has not.
func (a *Actuator) recorded(id string) func() *observed.Exit {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[id]
	return func() *observed.Exit {
		a.mu.Lock()
		defer a.mu.Unlock()
		if w == nil {
			return nil
		}
		return w.end
	}
}

// noteSent remembers that a user sends a container a signal that may end it, also
// for another daemon. It is sent all the same where the record can't be written.
func (a *Actuator) noteSent(id string, sig unix.Signal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiters[id]
	if w == nil || slices.Contains(w.rec.Sent, int(sig)) {
		return
	}
	w.rec.Sent = append(slices.Clone(w.rec.Sent), int(sig))
	if err := a.saveRunning(w.rec); err != nil {
		a.c.Log.V(1).Info("writing a record failed", "sandbox", w.rec.Sandbox, "container", w.rec.Name, "error", err.Error())
	}
}

func gone(p observed.Process) bool {
	alive, err := p.Liveness()
	return err == nil && alive == observed.Gone
}

// exitOf says what a wait status means.
func exitOf(status unix.WaitStatus, at time.Time) observed.Exit {
	exit := observed.Exit{Known: true, At: at, Reason: observed.ReasonCompleted}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
		exit.Message = "ended by " + desired.SignalName(status.Signal())
	} else {
		exit.Code = status.ExitStatus()
	}
	if exit.Code != 0 {
		exit.Reason = observed.ReasonError
	}
	return exit
}

// killedExit is the end of a container that this daemon killed with its
// sandbox.
func killedExit(at time.Time) observed.Exit {
	return exitOf(unix.WaitStatus(unix.SIGKILL), at)
}
