package plan

import (
	"time"

	"sandboxer/desired"
)

// Clock is one reading of the host's clock together with one of a clock that
// nobody sets. What is remembered is dated by the first, as it outlives the
// daemon; the second tells later that the first was set meanwhile.
type Clock struct {
	Wall time.Time `json:"wall,omitzero"`
	// Awake is for how long the host has been awake since it was booted, and
	// Boot which boot that was. A host that was suspended thus looks like one
	// whose clock was set forward: nothing ran, so no time has been used up.
	Awake time.Duration `json:"awake,omitempty"`
	Boot  string        `json:"boot,omitempty"`
}

// clockStep is what the two may drift apart without any wait being moved.
const clockStep = time.Second

// SetSince is by how much the host's clock was set forward since earlier; 0
// where it was not, or another boot or nothing is known of it.
func (c Clock) SetSince(earlier Clock) time.Duration {
	if earlier.Boot == "" || earlier.Boot != c.Boot {
		return 0
	}
	by := c.Wall.Sub(earlier.Wall) - (c.Awake - earlier.Awake)
	if by.Abs() < clockStep {
		return 0
	}
	return by
}

// Moved is m where the clock was set forward by so much: what is left of each
// wait stays what it was. Requests stay where they are: they are compared with
// what was dated by the same clock.
func (m Memory) Moved(by time.Duration) Memory {
	for _, t := range []*time.Time{
		&m.StopAsked, &m.NextCreate, &m.NextSuspend, &m.OOMSeen, &m.UnresponsiveSince, &m.HeldAt, &m.ScoreRetry, &m.LimitsRetry,
	} {
		move(t, by)
	}
	p := planner{mem: m}
	for name, cm := range m.Containers {
		move(&cm.NextStart, by)
		move(&cm.StopAsked, by)
		move(&cm.SignalledAt, by)
		if cm.Live != cm.Seen {
			cm.ClockSet += by
		}
		p.setContainer(name, cm)
	}
	return p.mem
}

func move(t *time.Time, by time.Duration) {
	if !t.IsZero() {
		*t = t.Add(by)
	}
}

// bound has no wait begin in the future or last longer than it may, whatever
// the clock was when it began: another boot can't tell by how much it was set.
func (p *planner) bound() {
	m := &p.mem
	for _, t := range []*time.Time{&m.StopAsked, &m.OOMSeen, &m.UnresponsiveSince, &m.HeldAt, &m.RestartAsked} {
		p.notAfter(t, 0)
	}
	p.notAfter(&m.ScoreRetry, deniedRetry)
	p.notAfter(&m.LimitsRetry, deniedRetry)
	var b desired.RestartBackoff
	if p.d != nil {
		b = p.d.Spec.RestartBackoff
	}
	p.notAfter(&m.NextCreate, max(createDelay(b, p.in.Name, m.CreateFailures), restartDelay(b, p.in.Name, "", m.Losses)))
	p.notAfter(&m.NextSuspend, createDelay(b, p.in.Name, m.SuspendFailures))
	for name, cm := range m.Containers {
		was := cm
		for _, t := range []*time.Time{&cm.StopAsked, &cm.SignalledAt, &cm.RestartAsked, &cm.GoferAsked} {
			p.notAfter(t, 0)
		}
		p.notAfter(&cm.NextStart, restartDelay(b, p.in.Name, name, cm.Attempts))
		if cm != was {
			p.setContainer(name, cm)
		}
	}
}

// notAfter has t be wait from now at most.
func (p *planner) notAfter(t *time.Time, wait time.Duration) {
	if most := p.now.Add(wait); t.After(most) {
		*t = most
	}
}

// predates reports whether what is dated began was there before something was
// asked for at asked; zero: nothing was. What began in the future did so before
// the clock was set back.
func (p *planner) predates(began, asked time.Time) bool {
	return !asked.IsZero() && (began.Before(asked) || began.After(p.now))
}
