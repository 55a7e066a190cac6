package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/internal/answers"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/logs"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/sealed"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// callTimeout bounds every call to a sentry but waiting for a container's end.
const callTimeout = 10 * time.Second

// Config is what an Actuator works with. All fields but Version, GVisor, GoferExe,
// Answers, Foreground and Log are required.
type Config struct {
	// Exe is this program, which sentries and gofers are made from.
	Exe string
	// Version is this program's, noted of the gofers that it starts.
	Version string
	// GVisor is the version of gVisor that this program has; empty: nobody knows.
	GVisor string
	// GoferExe is a program that is a gofer and nothing else; empty: Exe.
	GoferExe string
	// Answers says whether host paths can be touched; nil: one of its own.
	Answers *answers.Checker
	// Written is where it is written down what containers can write to.
	Written *written.Log
	// StateDir and DataDir are the daemon's own.
	StateDir, DataDir string
	// Guard says what containers must not reach, as of now.
	Guard func() (shelf.Guard, error)
	// Claims is another text once that may be more.
	Claims func() (string, error)
	// Declared are the sandboxes that are to be, or may be yet.
	Declared func() []*desired.Sandbox
	// Image is the infra containers' root.
	Image *os.File
	// CgroupParent is the path below which every sandbox's cgroup is made.
	CgroupParent string
	Cgroups      *cgroup.Host
	Alarms       *cgroup.Alarms
	Records      *observed.Records
	// Checkpoints are those of suspended sandboxes.
	Checkpoints checkpoint.Store
	Logs        *logs.Logs
	Watcher     *observed.Watcher
	Reaper      *observed.Reaper
	// AllowUnsafeOwners obeys bundles, checkpoints, hooks and files with values
	// that others than root and the daemon's user can write.
	AllowUnsafeOwners bool
	// Accepted is the last accepted declaration of a sandbox; nil: there is none.
	// Optional: nobody knows of any then.
	Accepted func(sandbox string) *desired.Sandbox
	// AllowBundleHooks runs the hooks of OCI bundles, which are else refused.
	AllowBundleHooks bool
	// Poke wakes the loop for a sandbox; it does not block.
	Poke func(sandbox string)
	// Foreground is the container that has files of the caller's; nil: none has.
	Foreground *Foreground
	// Ended is told of each container's end once it is recorded; optional. It
	// must not block.
	Ended func(observed.ContainerRecord)
	// PreStopped is told how what a container does before it is stopped has
	// ended; optional. It must not block.
	PreStopped func(rec observed.ContainerRecord, err error, took time.Duration)
	// Hooked is told of each hook that has ended; optional. It must not block.
	Hooked func(HookEnd)
	// Emptied is told why a container sees nothing of a volume; optional. It
	// must not block.
	Emptied func(rec observed.ContainerRecord, why string)
	Log     logr.Logger
}

// Actuator carries out actions. Its methods may be called from many
// goroutines.
type Actuator struct {
	c       Config
	hookKey []byte // see hooksSeal
	mounts  mountinfo.Table
	// unsignedNotes: notes of records may be signed with a key that is lost. It is
	// set before anybody reads any.
	unsignedNotes bool

	// background ends with Close; it bounds what waits for containers' ends.
	background context.Context
	cancel     context.CancelFunc
	waiting    sync.WaitGroup

	mu sync.Mutex
	// gofers holds, by container ID, duplicates of gofers' sockets: as long as
	// somebody does, a gofer's death does not end its container.
	gofers map[string]gofer.Kept
	// silences are gofers that answered nobody when they were looked at last,
	// by container ID.
	silences map[string]silence
	// sharing is held, by sandbox, by who makes volumes known to it.
	sharing map[string]*sync.Mutex
	// held are what paths of containers led to that a container could write to,
	// by container's name and path.
	held map[string]map[string]held
	// granted is where declared sandboxes' containers could write.
	granted map[*desired.Sandbox]granted
	// terminals are those of containers, by container ID.
	terminals map[string]*terminal
	// waiters are the containers whose ends are waited for, by ID.
	waiters map[string]*waiter
	// answered is when each sentry last answered a question.
	answered map[observed.Process]time.Time
	// freezing is what sentries were told last of pausing and resuming, and have
	// not answered.
	freezing map[observed.Process]*telling
	// memory is what is known of sandboxes' memory, by cgroup.
	memory map[string]*memoryWatch
	// preStops is what containers do before they are stopped, by ID.
	preStops map[string]*preStopping
	// hooks are the containers for which hooks run.
	hooks map[hooked]*hooking
}

// errDaemonEnds ends what runs in the background.
var errDaemonEnds = errors.New("the daemon ends")

// New returns an Actuator. Close must be called.
func New(c Config) (*Actuator, error) {
	if c.Exe == "" || c.StateDir == "" || c.DataDir == "" || c.Guard == nil || c.Claims == nil || c.Declared == nil || c.Image == nil || c.CgroupParent == "" ||
		c.Cgroups == nil || c.Alarms == nil || c.Records == nil || c.Checkpoints.Dir == "" || c.Logs == nil || c.Watcher == nil || c.Reaper == nil || c.Poke == nil {
		return nil, errors.New("actuator: a required field is not set")
	}
	if c.Ended == nil {
		c.Ended = func(observed.ContainerRecord) {}
	}
	if c.PreStopped == nil {
		c.PreStopped = func(observed.ContainerRecord, error, time.Duration) {}
	}
	if c.Hooked == nil {
		c.Hooked = func(HookEnd) {}
	}
	if c.Emptied == nil {
		c.Emptied = func(observed.ContainerRecord, string) {}
	}
	if c.Accepted == nil {
		c.Accepted = func(string) *desired.Sandbox { return nil }
	}
	if c.Answers == nil {
		c.Answers = answers.New(c.Exe, nil)
	}
	if c.GoferExe == "" {
		c.GoferExe = c.Exe
	}
	key, _, err := sealed.Key(KeyFile(c.DataDir))
	if err != nil {
		return nil, err
	}
	a := &Actuator{c: c, hookKey: key, gofers: map[string]gofer.Kept{}, silences: map[string]silence{}, sharing: map[string]*sync.Mutex{}, held: map[string]map[string]held{}, granted: map[*desired.Sandbox]granted{}, terminals: map[string]*terminal{}, waiters: map[string]*waiter{},
		answered: map[observed.Process]time.Time{}, freezing: map[observed.Process]*telling{}, memory: map[string]*memoryWatch{},
		preStops: map[string]*preStopping{}, hooks: map[hooked]*hooking{}}
	background, cancel := context.WithCancelCause(context.Background())
	a.background, a.cancel = background, func() { cancel(errDaemonEnds) }
	return a, nil
}

// KeyFile is where in a data directory the key is that records are signed with, and
// the hooks and pid files in them, and contents identified.
func KeyFile(dataDir string) string { return filepath.Join(dataDir, "records.key") }

// Close stops waiting for containers' ends. Sandboxes stay as they are.
func (a *Actuator) Close() {
	a.mu.Lock()
	a.cancel() // whoever holds the lock sees that no wait may begin any more
	a.mu.Unlock()
	a.waiting.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.gofers {
		g.Close()
	}
	clear(a.gofers)
	for id := range a.silences {
		a.endSilence(id)
	}
	for key := range a.held {
		a.letGoHeld(key)
	}
	for _, t := range a.terminals {
		t.close()
	}
	clear(a.terminals)
	a.mounts.Close()
}

// later does something after that time with the lock held, unless Close has come
// before.
func (a *Actuator) later(wait time.Duration, do func()) *time.Timer {
	return time.AfterFunc(wait, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.background.Err() == nil {
			do()
		}
	})
}

// Do carries out one action; see reconcile.Actor.
func (a *Actuator) Do(ctx context.Context, do plan.Action, d *plan.Declared) error {
	w, err := a.load(do)
	if err != nil {
		return err
	}
	//exhaustive:enforce
	switch do.Verb {
	case plan.Create:
		return a.create(ctx, w, d)
	case plan.Start:
		return a.start(ctx, w, d)
	case plan.PreStop:
		return a.preStop(w)
	case plan.Signal:
		return a.signal(ctx, w)
	case plan.ReplaceGofer:
		return a.replaceGofer(ctx, w)
	case plan.Keep:
		return a.keep(w)
	case plan.Kill:
		return a.kill(ctx, w)
	case plan.Remove:
		return a.remove(ctx, w)
	case plan.Release:
		return a.releaseInstance(ctx, w)
	case plan.Pause:
		return a.pause(ctx, w)
	case plan.Resume:
		return a.resume(ctx, w)
	case plan.Suspend:
		return a.suspend(ctx, w, d)
	case plan.Restore:
		return a.restore(ctx, w, d)
	case plan.Discard:
		return a.discardImage(w)
	case plan.Mend:
		return a.mend(ctx, w, d)
	case plan.Stop:
		return a.stop(ctx, w)
	case plan.Destroy:
		return a.destroy(ctx, w)
	case plan.SetOOMScore:
		return a.setScores(w, d)
	case plan.SetLimits:
		return a.setLimits(ctx, w, d)
	case plan.ReopenUserLog:
		return a.reopenUserLog(ctx, w, d)
	}
	return fmt.Errorf("no such action: %q", do.Verb)
}

// work is one action with the records it is about.
type work struct {
	plan.Action
	rec        *observed.Record // nil: none, or none that can be used
	containers []observed.ContainerRecord
	broken     map[string]string
	servers    []observed.ContainerRecord // gofers of volumes
	// private: the sandbox's containers have their volumes to themselves, as it
	// was made by an earlier version; restoring: they have them in the checkpoint.
	private, restoring bool
}

// load reads the records and makes sure that they are about whom the action
// expects to meet.
func (a *Actuator) load(do plan.Action) (work, error) {
	loaded, err := a.c.Records.Load(do.Sandbox)
	if err != nil {
		return work{}, err
	}
	w := work{Action: do, rec: loaded.Record, containers: loaded.Containers, broken: loaded.BrokenContainers, servers: loaded.Servers}
	var sentry observed.Process
	if w.rec != nil {
		sentry = w.rec.Sentry
		if w.rec.Cgroup == "" { // else what runs in it could not be ended
			w.rec.Cgroup = a.cgroupPath(do.Sandbox)
		}
	}
	if sentry != do.Sentry {
		return work{}, fmt.Errorf("%w: the sentry is process %d, not %d", plan.ErrChanged, sentry.PID, do.Sentry.PID)
	}
	if c := w.container(); do.ContainerID != "" && (c == nil || c.ID != do.ContainerID) {
		return work{}, fmt.Errorf("%w: %s is not the container's instance any more", plan.ErrChanged, do.ContainerID)
	}
	if c := w.container(); c != nil && (do.Verb == plan.ReplaceGofer && c.Gofer != do.Replaced ||
		do.Verb == plan.Keep && c.Keeper != do.Replaced) {
		return work{}, fmt.Errorf("%w: process %d is not on record any more", plan.ErrChanged, do.Replaced.PID)
	}
	return w, nil
}

// container is the record of the action's container; nil where there is none.
func (w *work) container() *observed.ContainerRecord {
	for _, list := range [][]observed.ContainerRecord{w.containers, w.servers} {
		for i := range list {
			if list[i].Name == w.Container {
				return &list[i]
			}
		}
	}
	return nil
}

// sentry is the control of a sandbox that is up.
func (w *work) sentry() (gvisor.Sentry, error) {
	if w.rec == nil || w.rec.ControlSocket == "" {
		return gvisor.Sentry{}, &StateError{ID: "sandbox " + w.Sandbox, State: "absent", Action: string(w.Verb)}
	}
	return gvisor.Sentry{Process: w.rec.Sentry, Socket: w.rec.ControlSocket, Timeout: callTimeout}, nil
}

// cgroupPath is where the sandbox's cgroup is, or would be.
func (a *Actuator) cgroupPath(sandbox string) string { return path.Join(a.c.CgroupParent, sandbox) }
