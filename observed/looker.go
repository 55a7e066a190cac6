package observed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Prober asks a runtime what only it can answer. It must return soon after
// ctx is done.
type Prober interface {
	// Probe returns the runtime's idea of the containers with these IDs, by
	// ID; those that it does not know are left out. It asks nobody else and
	// changes nothing. An error means that it got no answer. now asks for an
	// answer that is given after the call; without it one that is known to
	// hold still will do.
	Probe(ctx context.Context, r Record, containerIDs []string, now bool) (map[string]ContainerState, error)
}

// Config is what a Looker needs.
type Config struct {
	// Records are read at each look. Required.
	Records *Records
	// Prober is asked where a sandbox's processes live. Required.
	Prober Prober
	// CgroupProcs lists the pids in the cgroup with that path, and in those
	// nested in it; exists tells an empty one from none. Required.
	CgroupProcs func(path string) (pids []int, exists bool, err error)
	// Memory tells of a sandbox's memory and, where it can matter by now, of
	// these containers'; all is zero where its cgroup is gone. Optional. An
	// error means that nothing is known.
	Memory func(ctx context.Context, r Record, containerIDs []string) (Memory, error)
	// PreStop tells what an instance of a container does before it is stopped.
	// Optional: nobody does anything then.
	PreStop func(containerID string) PreStop
	// Silent says whether the living gofer of a container that runs has
	// answered nobody for a while, though somebody waits or nobody could be
	// answered. Optional: none is silent then.
	Silent func(Record, ContainerRecord) (bool, error)
	// Frozen says whether the kernel's freezer holds what is in a cgroup. Optional:
	// it holds nobody then.
	Frozen func(path string) (bool, error)
	// Replaced says what of a container's Objects and Contents is not there any
	// more as it was. Optional: nothing is looked at then.
	Replaced func(ContainerRecord) []string
	// UserLogMoved says whether the UserLog of a sandbox is not what its path leads
	// to any more. Optional: it is not looked at then.
	UserLogMoved func(Record) bool
	// CgroupPath is where the cgroup of a sandbox of that name is looked for
	// when its record can't tell. Optional: it is then not looked for.
	CgroupPath func(name string) string
	// Image finds the checkpoint of the sandbox of that name; nil: it has none.
	// Optional: nobody has one then.
	Image func(name string) (*Image, error)
	// Liveness says whether a process lives. Optional: it is looked up in ProcRoot.
	Liveness func(Process) (Liveness, error)
	// ProcRoot is where the kernel tells of processes; empty: /proc.
	ProcRoot string
	// ProbeTimeout is how long the Prober may take; 0: 2 s.
	ProbeTimeout time.Duration
}

// defaultProbeTimeout is long against the milliseconds that an answer takes,
// and short against what a user waits for.
const defaultProbeTimeout = 2 * time.Second

// Looker takes snapshots of sandboxes. It writes and signals nothing.
type Looker struct {
	c Config
}

// New returns a Looker.
func New(c Config) (*Looker, error) {
	if c.Records == nil || c.Prober == nil || c.CgroupProcs == nil {
		return nil, errors.New("a looker needs records, a prober and cgroups")
	}
	if c.ProcRoot == "" {
		c.ProcRoot = procRoot
	}
	if c.Liveness == nil {
		c.Liveness = func(p Process) (Liveness, error) { return p.liveness(c.ProcRoot) }
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = defaultProbeTimeout
	}
	return &Looker{c: c}, nil
}

// List names the sandboxes that there are records of, sorted.
func (l *Looker) List() ([]string, error) { return l.c.Records.List() }

// Look finds out all about one sandbox. A sandbox of which nothing exists is
// an empty Sandbox with its name. An error means that the look failed and
// that nothing is known. A runtime that fails to answer is no failed look but
// an Unresponsive sandbox, unless ctx is done.
func (l *Looker) Look(ctx context.Context, name string) (Sandbox, error) {
	loaded, err := l.c.Records.Load(name)
	if err != nil {
		return Sandbox{}, err
	}
	sb := Sandbox{
		Name:             name,
		Record:           loaded.Record,
		Broken:           loaded.Broken,
		BrokenContainers: loaded.BrokenContainers,
		Damaged:          loaded.Damaged,
	}
	if l.c.Image != nil {
		if sb.Image, err = l.c.Image(name); err != nil {
			return Sandbox{}, fmt.Errorf("looking for the checkpoint of sandbox %q: %w", name, err)
		}
	}
	if sb.Record != nil {
		if sb.Sentry, err = l.liveness(sb.Record.Sentry); err != nil {
			return Sandbox{}, fmt.Errorf("looking at sandbox %q: %w", name, err)
		}
		sb.UserLogMoved = sb.Sentry == Alive && l.c.UserLogMoved != nil && l.c.UserLogMoved(*sb.Record)
	}
	// Gofers are looked at before the runtime is asked: a gofer ends with its
	// container, so one that is gone is a loss only if its container runs later.
	// The same goes for its keeper.
	gofers := make([]Liveness, len(loaded.Containers))
	keepers := make([]Liveness, len(loaded.Containers))
	lost := false
	for i, rec := range loaded.Containers {
		var keeperErr error
		gofers[i], err = l.gofer(sb.Record, rec)
		keepers[i], keeperErr = l.liveness(rec.Keeper)
		if err := errors.Join(err, keeperErr); err != nil {
			return Sandbox{}, fmt.Errorf("looking at container %q of sandbox %q: %w", rec.Name, name, err)
		}
		lost = lost || open(rec) && (gofers[i] == Gone || keepers[i] == Gone)
	}
	for _, rec := range loaded.Servers {
		s := Container{ContainerRecord: rec, State: rec.State}
		var keeperErr error
		s.GoferRun, err = l.gofer(sb.Record, rec)
		s.KeeperRun, keeperErr = l.liveness(rec.Keeper)
		if err := errors.Join(err, keeperErr); err != nil {
			return Sandbox{}, fmt.Errorf("looking at the volumes of sandbox %q: %w", name, err)
		}
		sb.Servers = append(sb.Servers, s)
	}
	states, err := l.probe(ctx, &sb, loaded.Containers, lost)
	if err != nil {
		return Sandbox{}, fmt.Errorf("looking at sandbox %q: %w", name, err)
	}
	for i, rec := range loaded.Containers {
		c := Container{ContainerRecord: rec, GoferRun: gofers[i], KeeperRun: keepers[i]}
		c.State, c.Exit = state(rec, sb, states)
		if l.c.PreStop != nil {
			c.PreStop = l.c.PreStop(rec.ID)
		}
		if l.c.Replaced != nil && sb.Sentry == Alive && (c.State == Running || c.State == Paused) {
			c.Replaced = l.c.Replaced(rec)
		}
		if states[rec.ID] == Stopped {
			// They ended with it.
			if c.GoferRun == Gone {
				c.GoferRun = None
			}
			if c.KeeperRun == Gone {
				c.KeeperRun = None
			}
		}
		sb.Containers = append(sb.Containers, c)
	}
	if err := l.processes(&sb); err != nil {
		return Sandbox{}, fmt.Errorf("looking at sandbox %q: %w", name, err)
	}
	// After the processes: the kernel counts a kill before it kills, so whoever
	// was found dead of one is counted.
	if err := l.memory(ctx, &sb); err != nil {
		return Sandbox{}, fmt.Errorf("looking at sandbox %q: %w", name, err)
	}
	return sb, nil
}

// memory asks for memory; of containers only where somebody can answer.
func (l *Looker) memory(ctx context.Context, sb *Sandbox) (err error) {
	if l.c.Memory == nil || sb.Record == nil || sb.Record.Cgroup == "" {
		return nil
	}
	var ids []string
	for _, c := range sb.Containers {
		if sb.Sentry == Alive && !sb.Unresponsive && c.Exit == nil && (c.State == Running || c.State == Paused) {
			ids = append(ids, c.ID)
		}
	}
	askCtx, cancel := context.WithTimeout(ctx, l.c.ProbeTimeout)
	defer cancel()
	sb.Memory, err = l.c.Memory(askCtx, *sb.Record, ids)
	return err
}

func (l *Looker) liveness(p Process) (Liveness, error) { return l.c.Liveness(p) }

// gofer says how a container's gofer is.
func (l *Looker) gofer(sandbox *Record, rec ContainerRecord) (Liveness, error) {
	alive, err := l.liveness(rec.Gofer)
	if err != nil || alive != Alive || sandbox == nil || rec.State != Running || l.c.Silent == nil {
		return alive, err
	}
	silent, err := l.c.Silent(*sandbox, rec)
	if errors.Is(err, ErrGone) {
		return Gone, nil
	}
	if silent {
		alive = Silent
	}
	return alive, err
}

// open says whether it is the runtime that knows how a container is: its
// record tells neither an end nor that it was never finished.
func open(rec ContainerRecord) bool {
	return rec.Exit == nil && rec.State != Stopped && rec.State != Creating
}

// probed is the runtime's answer; nil where it was not asked or did not answer.
type probed map[string]ContainerState

// probe asks the runtime, if there is one to answer, and notes it in sb if
// that got no answer.
func (l *Looker) probe(ctx context.Context, sb *Sandbox, recs []ContainerRecord, now bool) (probed, error) {
	if sb.Record == nil || sb.Sentry == Gone {
		return nil, nil
	}
	switch sb.Record.State {
	case SandboxCreating, SandboxStopping, SandboxStopped:
		return nil, nil // not there yet, or not to be relied upon any more
	}
	var ids []string
	for _, rec := range recs {
		if open(rec) {
			ids = append(ids, rec.ID)
		}
	}
	probeCtx, cancel := context.WithTimeout(ctx, l.c.ProbeTimeout)
	defer cancel()
	states, err := l.c.Prober.Probe(probeCtx, *sb.Record, ids, now)
	if err == nil {
		if states == nil {
			states = probed{}
		}
		return states, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// A sentry that died under the question did not fail to answer.
	if sb.Sentry, err = l.afterSilence(sb, err); err != nil {
		return nil, err
	}
	return nil, nil
}

func (l *Looker) afterSilence(sb *Sandbox, silence error) (Liveness, error) {
	alive, err := l.liveness(sb.Record.Sentry)
	if err != nil {
		return None, err
	}
	if alive == Gone {
		return alive, nil
	}
	sb.Unresponsive, sb.ProbeError = true, silence.Error()
	sb.Stall, err = sb.Record.Sentry.stall(l.c.ProcRoot)
	if errors.Is(err, ErrGone) {
		sb.Unresponsive, sb.ProbeError = false, ""
		return Gone, nil
	}
	if err == nil && l.c.Frozen != nil && sb.Record.Cgroup != "" {
		if sb.Stall.Frozen, err = l.c.Frozen(sb.Record.Cgroup); errors.Is(err, ErrGone) {
			err = nil // its processes are elsewhere
		}
	}
	return alive, err
}
