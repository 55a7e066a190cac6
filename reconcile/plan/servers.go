package plan

import (
	"fmt"
	"time"

	"sandboxer/observed"
)

// OfVolumes says whether an action is on the gofer of volumes, or its keeper, and
// on no container.
func (a *Action) OfVolumes() bool {
	return (&observed.ContainerRecord{Name: a.Container}).IsServer()
}

// stepServer decides for a gofer that serves volumes.
func (p *planner) stepServer(s *observed.Container) step {
	asked := time.Time{}
	for _, cm := range p.mem.Containers {
		if cm.GoferAsked.After(asked) {
			asked = cm.GoferAsked
		}
	}
	var what string
	switch {
	case s.GoferRun == observed.Silent:
		what = fmt.Sprintf("the gofer of volumes (process %d) answered nobody any more; the containers run on", s.Gofer.PID)
	case s.GoferRun == observed.Gone:
		what = fmt.Sprintf("the gofer of volumes (process %d) died; the containers run on", s.Gofer.PID)
	case s.GoferRun == observed.Alive && s.KeeperRun != observed.Alive:
		return step{verb: Keep, name: s.Name, id: s.ID, replaced: s.Keeper, frozen: true,
			reason: keeping("volumes", s)}
	case s.GoferRun == observed.Alive && s.GoferSince.Before(asked) && !p.rolling:
		p.rolling = true // before those of the containers that have asked
		what = "a new gofer for the volumes was asked for"
	default:
		return step{}
	}
	if due := s.GoferSince.Add(goferDelay(s.GoferFailures)); unserved(s) && s.GoferFailures > 0 && !s.GoferSince.After(p.now) && p.now.Before(due) {
		p.lookAt(due)
		return step{waits: true, frozen: true}
	}
	return step{verb: ReplaceGofer, name: s.Name, id: s.ID, replaced: s.Gofer, frozen: true, reason: what}
}

// volumesLost has a sandbox made anew whose volumes nobody can serve any more,
// and says whether it is one: they are mounted for as long as its sentry lives.
func (p *planner) volumesLost() bool {
	for i := range p.o.Servers {
		s := &p.o.Servers[i]
		if s.GoferRun != observed.None && p.mem.VolumesLost != p.o.Record.Sentry {
			continue
		}
		p.noteLoss()
		p.stop("the sandbox lost the gofer of its volumes", "", observed.ReasonGoferLost)
		return true
	}
	return false
}
