package reconcile

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
)

// TestLoopSettles disturbs many sandboxes at random, with and without events,
// and wants each as declared some time after the last disturbance.
func TestLoopSettles(t *testing.T) {
	for _, events := range []bool{true, false} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("events=%t/%d", events, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { settles(t, events, rand.New(rand.NewPCG(seed, 1))) })
			})
		}
	}
}

func settles(t *testing.T, events bool, r *rand.Rand) {
	h := newHarness(t, func(cfg *Config) { cfg.Log, cfg.ResyncOnly = logr.Discard(), !events })
	var calm bool
	var dice sync.Mutex // actions run side by side
	h.world.fails = func() bool {
		dice.Lock()
		defer dice.Unlock()
		return !calm && r.IntN(6) == 0
	}
	if !events {
		h.world.changed = func(string) {}
	}
	h.run()
	states := []desired.State{desired.Running, desired.Running, desired.Paused, desired.Suspended, desired.Stopped, desired.Created}
	names := []string{"a", "b", "c", "d"}
	for range 80 {
		dice.Lock()
		name, container := names[r.IntN(len(names))], []string{"app", "web"}[r.IntN(2)]
		event, s, args, pause := r.IntN(10), states[r.IntN(len(states))], fmt.Sprint(r.IntN(3)), r.IntN(3000)
		dice.Unlock()
		switch event {
		case 0, 1, 2:
			h.source.set(name, newDeclared(desiredtest.State(s), func(d *desired.Sandbox) { d.Name, d.Spec.Containers[0].Args = name, []string{args} }))
		case 3:
			h.source.set(name, nil)
		case 4, 5:
			h.world.exit(name, container, 1)
		case 6:
			h.world.crash(name)
		case 7:
			h.world.disturb(name, func(b *fakeBox) { b.silent = b.sentry })
		case 8:
			h.world.disturb(name, func(b *fakeBox) {
				if b.rec != nil {
					b.rec, b.broken = nil, "torn"
				}
			})
		case 9:
			h.world.disturb(name, func(b *fakeBox) { b.score = 77 })
		}
		if events {
			h.loop.Poke(name)
		}
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
	dice.Lock()
	calm = true
	dice.Unlock()
	time.Sleep(2 * time.Hour) // the longest back-off, and many resyncs
	synctest.Wait()
	for _, name := range names {
		h.reached(name)
		if d, _ := h.source.Declared(name); d != nil {
			if p := h.lastPass(name); len(p.Pending) > 0 {
				t.Errorf("%s: there is still %+v", name, p.Pending)
			}
		}
	}
}
