package actuator

import (
	"errors"
	"testing"

	"sandboxer/observed"
)

// Every pair of states is tried; the ones that are listed here, as a user of
// the seed's table would write them, are the only ones allowed.
func TestSandboxTransitions(t *testing.T) {
	all := []observed.SandboxState{
		"", observed.SandboxCreating, observed.SandboxUp, observed.SandboxPausing, observed.SandboxPaused,
		observed.SandboxResuming, observed.SandboxSaving, observed.SandboxRestoring, observed.SandboxStopping, observed.SandboxStopped,
	}
	allowed := map[[2]observed.SandboxState]bool{
		{"", observed.SandboxCreating}:                        true,
		{observed.SandboxStopped, observed.SandboxCreating}:   true,
		{observed.SandboxCreating, observed.SandboxUp}:        true,
		{observed.SandboxUp, observed.SandboxPausing}:         true,
		{observed.SandboxPausing, observed.SandboxPausing}:    true, // again, after a crash
		{observed.SandboxResuming, observed.SandboxPausing}:   true, // changed its mind
		{observed.SandboxPausing, observed.SandboxPaused}:     true,
		{observed.SandboxPaused, observed.SandboxResuming}:    true,
		{observed.SandboxResuming, observed.SandboxResuming}:  true,
		{observed.SandboxPausing, observed.SandboxResuming}:   true,
		{observed.SandboxResuming, observed.SandboxUp}:        true,
		{observed.SandboxUp, observed.SandboxSaving}:          true,
		{observed.SandboxPausing, observed.SandboxSaving}:     true, // changed its mind
		{observed.SandboxResuming, observed.SandboxSaving}:    true,
		{observed.SandboxSaving, observed.SandboxSaving}:      true,
		{observed.SandboxSaving, observed.SandboxPaused}:      true,
		{observed.SandboxSaving, observed.SandboxPausing}:     true,
		{observed.SandboxSaving, observed.SandboxResuming}:    true,
		{observed.SandboxCreating, observed.SandboxRestoring}: true,
		{observed.SandboxRestoring, observed.SandboxUp}:       true,
		{observed.SandboxSaving, observed.SandboxStopping}:    true,
		{observed.SandboxRestoring, observed.SandboxStopping}: true,
		{observed.SandboxCreating, observed.SandboxStopping}:  true,
		{observed.SandboxUp, observed.SandboxStopping}:        true,
		{observed.SandboxPausing, observed.SandboxStopping}:   true,
		{observed.SandboxPaused, observed.SandboxStopping}:    true,
		{observed.SandboxResuming, observed.SandboxStopping}:  true,
		{observed.SandboxStopping, observed.SandboxStopping}:  true,
		{observed.SandboxStopped, observed.SandboxStopping}:   true,
		{observed.SandboxStopping, observed.SandboxStopped}:   true,
	}
	for _, from := range all {
		for _, to := range all {
			rec := observed.Record{Name: "s", State: from}
			err := moveSandbox(&rec, to)
			checkMove(t, string(from), string(to), allowed[[2]observed.SandboxState{from, to}], err, string(rec.State))
		}
	}
}

func TestContainerTransitions(t *testing.T) {
	all := []observed.ContainerState{
		"", observed.Creating, observed.Created, observed.Running, observed.Paused, observed.Stopped,
	}
	allowed := map[[2]observed.ContainerState]bool{
		{"", observed.Creating}:               true,
		{observed.Creating, observed.Running}: true,
		{observed.Running, observed.Running}:  true, // again, after a crash
		{observed.Creating, observed.Stopped}: true, // could not be started
		{observed.Running, observed.Stopped}:  true,
		{observed.Stopped, observed.Stopped}:  true,
	}
	for _, from := range all {
		for _, to := range all {
			rec := observed.ContainerRecord{ID: "s.c.1", State: from}
			err := moveContainer(&rec, to)
			checkMove(t, string(from), string(to), allowed[[2]observed.ContainerState{from, to}], err, string(rec.State))
		}
	}
}

func checkMove(t *testing.T, from, to string, allowed bool, err error, now string) {
	t.Helper()
	if allowed {
		if err != nil || now != to {
			t.Errorf("%q to %q: state %q, error %v; want it allowed", from, to, now, err)
		}
		return
	}
	var state *StateError
	if !errors.As(err, &state) || now != from {
		t.Errorf("%q to %q: state %q, error %v; want a StateError and the old state", from, to, now, err)
	}
}
