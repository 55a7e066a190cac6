package plan

import (
	"time"

	"sandboxer/observed"
)

// Restart asks that containers be started anew that began before at: those
// that have ended run again, under every restart policy.
func Restart(containers []string, at time.Time) func(Memory) Memory {
	return func(m Memory) Memory {
		return askEach(m, containers, func(cm *ContainerMemory) { cm.RestartAsked = at })
	}
}

// Renew asks for a new sandbox in place of one that was created before at, so
// that its init containers run again; containers, none of which is one of
// these, run again as well where they have ended, under every restart policy.
func Renew(containers []string, at time.Time) func(Memory) Memory {
	return func(m Memory) Memory {
		m.RestartAsked = at
		return Restart(containers, at)(m)
	}
}

// RestartGofers asks that the gofers of containers be replaced that began
// before at.
func RestartGofers(containers []string, at time.Time) func(Memory) Memory {
	return func(m Memory) Memory {
		return askEach(m, containers, func(cm *ContainerMemory) { cm.GoferAsked = at })
	}
}

func askEach(m Memory, containers []string, ask func(*ContainerMemory)) Memory {
	p := planner{mem: m}
	for _, name := range containers {
		cm := p.mem.Containers[name]
		ask(&cm)
		p.setContainer(name, cm)
	}
	return p.mem
}

// heed brings what was asked for up to date: what is done is forgotten, and a
// container that has ended is to run again.
func (p *planner) heed(c *observed.Container, cm ContainerMemory) ContainerMemory {
	up := c != nil && Live(c)
	if !up && !cm.RestartAsked.IsZero() && cm.Live != "" {
		cm.Fresh, cm.Attempts, cm.NextStart = true, 0, time.Time{}
	}
	if !up || !p.predates(c.StartedAt, cm.RestartAsked) {
		cm.RestartAsked = time.Time{}
	}
	if !up || !p.predates(c.GoferSince, cm.GoferAsked) {
		cm.GoferAsked = time.Time{}
	}
	return cm
}
