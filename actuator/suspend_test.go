package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A suspended sandbox leaves nothing but its checkpoint, and comes back from
// that as it was: memory, files, connections, what had ended, and every line
// of its output; over a new daemon, over a reboot, again and again.
func TestSuspend(t *testing.T) {
	r := newRig(t)
	d, _ := witnesses(r, "bear")
	before := map[string]observed.ContainerRecord{}
	for _, name := range []string{"app", "second", "early"} {
		before[name] = r.container("bear", name)
	}
	for round, between := range []func(){
		func() {},
		func() { r.restart(); check(t, r.Adopt()) },
		func() {
			r.detach()
			check(t, os.RemoveAll(filepath.Join(r.state, "sandboxes")))
			r.Actuator = r.attach(r.c)
		},
	} {
		sentry := r.record("bear").Sentry
		r.must(plan.Suspend, d, "")
		if got := r.record("bear").State; got != observed.SandboxPaused {
			t.Errorf("round %d: the record says %s", round, got)
		}
		r.must(plan.Stop, d, "")
		r.gone(d, sentry)
		if loaded, err := r.c.Records.Load("bear"); err != nil || len(loaded.Containers) > 0 {
			t.Errorf("round %d: records are left: %+v, %v", round, loaded.Containers, err)
		}
		n, m := r.steps("bear", "app"), r.steps("bear", "second")
		between()
		r.must(plan.Restore, d, "")
		r.stepsOn("bear", "app", n)
		r.stepsOn("bear", "second", m)
		if rec := r.record("bear"); rec.State != observed.SandboxUp || !rec.Restored || rec.SandboxHash != d.SandboxHash || rec.LimitsHash != d.LimitsHash {
			t.Errorf("round %d: the record is %+v", round, rec)
		}
		if image, err := r.c.Checkpoints.Read("bear"); err != nil || image != nil {
			t.Errorf("round %d: the checkpoint is left: %v", round, err)
		}
		for name, was := range before {
			is := r.container("bear", name)
			if is.ID != was.ID || is.Hash != was.Hash || !is.StartedAt.Equal(was.StartedAt) || is.State != was.State ||
				(is.Exit == nil) != (was.Exit == nil) || is.Exit != nil && is.Exit.Code != was.Exit.Code {
				t.Errorf("round %d: %s is %+v, was %+v", round, name, is, was)
			}
		}
	}

	// It is like any other: a gofer's death costs it nothing, and its end is
	// known.
	gofer := r.container("bear", "app").Gofer
	check(t, gofer.Signal(unix.SIGKILL))
	r.awaitPoke("bear", func() bool { alive, err := gofer.Liveness(); return err == nil && alive == observed.Gone })
	check(t, r.do(plan.Action{Verb: plan.ReplaceGofer, Sandbox: "bear", Container: "app", Replaced: gofer}, d))
	r.stepsOn("bear", "app", r.steps("bear", "app"))
	if n := r.container("bear", "app").GoferRestarts; n != 1 {
		t.Errorf("%d gofers replaced", n)
	}
	r.must(plan.Kill, d, "second")
	if rec := r.awaitEnded(); rec.ID != "bear.second.2" || rec.Exit.Signal != 9 {
		t.Errorf("ended: %+v, %+v", rec, rec.Exit)
	}
	r.must(plan.Start, d, "early")
	if rec := r.awaitEnded(); rec.ID != "bear.early.2" || rec.Exit.Code != 4 {
		t.Errorf("ended: %+v, %+v", rec, rec.Exit)
	}
}

// What a container has written is read before the checkpoint is written: what
// is left in a pipe would come back to the container as its input.
func TestSuspendWhileWriting(t *testing.T) {
	const lines = 2000
	r := newRig(t)
	a := app(t, "await", "/volume/go", "then", "flood", strconv.Itoa(lines), "then", "write", "/volume/done", "then", "sleep")
	a.VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: "/volume"}}
	s := sandbox("loud", a)
	volume := t.TempDir()
	s.Spec.Volumes = []desired.Volume{{Name: "v", HostPath: &desired.HostPath{Path: volume}}}
	d := plan.Declare(s)
	r.run(d)
	r.detach() // nobody reads
	check(t, os.WriteFile(filepath.Join(volume, "go"), nil, 0o600))
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(volume, "done")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the container is not done")
		}
	}
	r.Actuator = r.attach(r.c)
	suspended := make(chan error, 1)
	go func() { suspended <- r.do(plan.Action{Verb: plan.Suspend, Sandbox: "loud"}, d) }()
	select {
	case err := <-suspended:
		t.Fatalf("written while the pipes were full: %v", err)
	case <-time.After(time.Second):
	}
	check(t, r.Adopt()) // now somebody does
	check(t, <-suspended)
	rec := r.container("loud", "app")
	r.must(plan.Stop, d, "")
	if out := r.output(rec); !strings.HasSuffix(out, fmt.Sprintf("line %d\n", lines)) {
		t.Errorf("the output ends with %q", out[max(0, len(out)-20):])
	}
}

// What was frozen stays so while it is written, also after a failure, and
// comes back.
func TestSuspendPaused(t *testing.T) {
	r := newRig(t)
	d, _ := witnesses(r, "frog")
	r.must(plan.Pause, d, "")
	n := r.steps("frog", "app")
	check(t, os.WriteFile(r.c.Checkpoints.Dir, nil, 0o600)) // nowhere to write to
	if err := r.do(plan.Action{Verb: plan.Suspend, Sandbox: "frog"}, d); err == nil {
		t.Fatal("suspended into a file")
	}
	if got := r.record("frog").State; got != observed.SandboxPaused || r.steps("frog", "app") != n {
		t.Errorf("the record says %s; step %d, was %d", got, r.steps("frog", "app"), n)
	}
	check(t, os.Remove(r.c.Checkpoints.Dir))
	r.must(plan.Suspend, d, "")
	r.must(plan.Stop, d, "")
	r.must(plan.Restore, d, "")
	r.stepsOn("frog", "app", n)
}

// A checkpoint that can't be written leaves the sandbox running, and nothing
// on disk, and says why in a user's words.
func TestSuspendFails(t *testing.T) {
	r := newRig(t)
	d, _ := witnesses(r, "full")
	fails := func(want string) {
		t.Helper()
		n := r.steps("full", "app")
		err := r.do(plan.Action{Verb: plan.Suspend, Sandbox: "full"}, d)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "goroutine") || len(err.Error()) > 300 {
			t.Errorf("suspended: %v, want %q", err, want)
		}
		if got := r.record("full").State; got != observed.SandboxUp {
			t.Errorf("%s: the record says %s", want, got)
		}
		if names, err := r.c.Checkpoints.Names(); err != nil || len(names) > 0 {
			t.Errorf("%s: left %v, %v", want, names, err)
		}
		r.stepsOn("full", "app", n)
	}

	check(t, os.MkdirAll(r.c.Checkpoints.Dir, 0o700))
	for _, size := range []string{"100k", "1m"} { // fails in the kernel's state, and in the memory
		check(t, unix.Mount("small", r.c.Checkpoints.Dir, "tmpfs", 0, "size="+size))
		t.Cleanup(func() { _ = unix.Unmount(r.c.Checkpoints.Dir, unix.MNT_DETACH) })
		fails("no space left on device")
		check(t, unix.Unmount(r.c.Checkpoints.Dir, unix.MNT_DETACH))
	}

	r.execute("full", "app", "/workload", "sleep")
	fails(`a session of exec runs "workload" in container "app"`)

	r.must(plan.Start, d, "app") // ends the session too
	other := plan.Declare(sandbox("full"))
	if err := r.do(plan.Action{Verb: plan.Suspend, Sandbox: "full"}, other); err == nil || !strings.Contains(err.Error(), "as it is declared") {
		t.Errorf("suspended under another declaration: %v", err)
	}
}

// A container that is frozen on its way to the end would make a checkpoint that
// can't be restored: it is given the moment that it needs.
func TestSuspendWhileEnding(t *testing.T) {
	r := newRig(t)
	d, _ := witnesses(r, "ending")
	sentry := gvisor.Sentry{Socket: r.record("ending").ControlSocket, Timeout: callTimeout}
	for try := 0; !r.frozenWhileEnding(d, sentry); try++ {
		if try == 100 {
			t.Fatal("no container was ever frozen on its way to the end")
		}
	}
	r.must(plan.Suspend, d, "")
	if rec := r.awaitEnded(); rec.Name != "early" || rec.Exit.Code != 4 {
		t.Errorf("ended: %+v, %+v", rec, rec.Exit)
	}
	r.must(plan.Stop, d, "")
	n := r.steps("ending", "app")
	r.must(plan.Restore, d, "")
	r.stepsOn("ending", "app", n)
}

// frozenWhileEnding starts a container that ends, and freezes the sandbox again
// and again until it has, or is about to.
func (r *rig) frozenWhileEnding(d *plan.Declared, sentry gvisor.Sentry) bool {
	r.t.Helper()
	r.must(plan.Start, d, "early")
	id := r.container(d.Name, "early").ID
	// A container's end takes its gofer along, and that gives up a call, which
	// the sentry may carry out later.
	insist := func(verb plan.Verb) {
		err := errGoferDied
		for end := time.Now().Add(patience); time.Now().Before(end) && (errors.Is(err, errGoferDied) || errors.Is(err, gvisor.ErrNoAnswer)); {
			err = r.do(plan.Action{Verb: verb, Sandbox: d.Name}, d)
		}
		check(r.t, err)
	}
	for ctx := context.Background(); ; {
		insist(plan.Pause)
		state, err := sentry.State(ctx, id)
		check(r.t, err)
		if state == boot.RuntimeStateStopped {
			said, cancel := context.WithTimeout(ctx, saidTime)
			_, err := sentry.Wait(said, id)
			cancel()
			if err != nil {
				return true
			}
		}
		insist(plan.Resume)
		if state == boot.RuntimeStateStopped {
			r.awaitEnded()
			return false
		}
	}
}

// Gofers that die while a checkpoint is written, or are dead when it begins,
// are replaced: the sentry needs them, and would wait for ever.
func TestSuspendWithoutGofers(t *testing.T) {
	r := newRig(t)
	d, _ := witnesses(r, "lone")
	kill := func() {
		for _, name := range []string{"app", "second"} {
			if err := r.container("lone", name).Gofer.Signal(unix.SIGKILL); err != nil && !errors.Is(err, observed.ErrGone) {
				t.Error(err)
			}
		}
	}
	kill()
	r.must(plan.Suspend, d, "")
	check(t, r.c.Checkpoints.Remove("lone"))
	r.must(plan.Resume, d, "")
	for i := range 8 {
		timer := time.AfterFunc(time.Duration(i)*15*time.Millisecond, kill)
		if err := r.Checkpoint(context.Background(), "lone", filepath.Join(t.TempDir(), "image"), d); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		timer.Stop()
		r.stepsOn("lone", "app", r.steps("lone", "app"))
	}
	replaced := r.container("lone", "app").GoferRestarts
	if replaced < 2 {
		t.Errorf("%d gofers replaced", replaced)
	}
	r.must(plan.Suspend, d, "")
	kill()
	r.must(plan.Stop, d, "")
	n := r.steps("lone", "app")
	r.must(plan.Restore, d, "")
	r.stepsOn("lone", "app", n)
	if now := r.container("lone", "app").GoferRestarts; now < replaced {
		t.Errorf("%d gofers replaced, %d before", now, replaced)
	}
}
