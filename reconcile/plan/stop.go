package plan

import (
	"cmp"
	"fmt"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// signalGrace is how long a container has after its stop signal at least, where
// what it did before has taken its time: the kubelet's figure.
const signalGrace = 2 * time.Second

// asked reports whether c is on its way to its end because that was asked for.
func (p *planner) asked(c *observed.Container) bool {
	cm := p.mem.Containers[c.Name]
	return cm.StopID == c.ID && !cm.StopAsked.IsZero()
}

// askAll is what asks every running container to end, and whether all have had
// their time.
func (p *planner) askAll(why, class string, deadline time.Time) (asking []step, over bool) {
	over = true
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		if !Live(c) {
			continue
		}
		s, late := step{}, !p.now.Before(deadline)
		if p.world == up && (p.asked(c) || !late) {
			s, late = p.ask(c, why, fmt.Sprintf("container %q", c.Name), class, p.grace(), deadline)
		}
		asking, over = append(asking, s), over && late
	}
	return asking, over
}

// ask is what asks a running container to end: first what it is to do before,
// then its stop signal. over: it has had its time, which ends at deadline but
// for what follows late on what it did before. whom is the container in words.
func (p *planner) ask(c *observed.Container, why, whom, class string, grace time.Duration, deadline time.Time) (s step, over bool) {
	cm, asked := p.mem.Containers[c.Name], p.asked(c)
	before := asked && cm.PreStopping == c.ID
	s = step{verb: Signal, name: c.Name, id: c.ID, class: class}
	switch {
	case !asked && p.preStop(c.Name) != nil, before && c.PreStop == observed.PreStopNone && p.preStop(c.Name) != nil && p.now.Before(deadline):
		s.verb, s.until = PreStop, deadline
		s.reason = fmt.Sprintf("%s; %s has %s to end, and begins with its preStop", why, whom, grace)
		return s, false
	case !asked:
		s.reason = fmt.Sprintf("%s; %s has %s to end", why, whom, grace)
		return s, false
	case before && c.PreStop == observed.PreStopRuns && p.now.Before(deadline):
		p.lookAt(deadline)
		return step{waits: true}, false
	case before:
		s.reason = fmt.Sprintf("%s; %s is past its preStop", why, whom)
		return s, false
	}
	if least := cm.SignalledAt.Add(signalGrace); !cm.SignalledAt.IsZero() && least.After(deadline) {
		deadline = least
	}
	if p.now.Before(deadline) {
		p.lookAt(deadline)
		return step{waits: true}, false
	}
	return step{}, true
}

// stopSignal is the signal that asks a container to end.
func (p *planner) stopSignal(name string) string {
	signal := p.mem.Containers[name].StopSignal
	if c, _ := p.d.Container(name); c != nil {
		signal = c.Lifecycle.StopSignal
	}
	return cmp.Or(signal, "SIGTERM")
}

// preStop is what a container is to do before that; nil: nothing.
func (p *planner) preStop(name string) *desired.PreStop {
	if c, _ := p.d.Container(name); c != nil {
		return c.Lifecycle.PreStop
	}
	return p.mem.Containers[name].PreStop
}
