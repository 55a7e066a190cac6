package reconcile

import (
	"context"
	"time"

	"sandboxer/observed"
)

// Ask changes what is remembered of a sandbox before it is planned for next,
// has that happen soon, and returns once it is stored: that is how what
// somebody asks for once gets into the plan, and outlives the daemon.
func (l *Loop) Ask(ctx context.Context, name string, change func(Memory) Memory) error {
	stored := make(chan struct{})
	l.mu.Lock()
	k := l.key(name)
	k.asked = append(k.asked, ask{change, stored})
	l.mu.Unlock()
	l.Poke(name)
	select {
	case <-stored:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Tell is Ask for who does not wait until the change is stored.
func (l *Loop) Tell(name string, change func(Memory) Memory) {
	l.mu.Lock()
	k := l.key(name)
	k.asked = append(k.asked, ask{change, make(chan struct{})})
	l.mu.Unlock()
	l.Poke(name)
}

// ask is one change that somebody asked for, and may wait for.
type ask struct {
	change func(Memory) Memory
	stored chan<- struct{}
}

// answer makes the changes that were asked for.
func (l *Loop) answer(k *key) {
	l.mu.Lock()
	asked := k.asked
	k.asked = nil
	l.mu.Unlock()
	for _, a := range asked {
		k.memory = a.change(k.memory)
		k.answered = append(k.answered, a.stored)
	}
}

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
	up := c != nil && live(c)
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
