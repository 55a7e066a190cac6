package reconcile

import (
	"context"

	"sandboxer/reconcile/plan"
)

// Ask changes what is remembered of a sandbox before it is planned for next,
// has that happen soon, and returns once it is stored: that is how what
// somebody asks for once gets into the plan, and outlives the daemon.
func (l *Loop) Ask(ctx context.Context, name string, change func(plan.Memory) plan.Memory) error {
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
func (l *Loop) Tell(name string, change func(plan.Memory) plan.Memory) {
	l.mu.Lock()
	k := l.key(name)
	k.asked = append(k.asked, ask{change, make(chan struct{})})
	l.mu.Unlock()
	l.Poke(name)
}

// ask is one change that somebody asked for, and may wait for.
type ask struct {
	change func(plan.Memory) plan.Memory
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
