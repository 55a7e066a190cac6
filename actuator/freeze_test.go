package actuator

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// A daemon that was killed while it froze or thawed a sandbox left a record
// that says so, and nobody knows how far it came. Whatever it was, the next one
// reaches what is declared, and the sandbox lives: one resume too many ends it.
func TestFreezeAfterCrash(t *testing.T) {
	r := newRig(t)
	d := reconcile.Declare(sandbox("frozen", app(t, "sleep")))
	r.run(d)
	sentry := gvisor.Sentry{Socket: r.record("frozen").ControlSocket, Timeout: callTimeout}
	ctx := context.Background()
	is := func(want bool) {
		t.Helper()
		if got, err := sentry.Paused(ctx, "frozen"); err != nil || got != want {
			t.Fatalf("paused: %v, %v, want %v", got, err, want)
		}
	}
	is(false)
	paused := false
	for _, left := range []observed.SandboxState{observed.SandboxPausing, observed.SandboxResuming} {
		for _, really := range []bool{false, true} {
			for _, verb := range []reconcile.Verb{reconcile.Pause, reconcile.Resume} {
				if really != paused {
					set := sentry.Resume
					if really {
						set = sentry.Pause
					}
					check(t, set(ctx))
				}
				rec := r.record("frozen")
				rec.State = left
				check(t, r.c.Records.Save(rec))

				r.must(verb, d, "")
				paused = verb == reconcile.Pause
				what := fmt.Sprintf("left %s, paused %v, then %s", left, really, verb)
				want := observed.SandboxUp
				if paused {
					want = observed.SandboxPaused
				}
				if got := r.record("frozen").State; got != want {
					t.Errorf("%s: the record says %s", what, got)
				}
				if !paused || !really { // to find one paused takes the probe's time
					is(paused)
				}
			}
		}
	}
	if paused {
		r.must(reconcile.Resume, d, "")
	}
	r.must(reconcile.Kill, d, "app") // it is alive and well
	r.awaitEnded()
}

// The record says beforehand what is going to be done, so where that can't be
// written it is not done.
func TestFreezeNeedsARecord(t *testing.T) {
	r := newRig(t)
	d := reconcile.Declare(sandbox("full", app(t, "sleep")))
	r.run(d)
	rec := r.record("full")
	w, err := r.load(reconcile.Action{Verb: reconcile.Pause, Sandbox: "full", Sentry: rec.Sentry})
	check(t, err)
	w.rec.Name = "../full" // a name that nothing can be stored under
	if err := r.pause(context.Background(), w); err == nil || !strings.Contains(err.Error(), "name") {
		t.Fatalf("paused without a record: %v", err)
	}
	sentry := gvisor.Sentry{Socket: rec.ControlSocket, Timeout: callTimeout}
	if paused, err := sentry.Paused(context.Background(), "full"); err != nil || paused {
		t.Errorf("paused: %v, %v", paused, err)
	}
}
