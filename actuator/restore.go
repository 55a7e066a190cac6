package actuator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/checkpoint"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// source is what a sandbox is restored from.
type source struct {
	*observed.Image
	dir string
	own bool // it is the sandbox's own and goes once it is restored
	// folder is what dir is a name of; nil where it is own.
	folder *os.File
}

func (s *source) close() {
	if s.folder != nil {
		s.folder.Close()
	}
}

// restore makes a sandbox from its checkpoint, or else from the one that its
// declaration names. It runs before this is over: where a daemon was killed
// meanwhile, the sentry tells how far it came.
func (a *Actuator) restore(ctx context.Context, w work, d *plan.Declared) error {
	if w.rec != nil && w.rec.State == observed.SandboxRestoring {
		return a.restoreOn(ctx, w, d)
	}
	from, err := a.source(d)
	if err != nil {
		return err
	}
	defer from.close()
	if why := plan.Refusal(from.Image, d); why != "" {
		return errors.New(why)
	}
	if err := a.checkVolumes(d.Sandbox, from); err != nil {
		return err
	}
	return a.make(ctx, w, d, from)
}

func (a *Actuator) source(d *plan.Declared) (*source, error) {
	image, err := a.c.Checkpoints.Read(d.Name)
	if err != nil {
		return nil, err
	}
	if image != nil {
		return &source{Image: image, dir: a.c.Checkpoints.Path(d.Name), own: true}, nil
	}
	// All of it is of the folder that was checked, whatever the path leads to by now.
	folder, err := a.obeyedAll(d.Spec.RestoreFrom)
	from := &source{folder: folder.File}
	if err == nil {
		from.dir = fmt.Sprintf("/proc/self/fd/%d", folder.Fd())
		if from.Image, err = checkpoint.Read(from.dir, a.c.Checkpoints.Runtime); err != nil {
			from.close()
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("restoreFrom: there is no checkpoint at %s: %w; make one with \"sandboxer checkpoint\", or leave restoreFrom out", d.Spec.RestoreFrom, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("restoreFrom: %w", err)
	}
	return from, nil
}

// checkVolumes refuses a sandbox's own checkpoint where a volume that it had
// in memory has gone with the host's.
func (a *Actuator) checkVolumes(d *desired.Sandbox, from *source) error {
	for _, v := range d.Spec.Volumes {
		if !from.own || v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil {
			continue
		}
		mounted, err := isMountPoint(filepath.Join(a.volumesDir(d.Name), v.Name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !mounted {
			return fmt.Errorf("the emptyDir volume %q was in memory, as it has a sizeLimit, and is gone: declare Stopped to discard the checkpoint", v.Name)
		}
	}
	return nil
}

// restoreContainers gives the sentry all containers that were running. The
// last of them sets the sandbox going, all of it at once.
func (a *Actuator) restoreContainers(ctx context.Context, rec *observed.Record, d *plan.Declared, from *source, servers []observed.ContainerRecord) (err error) {
	w := work{Action: plan.Action{Sandbox: d.Name}, rec: rec, servers: servers, restoring: true, private: len(from.Shares) == 0}
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	defer func() { err = a.unrestored(ctx, err, sentry, d.Sandbox, from) }()
	loaded, err := a.c.Records.Load(d.Name)
	if err != nil {
		return err
	}
	now := time.Now()
	var ended []observed.ContainerRecord
	gofers := w.gofers()
	for _, was := range from.Containers {
		if !from.own {
			was.Attempt = 1
			for _, earlier := range loaded.Containers {
				if earlier.Name == was.Name {
					was.Attempt = earlier.Attempt + 1
				}
			}
			was.Hooks, was.HooksSeal, was.HookPhase, was.HooksDone = nil, "", "", 0 // were run for another
		}
		was.Sandbox, was.ID = d.Name, instanceID(d.Name, was.Name, was.Attempt)
		if was.State == observed.Stopped {
			ended = append(ended, was)
			continue
		}
		if !from.own {
			was.StartedAt = now
		}
		if gofers, err = a.restoreContainer(ctx, sentry, &w, d, was, gofers); err != nil {
			return err
		}
	}
	// Where nothing ran, and there was no last one, it has long been set going.
	if err := sentry.Restored(ctx); err != nil {
		return err
	}
	return a.restored(ctx, rec, sentry, d, ended)
}

// restoreContainer gives the sentry one of them. It returns the gofers of all
// that it has, any of which may hold up the last container.
func (a *Actuator) restoreContainer(ctx context.Context, sentry gvisor.Sentry, w *work, d *plan.Declared, rec observed.ContainerRecord,
	gofers []observed.Process,
) ([]observed.Process, error) {
	c, _ := d.Container(rec.Name)
	if c == nil {
		return nil, fmt.Errorf("%w: container %q is not declared any more", plan.ErrChanged, rec.Name)
	}
	rec.State = observed.Creating
	// The record is there before the container is, so that its gofer is known
	// to whoever finds it.
	err := a.run(ctx, w, d, c, &rec, func(ctx context.Context, args gvisor.Start) error {
		if err := a.c.Records.SaveContainer(rec); err != nil {
			return err
		}
		gofers = append(gofers, rec.Gofer)
		return whileServed(ctx, gofers, func(ctx context.Context) error { return sentry.RestoreContainer(ctx, args) })
	})
	return gofers, err
}

// restoreOn deals with a sandbox that an earlier daemon left while it was being
// restored: one that has begun to run is kept, whatever it has done since; one
// that has not is ended and restored again.
func (a *Actuator) restoreOn(ctx context.Context, w work, d *plan.Declared) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	begun, err := hasBegun(ctx, sentry, w.rec.Name)
	if err != nil {
		return err
	}
	if !begun {
		return a.unrestore(ctx, w)
	}
	image, err := a.c.Checkpoints.Read(w.Sandbox)
	if err != nil {
		return err
	}
	var ended []observed.ContainerRecord
	if image != nil {
		ended = slices.DeleteFunc(image.Containers, func(c observed.ContainerRecord) bool { return c.State != observed.Stopped })
	}
	return a.restored(ctx, w.rec, sentry, d, ended)
}

// hasBegun reports whether what is restored runs. A sentry that waits for
// containers never says so, and one that is short of a processor says it late: it
// is asked meanwhile what it always answers, twice. One that does not answer that
// either is silent, and not to be ended for this.
func hasBegun(ctx context.Context, sentry gvisor.Sentry, infra string) (bool, error) {
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- sentry.Restored(asked) }()
	for range 2 {
		select {
		case err := <-said:
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			return err == nil, nil
		case <-time.After(endTime):
		}
		if _, err := sentry.State(ctx, infra); errors.Is(err, gvisor.ErrNoAnswer) {
			return false, err
		}
	}
	return false, nil
}

// unrestore ends what was not restored to the end, as if it had never been
// tried.
func (a *Actuator) unrestore(ctx context.Context, w work) error {
	loaded, err := a.c.Records.Load(w.Sandbox)
	if err != nil {
		return err
	}
	w.containers, w.servers = loaded.Containers, loaded.Servers
	errs := []error{a.stop(ctx, w)}
	for _, c := range w.containers {
		if c.State == observed.Creating && c.HookPhase == "" {
			errs = append(errs, a.c.Records.DeleteContainer(w.Sandbox, c.Name))
		}
	}
	return errors.Join(errs...)
}

// restored takes over what now runs, and records what had ended. The checkpoint
// goes last but for the sandbox's own record, which says until then that it may
// be stale.
func (a *Actuator) restored(ctx context.Context, rec *observed.Record, sentry gvisor.Sentry, d *plan.Declared, ended []observed.ContainerRecord) error {
	for _, c := range ended {
		if err := a.c.Records.SaveContainer(c); err != nil {
			return err
		}
	}
	loaded, err := a.c.Records.Load(rec.Name)
	if err != nil {
		return err
	}
	if err := a.shareAgain(ctx, sentry, loaded.Servers); err != nil {
		return err
	}
	// Layers have the bounds of when they were saved.
	if _, err := a.limitStorage(ctx, sentry, d.Sandbox); err != nil {
		return err
	}
	for _, c := range loaded.Containers {
		if c.State == observed.Stopped {
			continue
		}
		if err := moveContainer(&c, observed.Running); err != nil {
			return err
		}
		if err := a.c.Records.SaveContainer(c); err != nil {
			return err
		}
		if err := errors.Join(a.c.Logs.Adopt(c.Sandbox, c.Name, c.ID), a.attend(sentry, c)); err != nil {
			return err
		}
	}
	if err := a.c.Checkpoints.Remove(rec.Name); err != nil {
		return err
	}
	rec.Restored = true
	if err := moveSandbox(rec, observed.SandboxUp); err != nil {
		return err
	}
	return a.c.Records.Save(*rec)
}

// discardImage removes a sandbox's checkpoint. What was only there has ended,
// and nobody will know how it would have gone on.
func (a *Actuator) discardImage(w work) error {
	image, err := a.c.Checkpoints.Read(w.Sandbox)
	if err != nil || image == nil {
		return err
	}
	if w.rec == nil || w.rec.Sentry.PID == 0 {
		if err := a.recordDiscarded(w, image); err != nil {
			return err
		}
	}
	return a.c.Checkpoints.Remove(w.Sandbox)
}

func (a *Actuator) recordDiscarded(w work, image *observed.Image) error {
	if w.rec == nil {
		if err := a.c.Records.Save(a.stoppedRecord(w.Sandbox)); err != nil {
			return err
		}
	}
	for _, c := range image.Containers {
		if c.Exit == nil {
			c.Exit = &observed.Exit{At: time.Now(), Reason: observed.ReasonDiscarded, Message: "it was suspended, and its checkpoint was discarded"}
		}
		c.State = observed.Stopped
		if err := a.c.Records.SaveContainer(c); err != nil {
			return err
		}
	}
	return nil
}

// openSource opens the directory of a checkpoint; nil: there is none to open.
func openSource(from *source) (*os.File, error) {
	if from == nil {
		return nil, nil
	}
	return os.Open(from.dir)
}
