package actuator

import (
	"errors"
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
	gofer  observed.Process
	served uint64 // how many requests had been answered
	since  time.Time
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
		delete(a.silences, rec.ID)
		return false, nil
	}
	if !was || last.gofer != rec.Gofer || last.served != served {
		a.silences[rec.ID] = silence{gofer: rec.Gofer, served: served, since: time.Now()}
		time.AfterFunc(silenceTime, func() { a.c.Poke(rec.Sandbox) })
		return false, nil
	}
	return time.Since(last.since) >= silenceTime, nil
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
	kept, held := a.gofers[rec.ID]
	var waits bool
	if held {
		served, waits, err = kept.Waiting()
	}
	a.mu.Unlock()
	if err != nil {
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
	cg, err := a.c.Cgroups.Load(sandbox.Cgroup)
	if err != nil {
		return 0, false, err
	}
	frozen, err := cg.Frozen()
	if errors.Is(err, cgroup.ErrNotFound) {
		err = observed.ErrGone
	}
	return served, !frozen, err
}
