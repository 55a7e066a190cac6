package actuator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
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
}

// watch waits for a running container's end, and for its gofer's.
func (a *Actuator) watch(sentry gvisor.Sentry, rec observed.ContainerRecord) error {
	ctx, cancel := context.WithCancel(a.background)
	a.mu.Lock()
	if _, ok := a.waiters[rec.ID]; ok || a.background.Err() != nil {
		a.mu.Unlock()
		cancel()
		return nil
	}
	w := &waiter{cancel: cancel, rec: rec}
	a.waiters[rec.ID] = w
	a.waiting.Add(1)
	a.mu.Unlock()
	go func() {
		defer a.waiting.Done()
		defer cancel()
		a.awaitEnd(ctx, sentry, rec, w)
	}()
	return a.watchGofer(rec)
}

// watchGofer has the loop poked when a container's gofer ends.
func (a *Actuator) watchGofer(rec observed.ContainerRecord) error {
	return a.c.Watcher.Watch(rec.Gofer, func() { a.c.Poke(rec.Sandbox) })
}

// unwatch undoes watch.
func (a *Actuator) unwatch(rec observed.ContainerRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.waiters[rec.ID]; w != nil {
		w.cancel()
		delete(a.waiters, rec.ID)
	}
	a.c.Watcher.Unwatch(rec.Gofer)
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
			err = a.recordEnd(w, observed.Exit{At: time.Now(), Reason: "Error", Message: "the sandbox does not know it any more, and nobody saw its end"})
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
	rec.Exit = &exit
	if err := moveContainer(&rec, observed.Stopped); err != nil {
		return err
	}
	if err := a.c.Records.SaveContainer(rec); err != nil {
		return fmt.Errorf("recording the end of container %s: %w", rec.ID, err)
	}
	delete(a.waiters, rec.ID)
	a.c.Ended(rec)
	return nil
}

// exitOf says what a wait status means.
func exitOf(status unix.WaitStatus, at time.Time) observed.Exit {
	exit := observed.Exit{Known: true, At: at, Reason: "Completed"}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
		exit.Message = "ended by " + unix.SignalName(status.Signal())
	} else {
		exit.Code = status.ExitStatus()
	}
	if exit.Code != 0 {
		exit.Reason = "Error"
	}
	return exit
}

// killedExit is the end of a container that this daemon killed with its
// sandbox.
func killedExit(at time.Time) observed.Exit {
	return exitOf(unix.WaitStatus(unix.SIGKILL), at)
}
