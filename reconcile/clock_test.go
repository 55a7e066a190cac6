package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
)

const year = 365 * 24 * time.Hour

// TestLoopClockIsSet sets the clock while a container waits for its next start
// and another one has its grace period, in the daemon's life and between two
// daemons: both waits last as long as ever.
func TestLoopClockIsSet(t *testing.T) {
	for _, tt := range []struct {
		name    string
		by      time.Duration
		restart bool // of the daemon
		reboot  bool // nothing is known of what the clock did
	}{
		{name: "forward", by: year},
		{name: "back", by: -year},
		{name: "forward, with the daemon away", by: year, restart: true},
		{name: "back, with the daemon away", by: -year, restart: true},
		{name: "back, over a reboot", by: -year, restart: true, reboot: true},
		{name: "a moment back", by: -time.Second, restart: true},
		{name: "not at all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var by time.Duration
				boot, booted := "one", time.Now()
				now := func() time.Time { return time.Now().Add(by) }
				clocks := func(cfg *Config) {
					cfg.Now = now
					cfg.Awake = func() (time.Duration, string) { return time.Since(booted), boot }
				}
				h := newHarness(t, clocks)
				h.world.now = now
				h.run()
				h.declare("box", func(s *desired.Sandbox) {
					s.Spec.RestartBackoff = desired.RestartBackoff{Initial: desired.Duration(8 * time.Second), Max: desired.Duration(8 * time.Second)}
				})
				h.declare("stubborn", func(s *desired.Sandbox) { s.Spec.TerminationGracePeriodSeconds = new(int64(20)) })
				synctest.Wait()
				h.world.exit("box", "app", 1) // starts at once
				synctest.Wait()
				h.world.exit("box", "app", 1)
				h.world.set(func() { h.world.stubborn["app"] = true })
				h.declare("stubborn", func(s *desired.Sandbox) {
					s.Spec.TerminationGracePeriodSeconds, s.Spec.State = new(int64(20)), desired.Stopped
				})
				synctest.Wait()
				began, wait := time.Now(), time.Until(h.lastPass("box").Memory.Containers["app"].NextStart)
				time.Sleep(2 * time.Second)

				if tt.restart {
					h.ended()
				}
				by = tt.by
				if tt.reboot {
					boot = "two"
				}
				if tt.restart {
					next := newHarness(t, func(cfg *Config) {
						clocks(cfg)
						cfg.Looker, cfg.Actor, cfg.Lister, cfg.Store, cfg.Source = h.world, h.world, h.world, h.store, h.source
					})
					h.world.changed = next.loop.Poke
					next.run()
				} else {
					h.loop.Poke("box")
					h.loop.Poke("stubborn")
				}
				elapse := func(until time.Duration) {
					time.Sleep(time.Until(began.Add(until)))
					synctest.Wait()
				}
				late := time.Duration(0)
				if tt.reboot {
					late = 2 * time.Second // the wait begins anew
				}
				elapse(wait - time.Millisecond)
				if h.world.alive("box", "app") {
					t.Errorf("started again before %s of back-off were over", wait)
				}
				elapse(wait + late + time.Millisecond)
				if !h.world.alive("box", "app") {
					t.Errorf("not started again after %s of back-off", wait)
				}
				elapse(20*time.Second - time.Millisecond)
				if !h.world.alive("stubborn", "app") {
					t.Error("killed before its grace period was over")
				}
				elapse(20*time.Second + late + time.Second)
				if h.world.alive("stubborn", "app") {
					t.Error("not killed after its grace period")
				}
			})
		})
	}
}
