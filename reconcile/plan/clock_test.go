package plan

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sandboxer/observed"
)

const year = 365 * 24 * time.Hour

// longest is the longest wait of what anySandbox declares: the default back-off,
// with its jitter.
const longest = defaultMax + defaultMax/10

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
		if got := at.SetSince(tt.earlier); got != tt.want {
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
	in.Memory = in.Memory.Moved(year)
	in.Now = t0.Add(year)
	c.State, c.Exit = observed.Stopped, &observed.Exit{Known: true, Code: 1, At: in.Now}
	if r := Decide(in); r.Memory.Containers["app"].Attempts != 5 || len(r.Actions) > 0 {
		t.Errorf("after %d ends in a row: %+v", r.Memory.Containers["app"].Attempts, r.Actions)
	}
}

// TestAskedOfWhatBeganInTheFuture asks for restarts after the clock was set
// back: what began in what is now the future began before.
func TestAskedOfWhatBeganInTheFuture(t *testing.T) {
	in := settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Memory = Restart([]string{"app"}, in.Now)(in.Memory)
	if r := Decide(in); len(r.Actions) != 1 || r.Actions[0].Verb != Signal || r.Actions[0].Container != "app" {
		t.Errorf("a restart of the container: %+v", r.Actions)
	}
	in = settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Observed.Containers[0].GoferSince = t0
	in.Memory = RestartGofers([]string{"app"}, in.Now)(in.Memory)
	if r := Decide(in); len(r.Actions) != 1 || r.Actions[0].Verb != ReplaceGofer {
		t.Errorf("another gofer: %+v", r.Actions)
	}
	in = settled(newDeclared())
	in.Now = createdAt.Add(-year)
	in.Memory = Renew(nil, in.Now)(in.Memory)
	if r := Decide(in); len(r.Actions) != 2 || r.Actions[0].Verb != Signal {
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
			r := Decide(in)
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
