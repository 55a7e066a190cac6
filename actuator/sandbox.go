package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// create makes the sandbox with its infra container.
func (a *Actuator) create(ctx context.Context, w work, d *reconcile.Declared) error {
	return a.make(ctx, w, d, nil)
}

// make makes the sandbox with its infra container, from nothing or from a
// checkpoint. The order is such that a crash at any step leaves a record that
// says how far it came or a cgroup that says whose it is.
func (a *Actuator) make(ctx context.Context, w work, d *reconcile.Declared, from *source) (err error) {
	rec := observed.Record{
		Name:        w.Sandbox,
		Runtime:     d.Spec.Runtime,
		SandboxHash: d.SandboxHash,
		Fields:      d.Fields(),
		LimitsHash:  d.LimitsHash,
		Cgroup:      a.cgroupPath(w.Sandbox),
		CreatedAt:   time.Now(),
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
	if err := a.prepareVolumes(d.Sandbox); err != nil {
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
		LaunchConfig: gvisor.LaunchConfig{
			ID:          w.Sandbox,
			Hostname:    d.Spec.Hostname,
			HostNetwork: d.Spec.Network.Mode == desired.NetworkHost,
			Dir:         a.c.Records.Dir(w.Sandbox),
			MemoryBytes: inside.MemoryBytes,
			CPUs:        inside.CPUQuota,
			Shares:      volumes.keys(),
		},
		Exe:        a.c.Exe,
		Image:      a.c.Image,
		Cgroup:     cg,
		Checkpoint: checkpoint,
		UserLog:    log,
		Sockets:    volumes.sockets(),
		Serve: func(pid int) (err error) {
			if rec.Sentry, err = observed.Identify(pid); err == nil {
				volumes.rec, err = a.startServer(ctx, &served, volumes.gofer, volumes.shares, volumes.mounts)
			}
			return err
		},
		Children: a.c.Reaper,
	})
	if err != nil {
		return err
	}
	if rec.Sentry, err = observed.Identify(made.PID); err != nil {
		return fmt.Errorf("identifying the sentry: %w", err)
	}
	if volumes.gofer != nil {
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

// userLog is what one of the containers declares.
func userLog(d *reconcile.Declared) string {
	for i := range d.Spec.Containers {
		if path := d.Spec.Containers[i].UserLog; path != "" {
			return path
		}
	}
	return ""
}

// openUserLog opens it, as a descriptor that can't be written by; nil: there is
// none. What is missing on the way there is made.
func (a *Actuator) openUserLog(d *reconcile.Declared) (*os.File, error) {
	path := userLog(d)
	if path == "" {
		return nil, nil
	}
	paths := a.paths()
	folder, err := paths.Make(filepath.Dir(path), 0o755)
	if err != nil {
		return nil, err
	}
	folder.Close()
	f, err := paths.MakeFile(path, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.IsRegular(); err != nil {
		f.Close()
		return nil, err
	}
	return f.File, nil
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
	return nil
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

// clearDir removes what a sandbox that is not running has no use for.
func (a *Actuator) clearDir(sandbox string) error {
	dir := a.c.Records.Dir(sandbox)
	sockets, err := filepath.Glob(filepath.Join(dir, "runsc-*.sock"))
	if err != nil {
		return err
	}
	errs := []error{os.RemoveAll(filepath.Join(dir, gvisor.Bundle))}
	for _, s := range sockets {
		errs = append(errs, os.Remove(s))
	}
	return errors.Join(errs...)
}

// destroy leaves nothing of the sandbox.
func (a *Actuator) destroy(ctx context.Context, w work) error {
	if err := a.endProcesses(ctx, w); err != nil {
		return err
	}
	var errs []error
	for _, c := range w.containers {
		a.endHeld(c.Sandbox, c.Name)
		errs = append(errs, a.endHooks(ctx, c), a.forget(c))
	}
	errs = append(errs, a.forgetServers(w.servers))
	errs = append(errs, a.c.Checkpoints.Remove(w.Sandbox), os.RemoveAll(a.hookDirs(w.Sandbox)), a.clearDir(w.Sandbox), a.c.Logs.Remove(w.Sandbox), a.removeVolumes(w.Sandbox))
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
