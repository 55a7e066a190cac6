package actuator

import (
	"errors"
	"slices"

	"sandboxer/observed"
	"sandboxer/oom"
	"sandboxer/reconcile/plan"
)

// setScores gives every process of the sandbox its declared OOM score: a
// container's gofer and keeper that container's own, the sentry and all below
// it the lowest of all that count, and whoever has none declared the one that the sandbox
// was born with.
func (a *Actuator) setScores(w work, d *plan.Declared) error {
	if w.rec == nil || d == nil {
		return &StateError{ID: "sandbox " + w.Sandbox, State: "absent", Action: string(w.Verb)}
	}
	helpers := map[observed.Process]int{}
	for _, rec := range w.containers {
		c, _ := d.Container(rec.Name)
		if c == nil {
			continue
		}
		own := w.rec.OriginalOOMScoreAdj
		if c.OOMScoreAdj != nil {
			own = *c.OOMScoreAdj
		}
		helpers[rec.Gofer], helpers[rec.Keeper] = own, own
	}
	score, ok := d.Score(w.InitDone)
	if !ok {
		score = w.rec.OriginalOOMScoreAdj
	}
	var errs []error
	var denied *oom.DeniedError
	done := map[observed.Process]bool{}
	// A process that is forked before its parent is written to has its parent's
	// old score, so it goes on until none is found that was not seen before.
	for range scorePasses {
		members, err := a.members(w.rec.Cgroup)
		if err != nil {
			errs = append(errs, err)
			break
		}
		before := len(done)
		for _, p := range members {
			if done[p] {
				continue
			}
			done[p] = true
			want, ok := helpers[p]
			if !ok {
				want = score
			}
			err := oom.Apply(p, want)
			var d *oom.DeniedError
			switch {
			case errors.As(err, &d):
				// One reason stands for all: it is the daemon's, not the process's.
				if denied == nil || d.Got > denied.Got {
					denied = d
				}
			case err != nil:
				errs = append(errs, err)
			}
		}
		if len(done) == before {
			break
		}
	}
	if denied != nil {
		errs = append(errs, &plan.ScoreDeniedError{Lowest: denied.Got, Err: denied})
	}
	return errors.Join(errs...)
}

// scorePasses bounds one action where processes come faster than they are
// written to; the next look finds what is left.
const scorePasses = 10

// members identifies the processes of a cgroup. A pid may be given to a
// stranger between its listing and its identification; a stranger is not in
// the second listing.
func (a *Actuator) members(cgroupPath string) ([]observed.Process, error) {
	pids, _, err := a.c.Cgroups.Procs(cgroupPath)
	if err != nil {
		return nil, err
	}
	var members []observed.Process
	for _, pid := range pids {
		p, err := observed.Identify(pid)
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		members = append(members, p)
	}
	again, _, err := a.c.Cgroups.Procs(cgroupPath)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(members, func(p observed.Process) bool { return !slices.Contains(again, p.PID) }), nil
}
