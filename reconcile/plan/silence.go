package plan

import (
	"fmt"
	"slices"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

const (
	// silenceLimit is how long a sentry that could have answered may be silent
	// before it is taken for lost.
	silenceLimit = 30 * time.Second
	// enough is how much time on a processor an answer takes at the very most.
	enough = 2 * time.Second
)

// noteSilence dates the sentry's silence and says so while it lasts, and what
// keeps it from answering.
func (p *planner) noteSilence() {
	m := &p.mem
	if p.world != silent {
		m.UnresponsiveSince, m.HeldAt, m.Stall = time.Time{}, time.Time{}, observed.Stall{}
		return
	}
	if m.UnresponsiveSince.IsZero() {
		m.UnresponsiveSince, m.Stall = p.now, p.o.Stall
	}
	why := ""
	if held := p.held(); held != "" {
		m.HeldAt, m.Stall = p.now, p.o.Stall
		why = ": " + held
	}
	p.condition(RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer%s", why)
}

// held says what has kept a silent sentry from answering; "" where it could have.
// Of one that is well nothing more is known: it is not ended for that.
func (p *planner) held() string {
	s, was := p.o.Stall, p.mem.Stall
	over := p.now.Sub(latest(p.mem.UnresponsiveSince, p.mem.HeldAt))
	switch {
	case s.Stopped:
		return fmt.Sprintf("its process (%d) was stopped by a signal or is traced; let it go on (kill -CONT), or ask for a restart of the sandbox", p.o.Record.Sentry.PID)
	case s.Frozen:
		return "its cgroup is frozen; thaw it, or ask for a restart of the sandbox"
	case over >= silenceLimit && s.Ran-was.Ran < enough && s.Waited-was.Waited >= over/2:
		return fmt.Sprintf("it waits for a processor: of the last %s it had %s", over.Round(time.Second), (s.Ran - was.Ran).Round(time.Millisecond))
	}
	return ""
}

// keepSilent plans for a declared sandbox whose sentry is silent. What is to end
// in any case has its time whatever holds it up; what is to be stopped has no more
// than its grace period, as what is removed.
func (p *planner) keepSilent() {
	since, limit := latest(p.mem.UnresponsiveSince, p.mem.HeldAt), silenceLimit
	if p.want == desired.Stopped || p.outdated() || p.restartAsked() {
		since = p.mem.UnresponsiveSince
	}
	if p.want == desired.Stopped {
		limit = min(p.grace(), silenceLimit)
	}
	if !p.silentFor(since, limit) {
		p.serve()
		return
	}
	p.noteLoss()
	p.stop(fmt.Sprintf("the sandbox's sentry has not answered for %s", limit), "", observed.ReasonSandboxLost)
}

// restartAsked reports whether the sandbox, or a container that runs in it, is to be
// made anew because somebody asked for it.
func (p *planner) restartAsked() bool {
	return p.predates(p.o.Record.CreatedAt, p.mem.RestartAsked) || slices.ContainsFunc(p.o.Containers, func(c observed.Container) bool {
		return Live(&c) && p.predates(c.StartedAt, p.mem.Containers[c.Name].RestartAsked)
	})
}

// silentFor reports whether the sentry has been silent for so long, and else
// has the sandbox looked at when it will have been.
func (p *planner) silentFor(since time.Time, limit time.Duration) bool {
	deadline := since.Add(limit)
	if p.now.Before(deadline) {
		p.lookAt(deadline)
		return false
	}
	return true
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
