package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/checkpoint"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// suspend writes the sandbox's checkpoint and leaves it frozen. From then on
// either the sandbox is ended, or the checkpoint is removed before anything
// runs on.
func (a *Actuator) suspend(ctx context.Context, w work, d *plan.Declared) error {
	return a.checkpoint(ctx, w, d, true, func(image observed.Image, fill func(string) error) error {
		images := a.c.Checkpoints
		images.Runtime = a.readableBy(w.rec)
		return images.Write(w.Sandbox, image, fill)
	})
}

// Checkpoint writes a checkpoint of a sandbox into dir, which must not be
// there or be empty, and lets the sandbox go on as it was. Nothing else may be
// done to the sandbox at the same time.
func (a *Actuator) Checkpoint(ctx context.Context, sandbox, dir string, d *plan.Declared) error {
	if err := a.c.Answers.Check(dir); err != nil {
		return err
	}
	folder, name, err := a.paths().Parent(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	// It is made in the folder that was found, whatever the path leads to by then.
	at := fmt.Sprintf("/proc/self/fd/%d", folder.Fd())
	loaded, err := a.c.Records.Load(sandbox)
	if err != nil {
		return err
	}
	w := work{Action: plan.Action{Sandbox: sandbox, Verb: "checkpoint"}, rec: loaded.Record, containers: loaded.Containers, broken: loaded.BrokenContainers, servers: loaded.Servers}
	switch image, err := a.c.Checkpoints.Read(sandbox); {
	case err != nil:
		return err
	case image != nil:
		return fmt.Errorf("it is suspended: its checkpoint is %s", a.c.Checkpoints.Path(sandbox))
	case w.rec == nil || w.rec.State != observed.SandboxUp && w.rec.State != observed.SandboxPaused:
		return errors.New("it does not run")
	}
	err = a.checkpoint(ctx, w, d, false, func(image observed.Image, fill func(string) error) error {
		return checkpoint.Write(filepath.Join(at, name), a.readableBy(w.rec), image, fill)
	})
	if err != nil {
		err = &renamed{err, strings.ReplaceAll(err.Error(), at, folder.Real)}
	}
	return err
}

// renamed is an error whose text names a path that means something to a user.
type renamed struct {
	error
	text string
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.error }

// checkpoint freezes the sandbox, has write write it, and thaws it unless it
// was frozen before or is to stay so. A failure leaves it as it was.
func (a *Actuator) checkpoint(ctx context.Context, w work, d *plan.Declared, stay bool,
	write func(image observed.Image, fill func(dir string) error) error,
) error {
	sentry, err := w.sentry()
	if err != nil {
		return err
	}
	if err := checkpointable(ctx, sentry, w, d); err != nil {
		return err
	}
	defer a.tend(ctx, sentry, w)()
	was := w.rec.State
	if err := a.still(ctx, sentry, w); err != nil {
		return err // what state it is in may not be known
	}
	image, err := a.imageOf(ctx, sentry, w, d)
	if err == nil {
		err = write(image, func(dir string) error { return unsaved(sentry.Checkpoint(ctx, dir), d.Sandbox) })
	}
	if err == nil && stay {
		was = observed.SandboxPaused
	}
	return errors.Join(err, a.goOn(ctx, w, was))
}

// stillTries bounds how often containers may be about to end when they are
// frozen.
const stillTries = 5

// still freezes the sandbox, unless it is frozen, at a moment at which no
// container is about to end: what is left of such a one can't be restored.
// Where one is, the sandbox runs until that has ended. A sandbox that can't be
// frozen is left with a record that says so.
func (a *Actuator) still(ctx context.Context, sentry gvisor.Sentry, w work) error {
	was := w.rec.State
	for range stillTries {
		if w.rec.State != observed.SandboxPaused {
			if err := a.insist(ctx, w, observed.SandboxSaving, observed.SandboxSaving, true); err != nil {
				return err
			}
		}
		ending, err := a.settle(ctx, sentry, w)
		if err != nil {
			return errors.Join(err, a.goOn(ctx, w, was))
		}
		if ending == "" {
			return nil
		}
		if err := a.goOn(ctx, w, observed.SandboxUp); err != nil {
			return err
		}
		ended, cancel := context.WithTimeout(ctx, endTime)
		_, _ = sentry.Wait(ended, ending) // or it is frozen again on its way
		cancel()
	}
	return errors.New("containers are about to end; it is tried again when they have")
}

// goOn leaves a sandbox that was frozen for its checkpoint frozen, if it was so
// before, or has it run on.
func (a *Actuator) goOn(ctx context.Context, w work, was observed.SandboxState) error {
	if w.rec.State == observed.SandboxSaving {
		if err := moveSandbox(w.rec, observed.SandboxPaused); err != nil {
			return err
		}
		if was == observed.SandboxPaused {
			return a.c.Records.Save(*w.rec)
		}
	}
	if was == observed.SandboxPaused {
		return nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return a.insist(cleanup, w, observed.SandboxResuming, observed.SandboxUp, false)
}

// insist freezes or thaws a sandbox whose gofers are tended: a call that was
// given up because one died is made again.
func (a *Actuator) insist(ctx context.Context, w work, through, to observed.SandboxState, paused bool) error {
	for {
		loaded, err := a.c.Records.Load(w.Sandbox)
		if err != nil {
			return err
		}
		w.containers, w.servers = loaded.Containers, loaded.Servers
		if err := a.freeze(ctx, w, through, to, paused); !errors.Is(err, errGoferDied) {
			return err
		}
		select {
		case <-time.After(tendEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// checkpointable says what stands in the way of a checkpoint, as far as that
// can be told before anything is frozen.
func checkpointable(ctx context.Context, sentry gvisor.Sentry, w work, d *plan.Declared) error {
	if d.Spec.Network.Mode == desired.NetworkHost {
		return errors.New("gVisor can't write a checkpoint of a sandbox with the host's network")
	}
	if name := d.Spec.WithTerminal(); name != "" {
		return fmt.Errorf("gVisor can't restore the terminal of container %q", name)
	}
	for _, c := range w.containers {
		if c.State != observed.Running {
			continue
		}
		commands, err := sentry.Executed(ctx, c.ID)
		switch {
		case errors.Is(err, gvisor.ErrUnknownContainer) || errors.Is(err, gvisor.ErrNoProcess):
		case err != nil:
			return err
		case len(commands) > 0:
			return fmt.Errorf("a session of exec runs %q in container %q, and would not survive: end it first", strings.Join(commands, ", "), c.Name)
		}
	}
	return nil
}

// unsaved says in the manifest's words why gVisor could not write a checkpoint,
// where what it says means something to those alone who know its program.
func unsaved(err error, d *desired.Sandbox) error {
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "endpoint with bound host socket"):
		var names []string
		for _, v := range d.Spec.Volumes {
			if v.HostPath != nil && v.HostPath.Sockets {
				names = append(names, strconv.Quote(v.Name))
			}
		}
		return &renamed{err, fmt.Sprintf("a program in it listens on a socket in a volume with sockets: true (%s), and gVisor can't save such a one: "+
			"end that program, or declare the volume without sockets: true, or another state", strings.Join(names, ", "))}
	case strings.Contains(err.Error(), "only deleted dentries for regular files"):
		return &renamed{err, "a program in it has a socket, FIFO or device open that was removed from a volume or a root, and gVisor can't save such a one: end that program, or declare another state: " + err.Error()}
	case strings.Contains(err.Error(), "invalidated dentries"):
		return &renamed{err, "a program in it has a file open that was replaced on the host meanwhile, and gVisor can't save such a one: end that program, or declare another state: " + err.Error()}
	}
	return err
}

// endTime is how long a container may take to end that is about to, and
// saidTime how long the sentry to say how one has ended.
const (
	endTime  = 2 * time.Second
	saidTime = 200 * time.Millisecond
)

// imageOf describes a frozen sandbox. Containers that have ended are taken out
// of it: their records say all that there is to come back, and a sentry would
// show them as running again.
func (a *Actuator) imageOf(ctx context.Context, sentry gvisor.Sentry, w work, d *plan.Declared) (observed.Image, error) {
	if !d.IsOf(w.rec) {
		return observed.Image{}, errors.New("the sandbox does not run as it is declared yet")
	}
	loaded, err := a.c.Records.Load(w.Sandbox)
	if err != nil {
		return observed.Image{}, err
	}
	for name, why := range loaded.BrokenContainers {
		return observed.Image{}, fmt.Errorf("the record of container %q can't be used: %s", name, why)
	}
	spec, err := json.Marshal(d.Spec)
	if err != nil {
		return observed.Image{}, err
	}
	image := observed.Image{Sandbox: w.Sandbox, CreatedAt: time.Now(), Spec: spec, Containers: []observed.ContainerRecord{}}
	for _, c := range loaded.Containers {
		switch c.State {
		case observed.Stopped:
			err = sentry.Destroy(ctx, c.ID)
		case observed.Running:
			if _, hash := d.Container(c.Name); c.Hash != hash {
				return observed.Image{}, fmt.Errorf("container %q does not run as it is declared yet", c.Name)
			}
			// What is left in a pipe would come back as the container's input.
			err = a.c.Logs.Drained(ctx, c.Sandbox, c.Name, c.ID)
		default:
			err = &StateError{ID: "container " + c.ID, State: string(c.State), Action: "checkpoint"}
		}
		if err != nil {
			return observed.Image{}, err
		}
		c.Gofer, c.GoferSince, c.GoferState, c.GoferFailures = observed.Process{}, time.Time{}, nil, 0
		c.Keeper, c.Process = observed.Process{}, nil
		image.Containers = append(image.Containers, c)
	}
	shares, err := sharesOf(loaded.Servers)
	if err != nil {
		return observed.Image{}, err
	}
	for _, s := range shares {
		image.Shares = append(image.Shares, observed.ImageShare{Key: s.Key, Volume: s.Volume, ReadOnly: s.ReadOnly})
	}
	return image, nil
}

// settle has the ends recorded of containers that have ended in a frozen
// sandbox and whose records do not say so yet. It returns the ID of one that was
// frozen on its way to the end, empty: there is none.
func (a *Actuator) settle(ctx context.Context, sentry gvisor.Sentry, w work) (ending string, err error) {
	for _, c := range w.containers {
		if c.State != observed.Running {
			continue
		}
		state, err := sentry.State(ctx, c.ID)
		if err != nil {
			return "", err
		}
		if state != boot.RuntimeStateStopped {
			continue
		}
		said, cancel := context.WithTimeout(ctx, saidTime)
		status, err := sentry.Wait(said, c.ID)
		cancel()
		switch {
		case errors.Is(err, gvisor.ErrUnknownContainer):
			continue // it was taken out before
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil:
			return c.ID, nil
		}
		a.mu.Lock()
		waiter := a.waiters[c.ID]
		a.mu.Unlock()
		if waiter == nil {
			continue // it is recorded by now
		}
		if err := a.recordEnd(waiter, exitOf(status, time.Now())); err != nil {
			return "", err
		}
	}
	return "", nil
}
