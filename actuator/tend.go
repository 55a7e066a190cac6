package actuator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// tendEvery is how often gofers are looked at while they are tended.
const tendEvery = 50 * time.Millisecond

// tend replaces gofers that are dead, and those that die until the function
// that it returns is called. A sentry that writes a checkpoint asks them for
// things, and would wait for ever; and nobody else works on the sandbox
// meanwhile.
func (a *Actuator) tend(ctx context.Context, sentry gvisor.Sentry, w work) (stop func()) {
	a.replaceDead(ctx, sentry, w)
	ctx, cancel := context.WithCancel(ctx)
	var tending sync.WaitGroup
	tending.Go(func() {
		for {
			select {
			case <-time.After(tendEvery):
				a.replaceDead(ctx, sentry, w)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); tending.Wait() }
}

// replaceDead does so once. What fails is tried again the next time.
func (a *Actuator) replaceDead(ctx context.Context, sentry gvisor.Sentry, w work) {
	loaded, err := a.c.Records.Load(w.Sandbox)
	if err != nil {
		return
	}
	w.containers, w.servers = loaded.Containers, loaded.Servers
	for _, c := range slices.Concat(loaded.Containers, loaded.Servers) {
		alive, err := c.Gofer.Liveness()
		if err != nil || alive != observed.Gone || c.State != observed.Running {
			continue
		}
		// A gofer also ends with its container.
		if state, err := sentry.State(ctx, c.ID); !c.IsServer() && (err != nil || state != boot.RuntimeStateRunning) {
			continue
		}
		w.Container = c.Name
		err = a.replaceGofer(ctx, w)
		if errors.Is(err, plan.ErrGoferLost) {
			a.release(c.ID) // or the sentry waits for it for ever
		}
		if err != nil {
			a.c.Log.V(1).Info("replacing a gofer failed", "sandbox", w.Sandbox, "container", c.Name, "error", err.Error())
		}
	}
}
