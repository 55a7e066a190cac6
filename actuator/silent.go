package actuator

import (
	"errors"
	"os"
	"time"

	"sandboxer/gofer"
	"sandboxer/internal/cgroup"
	"sandboxer/observed"
)

// silenceTime is how long a gofer must have answered nobody to be taken for
// lost. Even on a busy host one that can run gets to a request sooner.
const silenceTime = 3 * time.Second

// silence is a gofer's.
type silence struct {
	gofer              observed.Process
	sandbox, container string
	served             uint64 // how many requests had been answered
	since              time.Time
	poke               *time.Timer
}

// Silent says whether a container's gofer has answered nobody for a while: it
// is stopped, or it leaves a request in its socket and does nothing. What it
// does for long, on a file system that hangs say, is no silence: another gofer
// would do the same. Nor is it one to be frozen. Of one that falls silent the
// loop is poked when it has been so for long enough.
func (a *Actuator) Silent(sandbox observed.Record, rec observed.ContainerRecord) (bool, error) {
	served, silent, err := a.silent(sandbox, rec)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, was := a.silences[rec.ID]
	if !silent || a.waiters[rec.ID] == nil {
		a.endSilence(rec.ID)
		return false, nil
	}
	if !was || last.gofer != rec.Gofer || last.served != served {
		a.endSilence(rec.ID)
		poke := a.later(silenceTime, func() { a.c.Poke(rec.Sandbox) })
		a.silences[rec.ID] = silence{gofer: rec.Gofer, sandbox: rec.Sandbox, container: rec.Name, served: served, since: time.Now(), poke: poke}
		return false, nil
	}
	return time.Since(last.since) >= silenceTime, nil
}

// endSilence forgets a silence. The caller holds the lock.
func (a *Actuator) endSilence(id string) {
	if s, ok := a.silences[id]; ok {
		s.poke.Stop()
		delete(a.silences, id)
	}
}

// Stopped has the sandbox looked at whose gofer that process is, a child of the
// daemon that was stopped. Of others the resync finds it.
func (a *Actuator) Stopped(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.waiters {
		if w.rec.Gofer.PID == pid {
			a.c.Poke(w.rec.Sandbox)
		}
	}
}

// silent says whether a gofer answers nobody now.
func (a *Actuator) silent(sandbox observed.Record, rec observed.ContainerRecord) (served uint64, silent bool, err error) {
	a.mu.Lock()
	kept := a.gofers[rec.ID] // without sockets where nothing is held
	a.mu.Unlock()
	served, waits, err := kept.Waiting()
	if err != nil && !errors.Is(err, os.ErrClosed) { // it is held no more
		return 0, false, err
	}
	if silent, err = rec.Gofer.Stopped(); err != nil {
		return 0, false, err
	}
	if !silent && waits {
		works, err := gofer.Works(rec.Gofer)
		if err != nil {
			return 0, false, err
		}
		silent = !works
	}
	if !silent {
		return 0, false, nil
	}
	frozen, err := a.Frozen(sandbox.Cgroup)
	return served, !frozen, err
}

// Frozen says whether the kernel's freezer holds what is in a cgroup; see
// observed.Config.
func (a *Actuator) Frozen(path string) (bool, error) {
	cg, err := a.c.Cgroups.Load(path)
	if err != nil {
		return false, err
	}
	frozen, err := cg.Frozen()
	if errors.Is(err, cgroup.ErrNotFound) {
		err = observed.ErrGone
	}
	return frozen, err
}
