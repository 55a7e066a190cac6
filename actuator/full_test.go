package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A state directory that is full keeps nothing new from being begun without a
// trace, and nothing from being ended.
func TestFullStateDirectory(t *testing.T) {
	state := t.TempDir()
	check(t, unix.Mount("full", state, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { check(t, unix.Unmount(state, unix.MNT_DETACH)) })
	r := newRigIn(t, state)
	d := plan.Declare(sandbox("full", app(t, "sleep")))
	other := plan.Declare(sandbox("other", app(t, "sleep")))
	r.run(d)
	sentry, server := r.record("full").Sentry, r.container("full", "app").Gofer

	ballast := fill(t, state)
	refused := func(verb plan.Verb, d *plan.Declared, container string) {
		t.Helper()
		if err := r.do(plan.Action{Verb: verb, Sandbox: d.Name, Container: container}, d); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s %s: %v, want no space left", verb, d.Name, err)
		}
	}
	refused(plan.Create, other, "")
	if _, exists, err := r.c.Cgroups.Procs(r.cgroupPath("other")); err != nil || exists {
		t.Errorf("a cgroup without a record: %v, %v", exists, err)
	}
	refused(plan.Pause, d, "")
	if got := r.record("full"); got.State != observed.SandboxUp || got.Sentry != sentry {
		t.Errorf("the record is now %+v", got)
	}
	refused(plan.Stop, d, "")
	for _, p := range []observed.Process{sentry, server} {
		if alive, err := p.Liveness(); err != nil || alive != observed.Gone {
			t.Errorf("process %d is %v, %v", p.PID, alive, err)
		}
	}
	check(t, os.Remove(ballast))
	r.must(plan.Stop, d, "")
	if got := r.container("full", "app"); got.Exit == nil || got.Exit.Signal != 9 {
		t.Errorf("the end is recorded as %+v", got.Exit)
	}
}

// fill takes all room that a file system has left, and returns what takes it.
func fill(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	check(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, page))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return ballast
}

// page is the least that a file of a tmpfs takes, in bytes.
const page = 4096

// A container that runs and can't be recorded as running would be known to
// nobody: it is ended again, its gofer too, and is tried later.
func TestStartThatCannotBeRecorded(t *testing.T) {
	state := t.TempDir()
	check(t, unix.Mount("full", state, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { check(t, unix.Unmount(state, unix.MNT_DETACH)) })
	r := newRigIn(t, state)
	c := app(t, "sleep")
	for i := range 40 { // which makes the record longer than a page
		c.VolumeMounts = append(c.VolumeMounts, desired.VolumeMount{Name: "v", MountPath: fmt.Sprintf("/v%d", i)})
	}
	s := sandbox("full", c)
	s.Spec.Volumes = []desired.Volume{{Name: "v", EmptyDir: &desired.EmptyDir{}}}
	d := plan.Declare(s)
	r.must(plan.Create, d, "")

	// There is room for the record of a container that is made, and not for the
	// one that says that it runs.
	ballast := fill(t, state)
	info, err := os.Stat(ballast)
	check(t, err)
	check(t, os.Truncate(ballast, info.Size()-2*page))
	if err := r.do(plan.Action{Verb: plan.Start, Sandbox: "full", Container: "app"}, d); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("started: %v, want no space left", err)
	}
	rec := r.container("full", "app")
	if rec.State != observed.Creating {
		t.Fatalf("the record says %s: it was not the second one that did not fit", rec.State)
	}
	sentry := gvisor.Sentry{Socket: r.record("full").ControlSocket, Timeout: callTimeout}
	if err := sentry.Signal(context.Background(), rec.ID, unix.Signal(0), false); !errors.Is(err, gvisor.ErrNoProcess) {
		t.Fatalf("a signal to the container: %v, want nobody to get it", err)
	}
	if len(r.gofers) > 0 || len(r.waiters) > 0 {
		t.Errorf("held are %d gofers' sockets, waited for are %d ends", len(r.gofers), len(r.waiters))
	}
	members, err := r.members(r.cgroupPath("full"))
	check(t, err)
	for _, p := range members {
		argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err != nil || !strings.HasPrefix(string(argv), gofer.Arg0) {
			continue // it has ended, or is the sentry's
		}
		ended := make(chan struct{})
		check(t, r.c.Watcher.Watch(p, func() { close(ended) }))
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("its gofer, process %d, is left", p.PID)
		}
	}

	check(t, os.Remove(ballast))
	r.must(plan.Start, d, "app")
	if rec := r.container("full", "app"); rec.State != observed.Running || rec.Attempt != 2 {
		t.Errorf("the next attempt is recorded as %+v", rec)
	}
}
