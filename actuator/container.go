package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// start makes a container (anew) and runs its command. What could not be
// started is recorded as an end with the reason StartError, so that it is
// seen, and tried again, like any other end.
func (a *Actuator) start(ctx context.Context, w work, d *plan.Declared) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	c, hash := d.Container(w.Container)
	if c == nil {
		return fmt.Errorf("%w: container %q is not declared any more", plan.ErrChanged, w.Container)
	}
	rec, hooks, err := a.begin(ctx, &w, sentry, c, hash)
	if err != nil {
		return err
	}
	started := time.Now()
	if hooks {
		if err := a.beginHooks(&w, d, c, &rec); err != nil {
			return errors.Join(err, a.startFailed(ctx, sentry, rec, started, err))
		}
		return nil // the loop goes on when they are over
	}
	err = a.explain(d.Sandbox, c, a.run(ctx, &w, d, c, &rec, sentry.StartContainer))
	if err == nil {
		rec.StartedAt = started
		if h := a.hooksOf(rec); len(h.Poststart) > 0 {
			rec.HookPhase = observed.HooksStarted
		} else {
			rec.HookPhase = afterStart(h)
		}
		err = moveContainer(&rec, observed.Running)
	}
	if err != nil {
		return errors.Join(err, a.startFailed(ctx, sentry, rec, started, err))
	}
	k, keeperErr := a.startKeeper(w.rec.Cgroup, rec)
	if keeperErr == nil {
		defer k.Close()
		rec.Keeper = k.Process
	} else if errors.Is(keeperErr, plan.ErrGoferLost) {
		keeperErr = nil // its gofer has ended, as one does with its container
	}
	a.mu.Lock()
	saveErr := a.saveRunning(rec)
	a.mu.Unlock()
	if err := saveErr; err != nil {
		// What runs and is not known to run would never be asked to end.
		return errors.Join(err, a.startFailed(ctx, sentry, rec, started, err))
	}
	err = a.watch(sentry, rec)
	a.poststartHooks(rec, w.rec.Sentry)
	if err != nil || k == nil {
		return errors.Join(err, keeperErr)
	}
	return k.Stay()
}

// run starts the gofer and hands the container over to the sentry. What a
// replacement of the gofer needs is in rec before that, and is held afterwards.
func (a *Actuator) run(ctx context.Context, w *work, d *plan.Declared, c *desired.Container, rec *observed.ContainerRecord,
	handOver func(context.Context, gvisor.Start) error,
) (err error) {
	b, err := a.bundle(d.Sandbox, c)
	if err != nil {
		return err
	}
	defer b.close()
	rec.Objects, rec.Contents = b.objects, b.contents
	if w.restoring {
		rec.Contents = nil // it goes on with what was read before its checkpoint was made
	}
	sentry := gvisor.Sentry{Process: w.rec.Sentry, Socket: w.rec.ControlSocket, Timeout: callTimeout}
	if w.restoring && !w.private {
		b.spec.Mounts = append(b.spec.Mounts, b.restoredMounts()...)
	} else if err := a.mountVolumes(ctx, w, sentry, &b); err != nil {
		return err
	}
	// It gets ready while all else is prepared.
	g, err := a.startGofer(w.rec, *rec, b.mounts)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discardGofer(g))
		}
	}()
	if !w.restoring { // or the checkpoint has it
		if rec.SharesShm, err = shareShm(ctx, sentry, &b); err != nil {
			return err
		}
	}
	b.placeShm(rec.SharesShm)
	stdio, err := a.openStdio(c, rec)
	if err != nil {
		return err
	}
	defer stdio.close()
	b.spec.Process.Terminal = stdio.terminal
	args := gvisor.Start{
		ID:          rec.ID,
		Spec:        b.spec,
		Stdio:       stdio.files,
		Gofer:       g.Sockets,
		HostNetwork: d.Spec.Network.Mode == desired.NetworkHost,
	}
	// The root is never written to. Where the container may write, writes and
	// missing mount points go to a layer above it; where it may not, the sentry
	// keeps missing mount points to itself.
	if b.spec.Root.Readonly {
		args.Mounts = append(args.Mounts, specutils.GoferMountConf{Lower: specutils.Lisafs, Upper: specutils.NoOverlay})
	} else {
		bounded := w.restoring || rec.SharesShm // neither is of an earlier version
		if !bounded {
			if bounded, err = a.limitStorage(ctx, sentry, d.Sandbox); err != nil {
				return err
			}
		}
		layer, err := layerFile(a.c.DataDir)
		if err != nil {
			return err
		}
		defer layer.Close()
		args.Filestores = []*os.File{layer}
		args.Mounts = append(args.Mounts, specutils.GoferMountConf{Lower: specutils.Lisafs, Upper: specutils.AnonOverlay, Size: layerSize(c, bounded)})
	}
	for range b.mounts[1:] {
		args.Mounts = append(args.Mounts, specutils.GoferMountConf{Lower: specutils.Lisafs, Upper: specutils.NoOverlay})
	}
	if err := g.Ready(ctx); err != nil {
		return err
	}
	if rec.GoferState, err = a.goferState(g, *rec, nil, b.mounts); err != nil {
		return err
	}
	if rec.Process, err = furtherProcess(b.spec.Process, c); err != nil {
		return err
	}
	if err := a.writePIDFile(a.pathsOf(d.Sandbox, c), c.PIDFile, w.rec.Sentry, rec); err != nil {
		return err
	}
	rec.Gofer, rec.GoferSince, rec.GoferVersion = g.Process, time.Now(), a.c.Version
	end, err := whileGoferLives(ctx, g, func(ctx context.Context) error { return handOver(ctx, args) })
	if err != nil {
		rec.Gofer, rec.GoferSince, rec.GoferState, rec.Process = observed.Process{}, time.Time{}, nil, nil
		if err = b.noMountPoint(err); end == goferWasEnded {
			err = fmt.Errorf("%w: %w", errNotStarted, err)
		}
		return err
	}
	closeAll(g.Sockets)
	if end == goferLives {
		a.hold(rec.ID, g.Kept)
	}
	return nil
}

// errNotStarted says that an instance was not started because its gofer was ended
// meanwhile: its command never ran, and it is no fault of its container's.
var errNotStarted = errors.New("its gofer was ended while it was started")

// goferEnd is what has become of a gofer while its container was started.
type goferEnd int

const (
	goferLives    goferEnd = iota
	goferHasEnded          // as the sentry let go of it, such as where there is no such command
	goferWasEnded
)

// whileGoferLives makes a call to the sentry that lets go of a container's
// sockets if its gofer ends meanwhile: what waits for its answer would hold up
// the call.
func whileGoferLives(ctx context.Context, g *gofer.Gofer, call func(context.Context) error) (goferEnd, error) {
	end := goferLives
	calling, done := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if g.Process.Await(calling) != nil {
			return
		}
		if end = goferWasEnded; hungUp(g.Kept.Sockets) {
			end = goferHasEnded
		}
		g.Kept.Close()
	})
	err := call(ctx)
	done()
	watching.Wait()
	return end, err
}

// hungUp says whether the other end of one of some sockets was shut down.
func hungUp(sockets []*os.File) bool {
	for _, s := range sockets {
		fds := []unix.PollFd{{Fd: int32(s.Fd()), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// layerFile is a nameless file for the writable layer of a container, which
// goes when the sentry that it is given to does.
func layerFile(dataDir string) (*os.File, error) {
	fd, err := unix.Open(dataDir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "layer"), nil
	}
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return nil, &os.PathError{Op: "open a nameless file in", Path: dataDir, Err: err}
	}
	// Some file systems have no nameless files.
	f, err := os.CreateTemp(dataDir, ".layer-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// startFailed cleans up after a container that could not be started and
// records why.
func (a *Actuator) startFailed(ctx context.Context, sentry gvisor.Sentry, rec observed.ContainerRecord, started time.Time, cause error) error {
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	err := a.discard(cleanup, sentry, rec)
	if errors.Is(cause, gvisor.ErrNoAnswer) || errors.Is(cause, errNotStarted) {
		// The sandbox is in trouble, not the container: it stays "creating", and is
		// started again.
		return err
	}
	rec.StartedAt = started
	rec.Exit = startError(cause)
	if rec.HookPhase != "" {
		rec.HookPhase = observed.HooksOwed
	}
	if err := moveContainer(&rec, observed.Stopped); err != nil {
		return err
	}
	return errors.Join(err, a.c.Records.SaveContainer(rec))
}

// startError is the end of an instance whose command never ran.
func startError(cause error) *observed.Exit {
	return &observed.Exit{Known: true, Code: startErrorCode, At: time.Now(), Reason: observed.ReasonStartError, Message: cause.Error()}
}

// startErrorCode is the exit code of a command that never ran, as containerd
// and Kubernetes have it.
const startErrorCode = 128

// discard takes what is left of an instance out of the sandbox: in the sentry,
// its gofer, its output's pipes. Its record stays.
func (a *Actuator) discard(ctx context.Context, sentry gvisor.Sentry, c observed.ContainerRecord) error {
	destroying, done := context.WithCancel(ctx)
	go func() {
		// What waits for a dead gofer's answer would hold up the destruction.
		if c.Gofer.Await(destroying) == nil {
			_ = a.releaseDead(destroying, c) // forget does the same
		}
	}()
	err := sentry.Destroy(ctx, c.ID)
	done()
	if err != nil {
		return fmt.Errorf("taking container %s out of the sandbox: %w", c.ID, err)
	}
	return errors.Join(shelf.Remove(sentry.Process, c.ID), a.forget(c))
}

// forget ends all that the daemon itself has of an instance.
func (a *Actuator) forget(c observed.ContainerRecord) error {
	a.unwatch(c)
	a.release(c.ID)
	a.endTerminal(c.ID)
	return errors.Join(endHelpers(c), a.removePIDFile(c), a.c.Logs.Finish(c.Sandbox, c.Name, c.ID))
}

// signal asks a container to end.
func (a *Actuator) signal(ctx context.Context, w work) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	sig, err := desired.SignalNumber(w.Signal)
	if err != nil {
		return err
	}
	a.cutPreStop(w.ContainerID)
	return a.ended(sentry.Signal(ctx, w.ContainerID, sig, false), w)
}

// kill ends every process of a container.
func (a *Actuator) kill(ctx context.Context, w work) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	if c := w.container(); c != nil {
		if err := a.releaseDead(ctx, *c); err != nil {
			return err
		}
	}
	return a.ended(sentry.Signal(ctx, w.ContainerID, unix.SIGKILL, true), w)
}

// ended makes nothing of an error that says that there is nobody to signal any
// more: the end is on its way to its record.
func (a *Actuator) ended(err error, w work) error {
	if errors.Is(err, gvisor.ErrUnknownContainer) || errors.Is(err, gvisor.ErrNoProcess) {
		a.c.Poke(w.Sandbox)
		return nil
	}
	return err
}

// remove takes a container out of the sandbox, its record and logs included.
func (a *Actuator) remove(ctx context.Context, w work) error {
	earlier, err := a.instances(&w)
	if err != nil {
		return err
	}
	for _, c := range earlier {
		if err := a.endHooks(ctx, c); err != nil {
			return err
		}
		sentry, err := w.sentry()
		if err == nil {
			err = a.discard(ctx, sentry, c)
		} else {
			err = a.forget(c)
		}
		if err != nil {
			return err
		}
	}
	a.endHeld(w.Sandbox, w.Container)
	return a.c.Records.DeleteContainer(w.Sandbox, w.Container)
}
