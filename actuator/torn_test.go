package actuator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/reconcile/plan"
)

// A record that was torn says no more which instance it was of. That one must
// be found all the same: the container would run twice.
func TestTornContainerRecord(t *testing.T) {
	for _, verb := range []plan.Verb{plan.Start, plan.Remove} {
		t.Run(string(verb), func(t *testing.T) {
			r := newRig(t)
			d := plan.Declare(sandbox("torn", app(t, "sleep")))
			r.run(d)
			r.must(plan.Start, d, "app") // the second instance
			old := r.container("torn", "app")
			file := filepath.Join(r.c.Records.Dir("torn"), "containers", "app.json")
			check(t, os.Truncate(file, 10))
			check(t, os.Truncate(filepath.Join(filepath.Dir(file), ".app.json.copy"), 10))
			r.restart()
			check(t, r.Adopt())

			r.must(verb, d, "app")
			sentry := gvisor.Sentry{Socket: r.record("torn").ControlSocket, Timeout: callTimeout}
			err := sentry.Signal(context.Background(), old.ID, unix.Signal(0), false)
			if !errors.Is(err, gvisor.ErrNoProcess) {
				t.Errorf("instance %s of the torn record: %v; want it gone", old.ID, err)
			}
			if verb == plan.Start {
				if now := r.container("torn", "app"); now.Attempt <= old.Attempt {
					t.Errorf("the new instance is %s, as another was before", now.ID)
				}
			}
			left, err := filepath.Glob(filepath.Join(r.c.Records.Dir("torn"), "io", old.ID+".*"))
			if err != nil || len(left) > 0 {
				t.Errorf("pipes of the old instance are left: %v %v", left, err)
			}
		})
	}
}
