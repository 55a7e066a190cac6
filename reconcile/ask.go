package reconcile

import (
	"time"

	"sandboxer/observed"
)

// Ask changes what is remembered of a sandbox before it is planned for next,
// and has that happen soon. That is how what somebody asks for once gets into
// the plan, and outlives the daemon. It never blocks.
func (l *Loop) Ask(name string, change func(Memory) Memory) {
	l.mu.Lock()
	l.key(name).asked = append(l.keys[name].asked, change)
	l.mu.Unlock()
	l.Poke(name)
}

// answer makes the changes that were asked for.
func (l *Loop) answer(k *key) {
	l.mu.Lock()
	asked := k.asked
	k.asked = nil
	l.mu.Unlock()
	for _, change := range asked {
		k.memory = change(k.memory)
	}
}

// Restart asks that containers be started anew that began before at: those
// that have ended run again, under every restart policy.
func Restart(containers []string, at time.Time) func(Memory) Memory {
	return func(m Memory) Memory {
		return askEach(m, containers, func(cm *ContainerMemory) { cm.RestartAsked = at })
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
func heed(c *observed.Container, cm ContainerMemory) ContainerMemory {
	up := c != nil && live(c)
	if !up && !cm.RestartAsked.IsZero() && cm.Live != "" {
		cm.Fresh, cm.Attempts, cm.NextStart = true, 0, time.Time{}
	}
	if !up || !c.StartedAt.Before(cm.RestartAsked) {
		cm.RestartAsked = time.Time{}
	}
	if !up || !c.GoferSince.Before(cm.GoferAsked) {
		cm.GoferAsked = time.Time{}
	}
	return cm
}
