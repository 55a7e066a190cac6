package observed

import (
	"slices"
	"testing"
)

func TestState(t *testing.T) {
	exit := &Exit{Known: true, Code: 3, Reason: "Error"}
	lost := &Exit{Reason: "SandboxLost"}
	unknown := &Exit{Reason: "Error"}
	up := Sandbox{Record: &Record{State: SandboxUp}, Sentry: Alive}
	paused := Sandbox{Record: &Record{State: SandboxPaused}, Sentry: Alive}
	dead := Sandbox{Record: &Record{State: SandboxUp}, Sentry: Gone}
	deadPaused := Sandbox{Record: &Record{State: SandboxPaused}, Sentry: Gone}
	stopped := Sandbox{Record: &Record{State: SandboxStopped}}
	foreign := Sandbox{Record: &Record{State: SandboxUp}} // another runtime's: no sentry
	broken := Sandbox{Broken: "torn"}
	is := func(s ContainerState) probed { return probed{"id": s, "other": Stopped} }
	for _, tt := range []struct {
		name   string
		rec    ContainerState
		exit   *Exit
		sb     Sandbox
		answer probed
		want   ContainerState
		end    *Exit // Known and Reason count
	}{
		{"as recorded", Running, nil, up, is(Running), Running, nil},
		{"created", Created, nil, up, is(Created), Created, nil},
		{"another runtime", Running, nil, foreign, is(Running), Running, nil},
		{"ended and recorded", Stopped, exit, up, is(Stopped), Stopped, exit},
		{"ended, recorded, gone from the runtime", Stopped, exit, up, probed{}, Stopped, exit},
		{"ended and recorded, runtime late", Stopped, exit, up, is(Running), Stopped, exit},
		{"ended without an exit", Stopped, nil, up, is(Stopped), Stopped, nil},
		{"an exit is believed before a state", Running, exit, up, is(Running), Stopped, exit},
		{"half-made", Creating, nil, up, is(Running), Creating, nil},
		{"half-made in a dead sandbox", Creating, nil, dead, nil, Creating, nil},
		{"the waiter is about to write", Running, nil, up, is(Stopped), Running, nil},
		{"the waiter is about to write, paused", Running, nil, paused, is(Stopped), Paused, nil},
		{"started and ended before the record said so", Created, nil, up, is(Stopped), Running, nil},
		{"started before the record said so", Created, nil, up, is(Running), Running, nil},
		{"not started, though the record says so", Running, nil, up, is(Created), Created, nil},
		{"unknown to the runtime", Running, nil, up, probed{}, Stopped, unknown},
		{"unknown to the runtime, created", Created, nil, up, probed{"other": Running}, Stopped, unknown},
		{"paused", Running, nil, paused, is(Running), Paused, nil},
		{"paused, created", Created, nil, paused, is(Created), Created, nil},
		{"the runtime says paused", Running, nil, up, is(Paused), Paused, nil},
		{"recorded as paused and resumed", Paused, nil, up, is(Running), Running, nil},
		{"no answer", Running, nil, up, nil, Running, nil},
		{"no answer, paused", Running, nil, paused, nil, Paused, nil},
		{"no answer, created", Created, nil, up, nil, Created, nil},
		{"sentry gone", Running, nil, dead, nil, Stopped, lost},
		{"sentry gone, created", Created, nil, dead, nil, Stopped, lost},
		{"sentry gone, paused", Paused, nil, deadPaused, nil, Stopped, lost},
		{"sentry gone, exit recorded", Running, exit, dead, nil, Stopped, exit},
		{"sandbox stopped", Running, nil, stopped, nil, Stopped, lost},
		{"sandbox's record broken", Running, nil, broken, nil, Running, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, end := state(ContainerRecord{ID: "id", State: tt.rec, Exit: tt.exit}, tt.sb, tt.answer)
			if got != tt.want {
				t.Errorf("state is %s; want %s", got, tt.want)
			}
			if (end == nil) != (tt.end == nil) || end != nil && (end.Known != tt.end.Known || end.Reason != tt.end.Reason) {
				t.Errorf("exit is %+v; want %+v", end, tt.end)
			}
			if end != nil && !end.Known && (end.Message == "" || !end.At.IsZero()) {
				t.Errorf("an unknown exit must say why and not when: %+v", end)
			}
		})
	}
}

// No record and no answer may bring a container back whose end is recorded, or
// invent an exit that is known.
func TestStateOfEverything(t *testing.T) {
	states := []ContainerState{Creating, Created, Running, Paused, Stopped}
	sandboxes := []SandboxState{SandboxCreating, SandboxUp, SandboxPausing, SandboxPaused, SandboxResuming, SandboxStopping, SandboxStopped}
	answers := []probed{nil, {}}
	for _, s := range states[1:] {
		answers = append(answers, probed{"id": s})
	}
	for _, rec := range states {
		for _, sbState := range sandboxes {
			for _, sentry := range []Liveness{None, Alive, Gone} {
				for _, answer := range answers {
					for _, exit := range []*Exit{nil, {Known: true}} {
						got, end := state(ContainerRecord{ID: "id", State: rec, Exit: exit},
							Sandbox{Record: &Record{State: sbState}, Sentry: sentry}, answer)
						at := []any{rec, sbState, sentry, answer, exit}
						if !slices.Contains(states, got) {
							t.Errorf("%v: %q is no state", at, got)
						}
						if exit != nil && (end != exit || got != Stopped && rec != Creating) {
							t.Errorf("%v: %s, %+v forget the exit", at, got, end)
						}
						if exit == nil && end != nil && end.Known {
							t.Errorf("%v: an exit was invented", at)
						}
						if sentry == Gone && got != Stopped && got != Creating {
							t.Errorf("%v: %s without a sentry", at, got)
						}
					}
				}
			}
		}
	}
}

func TestParseStat(t *testing.T) {
	rest := " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for in, want := range map[string]stat{
		"12 (sleep) S" + rest:                   {'S', 1, 4711},
		"12 (a b) R" + rest:                     {'R', 1, 4711},
		"12 () Z) S 1 1 (evil) Z" + rest:        {'Z', 1, 4711},
		"12 (x\n) X" + rest:                     {'X', 1, 4711},
		"12 (cut) S 1 2 3 4 5 6 7 8 9 10 11":    {},
		"12 (no number) S" + rest[:40] + " x y": {},
		"12 sleep S" + rest:                     {},
		"":                                      {},
	} {
		got, err := parseStat([]byte(in))
		if (err == nil) != (want != stat{}) || got.start != want.start || err == nil && got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
	for state, ended := range map[byte]bool{'R': false, 'S': false, 'D': false, 'T': false, 't': false, 'I': false, 'Z': true, 'X': true, 'x': true} {
		if (stat{state: state}).ended() != ended {
			t.Errorf("state %c counts as ended=%v", state, !ended)
		}
	}
}
