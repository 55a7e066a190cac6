package actuator

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
	"sandboxer/reconcile"
)

// A state directory that is full keeps nothing new from being begun without a
// trace, and nothing from being ended.
func TestFullStateDirectory(t *testing.T) {
	state := t.TempDir()
	check(t, unix.Mount("full", state, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { check(t, unix.Unmount(state, unix.MNT_DETACH)) })
	r := newRigIn(t, state)
	d := reconcile.Declare(sandbox("full", app(t, "sleep")))
	other := reconcile.Declare(sandbox("other", app(t, "sleep")))
	r.run(d)
	sentry, gofer := r.record("full").Sentry, r.container("full", "app").Gofer

	ballast := filepath.Join(state, "ballast")
	f, err := os.Create(ballast)
	check(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	refused := func(verb reconcile.Verb, d *reconcile.Declared, container string) {
		t.Helper()
		if err := r.do(reconcile.Action{Verb: verb, Sandbox: d.Name, Container: container}, d); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s %s: %v, want no space left", verb, d.Name, err)
		}
	}
	refused(reconcile.Create, other, "")
	if _, exists, err := r.c.Cgroups.Procs(r.cgroupPath("other")); err != nil || exists {
		t.Errorf("a cgroup without a record: %v, %v", exists, err)
	}
	refused(reconcile.Pause, d, "")
	if got := r.record("full"); got.State != observed.SandboxUp || got.Sentry != sentry {
		t.Errorf("the record is now %+v", got)
	}
	refused(reconcile.Stop, d, "")
	for _, p := range []observed.Process{sentry, gofer} {
		if alive, err := p.Liveness(); err != nil || alive != observed.Gone {
			t.Errorf("process %d is %v, %v", p.PID, alive, err)
		}
	}
	check(t, os.Remove(ballast))
	r.must(reconcile.Stop, d, "")
	if got := r.container("full", "app"); got.Exit == nil || got.Exit.Signal != 9 {
		t.Errorf("the end is recorded as %+v", got.Exit)
	}
}
