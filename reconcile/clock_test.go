package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sandboxer/desired"
	"sandboxer/observed"
)

const year = 365 * 24 * time.Hour

// longest is the longest wait of what anySandbox declares: the default back-off,
// with its jitter.
const longest = defaultMax + defaultMax/10

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
				began, wait := time.Now(), restartDelay(h.lastPass("box").Declared.Spec.RestartBackoff, "box", "app", 2)
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

// TestClockSetSince is what is known of a clock that was set.
func TestClockSetSince(t *testing.T) {
	at := Clock{Wall: t0, Awake: time.Hour, Boot: "one"}
	for _, tt := range []struct {
		name    string
		earlier Clock
		want    time.Duration
	}{
		{"nothing known", Clock{}, 0},
		{"time has passed", Clock{Wall: t0.Add(-time.Minute), Awake: time.Hour - time.Minute, Boot: "one"}, 0},
		{"set forward", Clock{Wall: t0.Add(-year), Awake: time.Hour, Boot: "one"}, year},
		{"set back", Clock{Wall: t0.Add(year), Awake: time.Hour - time.Minute, Boot: "one"}, -year - time.Minute},
		{"the host was suspended", Clock{Wall: t0.Add(-time.Hour), Awake: time.Hour, Boot: "one"}, time.Hour},
		{"slewed", Clock{Wall: t0.Add(-time.Minute), Awake: time.Hour - time.Minute - clockStep/2, Boot: "one"}, 0},
		{"another boot", Clock{Wall: t0.Add(-year), Awake: time.Hour, Boot: "two"}, 0},
	} {
		if got := at.setSince(tt.earlier); got != tt.want {
			t.Errorf("%s: %s, expected %s", tt.name, got, tt.want)
		}
	}
}

// TestRunOverASetClock has a container run for a moment while the clock goes on
// by a year: that forgives nothing.
func TestRunOverASetClock(t *testing.T) {
	in := settled(newDeclared())
	c := &in.Observed.Containers[0]
	c.StartedAt = t0.Add(-time.Second)
	recall(&in.Memory, "app", func(m *ContainerMemory) { m.Attempts, m.LiveAt = 4, c.StartedAt })
	in.Memory = in.Memory.moved(year)
	in.Now = t0.Add(year)
	c.State, c.Exit = observed.Stopped, &observed.Exit{Known: true, Code: 1, At: in.Now}
	if r := Plan(in); r.Memory.Containers["app"].Attempts != 5 || len(r.Actions) > 0 {
		t.Errorf("after %d ends in a row: %+v", r.Memory.Containers["app"].Attempts, r.Actions)
	}
}

// TestAskedOfWhatBeganInTheFuture asks for restarts after the clock was set
// back: what began in what is now the future began before.
func TestAskedOfWhatBeganInTheFuture(t *testing.T) {
	in := settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Memory = Restart([]string{"app"}, in.Now)(in.Memory)
	if r := Plan(in); len(r.Actions) != 1 || r.Actions[0].Verb != Signal || r.Actions[0].Container != "app" {
		t.Errorf("a restart of the container: %+v", r.Actions)
	}
	in = settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Observed.Containers[0].GoferSince = t0
	in.Memory = RestartGofers([]string{"app"}, in.Now)(in.Memory)
	if r := Plan(in); len(r.Actions) != 1 || r.Actions[0].Verb != ReplaceGofer {
		t.Errorf("another gofer: %+v", r.Actions)
	}
	in = settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Memory = Renew(nil, in.Now)(in.Memory)
	if r := Plan(in); len(r.Actions) != 2 || r.Actions[0].Verb != Signal {
		t.Errorf("a new sandbox: %+v", r.Actions)
	}
}

// TestWaitsAreBounded plans with any memory at any time: nothing waits longer
// than it may.
func TestWaitsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		in.Now = in.Now.Add(time.Duration(rapid.Int64Range(int64(-30*year), int64(30*year)).Draw(t, "the clock is set by")))
		for i := range in.Observed.Containers {
			c := &in.Observed.Containers[i]
			c.GoferSince, c.GoferFailures = anyTime(t, "gofer since"), rapid.IntRange(0, 5).Draw(t, "gofers died")
		}
		for range 3 {
			r := Plan(in)
			if r.Again.After(in.Now.Add(longest)) {
				t.Fatalf("at %s, waits until %s", in.Now, r.Again)
			}
			if len(r.Actions) > 0 || r.Again.IsZero() {
				return
			}
			in.Memory, in.Now = r.Memory, r.Again
		}
	})
}
