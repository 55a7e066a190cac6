package plan

import (
	"errors"
	"time"
)

// What an Actor's error can mean beyond its text.
var (
	// ErrChanged: the action met another process or instance than it expected.
	// Nothing was done; the next look decides anew.
	ErrChanged = errors.New("the world has changed since it was looked at")
	// ErrScoreDenied: the kernel refused an OOM score; see ScoreDeniedError.
	ErrScoreDenied = errors.New("OOM score refused")
	// ErrGoferLost: nothing can take over from a dead gofer, so that its
	// container can only be made anew.
	ErrGoferLost = errors.New("the gofer can't be replaced")
)

// ScoreDeniedError is ErrScoreDenied with what is in force instead.
type ScoreDeniedError struct {
	// Lowest is the lowest score that is permitted: processes that should have
	// a lower one have this, or one between the two.
	Lowest int
	// Err is what the kernel said: that is what the condition shows.
	Err error
}

func (e *ScoreDeniedError) Error() string { return ErrScoreDenied.Error() + ": " + e.Err.Error() }

// Is makes errors.Is(err, ErrScoreDenied) true.
func (e *ScoreDeniedError) Is(target error) bool { return target == ErrScoreDenied }

// Unwrap returns what the kernel said.
func (e *ScoreDeniedError) Unwrap() error { return e.Err }

// deniedRetry is how long a refused score or limit rests: what refused it
// (a missing capability, memory in use) seldom goes away at once.
const deniedRetry = time.Minute

// Failed is m with what a failed action means for the next plans. A
// failed Start needs no note: its container's record says StartError.
func (m Memory) Failed(a Action, d *Declared, err error, now time.Time) Memory {
	if errors.Is(err, ErrChanged) {
		return m
	}
	switch a.Verb {
	case Create, Restore:
		if d != nil {
			m.CreateFailures++
			m.NextCreate = now.Add(createDelay(d.Spec.RestartBackoff, a.Sandbox, m.CreateFailures))
			m.LastError = err.Error()
		}
	case Mend:
		m.MendFailed = true
	case Suspend:
		if d != nil {
			m.SuspendFailures++
			m.NextSuspend = now.Add(createDelay(d.Spec.RestartBackoff, a.Sandbox, m.SuspendFailures))
			m.SuspendError = err.Error()
		}
	case SetOOMScore:
		var denied *ScoreDeniedError
		if d != nil && errors.As(err, &denied) {
			m.ScoreDenied, m.ScoreDeniedFor, m.ScoreRetry = err.Error(), d.Scores, now.Add(deniedRetry)
			m.ScoreLowest = denied.Lowest
		}
	case ReplaceGofer:
		switch {
		case !errors.Is(err, ErrGoferLost):
		case a.OfVolumes():
			m.VolumesLost = a.Sentry
		default:
			p := planner{mem: m}
			cm := m.Containers[a.Container]
			cm.GoferLost = a.ContainerID
			p.setContainer(a.Container, cm)
			return p.mem
		}
	case SetLimits:
		if d != nil {
			m.LimitsDenied, m.LimitsDeniedFor, m.LimitsRetry = err.Error(), d.LimitsHash, now.Add(deniedRetry)
		}
	case PreStop, Signal:
		// It was not asked, so its time has not begun.
		p := planner{mem: m}
		if cm := m.Containers[a.Container]; cm.StopID == a.ContainerID {
			cm.StopID, cm.StopAsked, cm.PreStopping = "", time.Time{}, ""
			p.setContainer(a.Container, cm)
		}
		return p.mem
	}
	return m
}

// Done is m with what an action that was carried out means for the next plans.
// Of a container that was removed because it is declared no more nothing is: it may be
// declared again before anybody looks, and would be missed.
func (m Memory) Done(a Action, d *Declared) Memory {
	if dc, _ := d.Container(a.Container); a.Verb != Remove || dc != nil {
		return m
	}
	p := planner{mem: m}
	p.own()
	delete(p.mem.Containers, a.Container)
	return p.mem
}
