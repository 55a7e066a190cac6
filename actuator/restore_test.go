package actuator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/checkpoint"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A sandbox that can't be restored leaves nothing but its checkpoint, which is
// as good as before.
func TestRestoreFails(t *testing.T) {
	r := newRig(t)
	d, volume := witnesses(r, "lost")
	sentry := r.record("lost").Sentry
	r.must(plan.Suspend, d, "")
	r.must(plan.Stop, d, "")
	n := r.steps("lost", "app")
	fails := func(d *plan.Declared, want string) {
		t.Helper()
		err := r.do(plan.Action{Verb: plan.Restore, Sandbox: "lost"}, d)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("restored: %v, want %q", err, want)
		}
		r.gone(d, sentry)
		if rec := r.record("lost"); rec.State != observed.SandboxStopped {
			t.Errorf("%s: the record says %s", want, rec.State)
		}
		if loaded, err := r.c.Records.Load("lost"); err != nil || len(loaded.Containers) > 0 {
			t.Errorf("%s: records are left: %+v, %v", want, loaded.Containers, err)
		}
	}
	shared := filepath.Join(volume, "shared")
	check(t, os.Rename(shared, shared+".away"))
	fails(d, fmt.Sprintf(`has the file "shared" of volume "v" (%s on the host) open, and that is not there`, shared))
	fails(d, "or declare Stopped to discard the checkpoint")
	check(t, os.Rename(shared+".away", shared))

	changed := *d.Sandbox
	changed.Spec.Containers = append([]desired.Container{}, d.Spec.Containers...)
	changed.Spec.Containers[0].Command = []string{"/workload", "sleep"}
	fails(plan.Declare(&changed), "in spec.containers[app].command")

	store := r.c.Checkpoints
	r.c.Checkpoints.Runtime = "newer"
	err := r.do(plan.Action{Verb: plan.Restore, Sandbox: "lost"}, d)
	if err == nil || !strings.Contains(err.Error(), "it was written by test, and this build has newer") {
		t.Errorf("restored what another version wrote: %v", err)
	}
	r.c.Checkpoints = store

	r.must(plan.Restore, d, "")
	r.stepsOn("lost", "app", n)
}

// A volume that was in memory and has gone with it is missed before anything
// is tried.
func TestRestoreWithoutMemory(t *testing.T) {
	r := newRig(t)
	a := app(t, "witness", "/scratch/file")
	a.VolumeMounts = []desired.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
	s := sandbox("rebooted", a)
	s.Spec.Volumes = []desired.Volume{{Name: "scratch", EmptyDir: &desired.EmptyDir{SizeLimit: quantity("1Mi")}}}
	d := plan.Declare(s)
	r.run(d)
	r.stepsOn("rebooted", "app", 0)
	r.must(plan.Suspend, d, "")
	r.must(plan.Stop, d, "")
	n := r.steps("rebooted", "app")
	r.must(plan.Restore, d, "") // it is kept, as in Stopped
	r.stepsOn("rebooted", "app", n)
	r.must(plan.Suspend, d, "")
	r.must(plan.Stop, d, "")
	check(t, unix.Unmount(filepath.Join(r.volumesDir("rebooted"), "scratch"), 0))
	err := r.do(plan.Action{Verb: plan.Restore, Sandbox: "rebooted"}, d)
	if err == nil || !strings.Contains(err.Error(), `volume "scratch" was in memory`) {
		t.Errorf("restored: %v", err)
	}
}

// A daemon that is killed while it restores leaves a sandbox that the next one
// finishes where it runs already, whatever it has done since, and begins anew
// where it does not.
func TestRestoreAfterCrash(t *testing.T) {
	r := newRig(t)
	d, volume := witnesses(r, "half")
	r.must(plan.Suspend, d, "")
	copyOf, volumeThen := filepath.Join(r.data, "copy"), filepath.Join(r.data, "volume")
	r.must(plan.Stop, d, "")
	check(t, os.CopyFS(volumeThen, os.DirFS(volume)))
	check(t, os.CopyFS(copyOf, os.DirFS(r.c.Checkpoints.Path("half"))))
	r.must(plan.Restore, d, "")
	n := r.stepsOn("half", "app", r.steps("half", "app"))

	// It ran, and nothing was recorded of that.
	crashed := func() {
		t.Helper()
		r.detach()
		rec := r.record("half")
		rec.State, rec.Restored = observed.SandboxRestoring, false
		check(t, r.c.Records.Save(rec))
		for _, name := range []string{"app", "second"} {
			c := r.container("half", name)
			c.State = observed.Creating
			check(t, r.c.Records.SaveContainer(c))
		}
		check(t, r.c.Records.DeleteContainer("half", "early"))
		r.Actuator = r.attach(r.c)
		check(t, r.Adopt())
	}
	sentry := r.record("half").Sentry
	crashed()
	check(t, os.CopyFS(r.c.Checkpoints.Path("half"), os.DirFS(copyOf)))
	r.must(plan.Restore, d, "")
	r.stepsOn("half", "app", n)
	if rec := r.record("half"); rec.Sentry != sentry || rec.State != observed.SandboxUp || !rec.Restored {
		t.Errorf("the record is %+v", rec)
	}
	if c := r.container("half", "early"); c.Exit == nil || c.Exit.Code != 4 {
		t.Errorf("what had ended is %+v", c)
	}
	if image, err := r.c.Checkpoints.Read("half"); err != nil || image != nil {
		t.Errorf("a checkpoint that is stale is left: %v", err)
	}
	r.must(plan.Kill, d, "second")
	if rec := r.awaitEnded(); rec.ID != "half.second.2" {
		t.Errorf("ended: %+v", rec)
	}

	// The sentry is there, and waits for containers that nobody gives it.
	r.must(plan.Stop, d, "")
	check(t, os.CopyFS(r.c.Checkpoints.Path("half"), os.DirFS(copyOf)))
	// The files are as they were then: what lost count there would end at once, and its
	// gofer with it, perhaps before the sentry has said that all was restored.
	for _, name := range []string{"shared", "other"} {
		b, err := os.ReadFile(filepath.Join(volumeThen, name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(volume, name), b, 0o644))
	}
	r.launch(d)
	sentry = r.record("half").Sentry
	r.must(plan.Restore, d, "") // ends it
	r.gone(d, sentry)
	r.must(plan.Restore, d, "")
	if rec := r.record("half"); rec.State != observed.SandboxUp || !rec.Restored || rec.Sentry == sentry {
		t.Errorf("the record is %+v", rec)
	}
}

// launch makes a sentry that waits for the containers of the sandbox's
// checkpoint, and leaves it at that.
func (r *rig) launch(d *plan.Declared) {
	r.t.Helper()
	rec := r.record(d.Name)
	cg, err := r.c.Cgroups.Create(rec.Cgroup, cgroup.Limits{})
	check(r.t, err)
	image, err := os.Open(r.c.Checkpoints.Path(d.Name))
	check(r.t, err)
	defer image.Close()
	made, err := gvisor.CreateSandbox(context.Background(), gvisor.Create{
		ID: d.Name, Hostname: d.Spec.Hostname, Dir: r.c.Records.Dir(d.Name),
		Exe: r.c.Exe, Image: r.c.Image, Cgroup: cg, Checkpoint: image,
	})
	check(r.t, err)
	rec.Sentry, rec.ControlSocket, rec.State = made.Sentry, made.ControlSocket, observed.SandboxRestoring
	check(r.t, r.c.Records.Save(rec))
}

// The checkpoint is for the sandbox to come back once: what is discarded has
// ended, and nobody knows how.
func TestDiscard(t *testing.T) {
	for _, records := range []bool{true, false} {
		r := newRig(t)
		d, _ := witnesses(r, "over")
		r.must(plan.Suspend, d, "")
		r.must(plan.Stop, d, "")
		if !records {
			check(t, os.RemoveAll(r.c.Records.Dir("over")))
		}
		r.must(plan.Discard, d, "")
		if rec := r.record("over"); rec.State != observed.SandboxStopped {
			t.Errorf("the record says %s", rec.State)
		}
		for name, want := range map[string]string{"app": "Discarded", "second": "Discarded", "early": "Error"} {
			if c := r.container("over", name); c.State != observed.Stopped || c.Exit.Reason != want || c.Exit.Known != (name == "early") {
				t.Errorf("%s is %+v, %+v", name, c, c.Exit)
			}
		}
		if entries, err := os.ReadDir(r.c.Checkpoints.Dir); err != nil || len(entries) > 0 {
			t.Errorf("left: %v, %v", entries, err)
		}
		r.must(plan.Discard, d, "") // again is nothing
	}
}

// A checkpoint for later leaves the sandbox as it was, running or frozen, and
// another sandbox starts from it, as often as one likes.
func TestCheckpointElsewhere(t *testing.T) {
	r := newRig(t)
	a := app(t, "witness", "/own")
	early := app(t, "exit", "4")
	early.Name = "early"
	s := sandbox("origin", a, early)
	s.Spec.Hostname = "twin"
	d := plan.Declare(s)
	r.run(d)
	r.awaitEnded()
	r.stepsOn("origin", "app", 3)
	dir := filepath.Join(t.TempDir(), "image")
	ctx := context.Background()
	check(t, r.Checkpoint(ctx, "origin", dir, d))
	n := r.steps("origin", "app")
	r.stepsOn("origin", "app", n)
	if got := r.record("origin").State; got != observed.SandboxUp {
		t.Errorf("the record says %s", got)
	}
	if err := r.Checkpoint(ctx, "origin", dir, d); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("written over another: %v", err)
	}
	r.must(plan.Pause, d, "")
	check(t, r.Checkpoint(ctx, "origin", dir+"2", d))
	if got := r.record("origin").State; got != observed.SandboxPaused {
		t.Errorf("the record says %s", got)
	}
	r.must(plan.Destroy, d, "")
	if err := r.Checkpoint(ctx, "origin", dir+"3", d); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("written of nothing: %v", err)
	}

	for i, name := range []string{"one", "two"} {
		twin := *s
		twin.Name, twin.Spec.RestoreFrom = name, dir
		d := plan.Declare(&twin)
		for attempt := 1; attempt <= 2; attempt++ {
			check(t, os.RemoveAll(filepath.Join(r.data, "logs", name)))
			began := time.Now()
			r.must(plan.Restore, d, "")
			c := r.container(name, "app")
			if c.ID != fmt.Sprintf("%s.app.%d", name, attempt) || c.State != observed.Running || c.StartedAt.Before(began) {
				t.Errorf("%s is %+v", name, c)
			}
			if e := r.container(name, "early"); e.State != observed.Stopped || e.Exit.Code != 4 || e.ID != fmt.Sprintf("%s.early.%d", name, attempt) {
				t.Errorf("%s: what had ended is %+v", name, e)
			}
			r.saysStep(name, n+1)
			r.must(plan.Stop, d, "")
		}
		if image, err := checkpoint.Read(dir, "test"); err != nil || image.Sandbox != "origin" {
			t.Errorf("after %d: %+v, %v", i, image, err)
		}
	}
	twin := *s
	twin.Spec.RestoreFrom = "/no/such/image"
	err := r.do(plan.Action{Verb: plan.Restore, Sandbox: "origin"}, plan.Declare(&twin))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "restoreFrom") {
		t.Errorf("restored from nothing: %v", err)
	}
}

// saysStep waits until a witness says that it has come to step n, or further.
func (r *rig) saysStep(sandbox string, n int) {
	r.t.Helper()
	path := filepath.Join(r.data, "logs", sandbox, "app.log")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), " step "+strconv.Itoa(n)+"\n") {
			if strings.Contains(string(b), " step 1\n") {
				r.t.Errorf("%s began anew", sandbox)
			}
			return
		}
	}
	r.t.Fatalf("%s never says step %d", sandbox, n)
}
