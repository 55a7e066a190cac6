package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// create makes the sandbox with its infra container.
func (a *Actuator) create(ctx context.Context, w work, d *plan.Declared) error {
	return a.make(ctx, w, d, nil)
}

// make makes the sandbox with its infra container, from nothing or from a
// checkpoint. The order is such that a crash at any step leaves a record that
// says how far it came or a cgroup that says whose it is.
func (a *Actuator) make(ctx context.Context, w work, d *plan.Declared, from *source) (err error) {
	rec := observed.Record{
		Name:        w.Sandbox,
		Runtime:     d.Spec.Runtime,
		SandboxHash: d.SandboxHash,
		Fields:      d.Fields(),
		Written:     d.Written(),
		LimitsHash:  d.LimitsHash,
		Cgroup:      a.cgroupPath(w.Sandbox),
		CreatedAt:   time.Now(),
		GVisor:      a.c.GVisor,
		HostNetwork: d.Spec.Network.Mode == desired.NetworkHost,
	}
	if w.rec != nil {
		rec.State = w.rec.State
	}
	if err := moveSandbox(&rec, observed.SandboxCreating); err != nil {
		return err
	}
	if err := a.c.Records.Save(rec); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
			defer cancel()
			w.rec = &rec
			err = errors.Join(err, a.unrestore(cleanup, w))
		}
	}()
	if err := a.prepareVolumes(ctx, d.Sandbox); err != nil {
		return err
	}
	inside, outside := limits(d.Sandbox)
	cg, err := a.c.Cgroups.Create(rec.Cgroup, outside)
	if err != nil {
		return fmt.Errorf("making the cgroup: %w", err)
	}
	log, err := a.openUserLog(d)
	if err != nil {
		return fmt.Errorf("userLog: %w", err)
	}
	if log != nil {
		defer log.Close()
		if rec.UserLog, err = userLogObject(userLog(d), log); err != nil {
			return fmt.Errorf("userLog: %w", err)
		}
	}
	checkpoint, err := openSource(from)
	if err != nil {
		return err
	}
	if checkpoint != nil {
		defer checkpoint.Close()
	}
	volumes, err := a.openShares(d.Sandbox, from)
	if err != nil {
		return err
	}
	defer volumes.close()
	served := work{Action: w.Action, rec: &rec}
	made, err := gvisor.CreateSandbox(ctx, gvisor.Create{
		ID:          w.Sandbox,
		Hostname:    d.Spec.Hostname,
		HostNetwork: d.Spec.Network.Mode == desired.NetworkHost,
		Dir:         a.c.Records.Dir(w.Sandbox),
		MemoryBytes: inside.MemoryBytes,
		CPUs:        inside.CPUQuota,
		Exe:         a.c.Exe,
		Image:       a.c.Image,
		Cgroup:      cg,
		Checkpoint:  checkpoint,
		UserLog:     log,
		Shares:      volumes.keys(),
		Sockets:     volumes.sockets(),
		Serve: func(sentry observed.Process) (err error) {
			rec.Sentry = sentry
			volumes.rec, err = a.startServer(ctx, &served, volumes.gofer, volumes.shares, volumes.mounts)
			return err
		},
	})
	if err != nil {
		return err
	}
	rec.Sentry = made.Sentry
	if volumes.gofer != nil {
		volumes.handedOver = true
		if err := a.serverStarted(&served, volumes.rec, volumes.gofer, true); err != nil {
			return err
		}
	}
	rec.ControlSocket = made.ControlSocket
	rec.OriginalOOMScoreAdj = made.OriginalOOMScoreAdj
	control := gvisor.Sentry{Socket: made.ControlSocket, Timeout: callTimeout}
	if err := a.limitTasks(ctx, control, d.Sandbox); err != nil {
		return err
	}
	reached := observed.SandboxUp
	if from != nil {
		reached = observed.SandboxRestoring
	}
	if err := moveSandbox(&rec, reached); err != nil {
		return err
	}
	if err := a.c.Records.Save(rec); err != nil {
		return err
	}
	if from != nil {
		if err := a.restoreContainers(ctx, &rec, d, from, served.servers); err != nil {
			return err
		}
	}
	return a.watchSentry(rec)
}

// watchSentry has the loop poked when the sentry ends.
func (a *Actuator) watchSentry(rec observed.Record) error {
	return a.c.Watcher.Watch(rec.Sentry, func() { a.c.Poke(rec.Name) })
}

// stop ends everything that runs of the sandbox at once, through its cgroup:
// that also finds what no record knows of. Containers whose end nobody saw get
// one recorded. What can't be written (a full disk) holds up nothing that can
// be ended: every step is tried, and the whole is done again if one fails.
func (a *Actuator) stop(ctx context.Context, w work) error {
	var errs []error
	if w.rec != nil {
		errs = append(errs, moveSandbox(w.rec, observed.SandboxStopping), a.c.Records.Save(*w.rec))
	}
	if err := a.endProcesses(ctx, w); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, c := range w.containers {
		a.endHeld(c.Sandbox, c.Name)
		errs = append(errs, a.forget(c))
	}
	errs = append(errs, a.forgetServers(w.servers))
	// Nobody waits any more. An end that was seen until then is the true one.
	loaded, err := a.c.Records.Load(w.Sandbox)
	errs = append(errs, err)
	errs = append(errs, a.recordLostEnds(loaded, w))
	errs = append(errs, a.clearDir(w.Sandbox))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if w.rec == nil {
		// What can't be used is replaced: else it would be in the way for ever.
		w.rec = new(a.stoppedRecord(w.Sandbox))
	} else if err := moveSandbox(w.rec, observed.SandboxStopped); err != nil {
		return err
	}
	w.rec.Sentry, w.rec.ControlSocket = observed.Process{}, ""
	if err := a.c.Records.Save(*w.rec); err != nil {
		return err
	}
	return a.releaseAll(ctx, w.Sandbox)
}

// endProcesses kills all that is in the sandbox's cgroup, and what was moved out
// of it, and removes it.
func (a *Actuator) endProcesses(ctx context.Context, w work) error {
	name := a.cgroupPath(w.Sandbox)
	if w.rec != nil {
		name = w.rec.Cgroup
		a.c.Watcher.Unwatch(w.rec.Sentry)
		a.mu.Lock()
		delete(a.answered, w.rec.Sentry)
		a.mu.Unlock()
	}
	a.unwatchMemory(name)
	if w.rec != nil {
		// It ends while the rest is looked for. Who it can't be told to is in the
		// cgroup, or is met by endMoved.
		_ = w.rec.Sentry.Signal(unix.SIGKILL)
	}
	cg, err := a.c.Cgroups.Load(name)
	there := !errors.Is(err, cgroup.ErrNotFound)
	if there && err != nil {
		return err
	}
	if there {
		if err := cg.Kill(ctx); err != nil {
			return fmt.Errorf("ending the sandbox's processes: %w", err)
		}
	}
	if err := w.endMoved(ctx); err != nil {
		return err
	}
	if there {
		if err := cg.Delete(ctx); err != nil {
			return fmt.Errorf("removing the sandbox's cgroup: %w", err)
		}
	}
	return a.c.Written.End(w.Sandbox)
}

// endMoved kills those processes on record that have outlived the cgroup's end:
// root, or a service manager, may have moved them to another one. What a sentry
// runs its applications in ends with it.
func (w *work) endMoved(ctx context.Context) error {
	var recorded []observed.Process
	if w.rec != nil {
		recorded = append(recorded, w.rec.Sentry)
	}
	for _, c := range w.containers {
		recorded = append(recorded, c.Gofer, c.Keeper)
	}
	for _, p := range recorded {
		err := p.Signal(unix.SIGKILL)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err == nil {
			err = p.Await(ctx)
		}
		if err != nil {
			return fmt.Errorf("ending what was moved out of the sandbox's cgroup: %w", err)
		}
	}
	return nil
}

// recordLostEnd writes an end into the record of a container that had none
// when its sandbox was ended: with a reason given, nobody knows how it ended;
// without, this daemon killed it. One that was left half-made has no end: as
// far as anybody knows its command never ran, so it is to run yet.
func (a *Actuator) recordLostEnd(c observed.ContainerRecord, reason, message string) error {
	if c.State == observed.Stopped || c.State == observed.Creating {
		return nil
	}
	exit := &observed.Exit{At: time.Now(), Reason: reason, Message: message}
	if reason == "" {
		*exit = killedExit(exit.At)
	}
	if err := moveContainer(&c, observed.Stopped); err != nil {
		return err
	}
	c.Exit, c.Gofer, c.Keeper = exit, observed.Process{}, observed.Process{}
	return a.c.Records.SaveContainer(c)
}

// earlierBundle is a folder that sandboxes have that an earlier version made.
const earlierBundle = "infra"

// clearDir removes what a sandbox that is not running has no use for.
func (a *Actuator) clearDir(sandbox string) error {
	dir := a.c.Records.Dir(sandbox)
	sockets, err := gvisor.Sockets(dir)
	if err != nil {
		return err
	}
	errs := []error{os.RemoveAll(filepath.Join(dir, earlierBundle))}
	for _, s := range sockets {
		errs = append(errs, os.Remove(s))
	}
	return errors.Join(errs...)
}

// destroy leaves nothing of the sandbox. A sentry takes its time to end: where
// nothing runs in it any more, what neither it nor who has to do this again needs is
// removed meanwhile. The record is last.
func (a *Actuator) destroy(ctx context.Context, w work) error {
	tidy := func() (err error) {
		defer reconcile.Contain(&err)
		return errors.Join(a.c.Logs.Remove(w.Sandbox), a.clearDir(w.Sandbox), a.c.Checkpoints.Remove(w.Sandbox))
	}
	// What runs may yet say something to somebody who listens.
	running := slices.ContainsFunc(w.containers, func(c observed.ContainerRecord) bool { return c.State == observed.Running })
	var cleared error
	var clearing sync.WaitGroup
	if !running {
		clearing.Go(func() { cleared = tidy() })
	}
	err := a.endProcesses(ctx, w)
	clearing.Wait()
	if err := errors.Join(err, cleared); err != nil {
		return err
	}
	var errs []error
	if running {
		errs = append(errs, tidy())
	}
	for _, c := range w.containers {
		a.endHeld(c.Sandbox, c.Name)
		errs = append(errs, a.endHooks(ctx, c), a.forget(c))
	}
	errs = append(errs, a.forgetServers(w.servers))
	errs = append(errs, os.RemoveAll(a.hookDirs(w.Sandbox)), a.removeVolumes(w.Sandbox))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := a.c.Records.Delete(w.Sandbox); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sharing, w.Sandbox)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
