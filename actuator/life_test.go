package actuator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// From nothing to running, ended, made anew, and to nothing again.
func TestLife(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("life", app(t, "print", "hello", "then", "exit", "3")))
	r.run(d)
	rec := r.awaitEnded()
	if rec.ID != "life.app.1" || !rec.Exit.Known || rec.Exit.Code != 3 || rec.StartedAt.IsZero() {
		t.Errorf("the end is recorded as %+v, %+v", rec, rec.Exit)
	}
	if got := r.output(rec); got != "hello\n" {
		t.Errorf("the output is %q", got)
	}
	r.must(plan.Start, d, "app")
	if again := r.awaitEnded(); again.ID != "life.app.2" {
		t.Errorf("the second instance is %s", again.ID)
	}
	up := r.record("life")
	if up.State != observed.SandboxUp || up.SandboxHash != d.SandboxHash || up.LimitsHash != d.LimitsHash {
		t.Errorf("the record is %+v", up)
	}
	r.must(plan.Remove, d, "app")
	loaded, err := r.c.Records.Load("life")
	check(t, err)
	if len(loaded.Containers) > 0 {
		t.Errorf("records are left: %+v", loaded.Containers)
	}

	r.must(plan.Stop, d, "")
	down := r.record("life")
	if down.State != observed.SandboxStopped || down.Sentry != (observed.Process{}) || down.ControlSocket != "" {
		t.Errorf("the record after the stop is %+v", down)
	}
	if alive, err := up.Sentry.Liveness(); err != nil || alive != observed.Gone {
		t.Errorf("the sentry is %v, %v", alive, err)
	}
	if _, exists, err := r.c.Cgroups.Procs(up.Cgroup); err != nil || exists {
		t.Errorf("the cgroup exists: %v, %v", exists, err)
	}
	r.must(plan.Stop, d, "") // again is nothing

	r.must(plan.Create, d, "")
	r.must(plan.Destroy, d, "")
	for _, path := range []string{r.c.Records.Dir("life"), filepath.Join(r.data, "logs", "life"), r.volumesDir("life")} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if len(r.gofers)+len(r.waiters)+len(r.answered) > 0 {
		t.Errorf("kept after the end: %v %v %v", r.gofers, r.waiters, r.answered)
	}
}

// What can't be started costs its container and nothing else: no gofer, no
// pipe and no half container is left, and the record says why.
func TestStartFailure(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(*desired.Container)
	}{
		{"no-command", "no-such-program", func(c *desired.Container) { c.Command = []string{"/no-such-program"} }},
		{"no-root", "there is no directory /no/such/root: make it", func(c *desired.Container) { c.Rootfs.Path = "/no/such/root" }},
		{"file-root", "/etc/passwd is not a directory: name the one", func(c *desired.Container) { c.Rootfs.Path = "/etc/passwd" }},
		{"own-root", "daemon's own", func(c *desired.Container) { c.Rootfs.Path = "STATE" }},
		{"no-file", "variable TOKEN", func(c *desired.Container) {
			c.Env = []desired.EnvVar{{Name: "TOKEN", ValueFrom: &desired.EnvSource{File: "/no/such/file"}}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			a := app(t, "sleep")
			c.spoil(&a)
			if a.Rootfs.Path == "STATE" {
				a.Rootfs.Path = r.state
			}
			good := app(t, "sleep")
			good.Name = "good"
			d := plan.Declare(sandbox("failing", good, a))
			r.must(plan.Create, d, "")
			r.must(plan.Start, d, "good")
			before, _, err := r.c.Cgroups.Procs(r.cgroupPath("failing"))
			check(t, err)
			err = r.do(plan.Action{Verb: plan.Start, Sandbox: "failing", Container: "app"}, d)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("started: %v, want %q", err, c.want)
			}
			rec := r.container("failing", "app")
			if rec.State != observed.Stopped || rec.Exit == nil || rec.Exit.Reason != "StartError" || rec.Exit.Code != 128 ||
				!strings.Contains(rec.Exit.Message, c.want) {
				t.Errorf("recorded: %+v, %+v", rec, rec.Exit)
			}
			pipes, err := filepath.Glob(filepath.Join(r.c.Records.Dir("failing"), "io", "failing.app.*"))
			if err != nil || len(pipes) > 0 {
				t.Errorf("pipes are left: %v %v", pipes, err)
			}
			for _, p := range r.gofersOf("failing") {
				if strings.Contains(p, "failing.app") {
					t.Errorf("a gofer is left: %s", p)
				}
			}
			if alive, err := r.container("failing", "good").Gofer.Liveness(); err != nil || alive != observed.Alive {
				t.Errorf("the sibling's gofer is %v, %v (%v)", alive, err, before)
			}
		})
	}
}

// begun is the start of a sandbox's first container that has begun.
func (r *rig) begun(d *plan.Declared) (work, gvisor.Sentry, observed.ContainerRecord) {
	r.t.Helper()
	r.must(plan.Create, d, "")
	w, err := r.load(plan.Action{Verb: plan.Start, Sandbox: d.Name, Container: d.Spec.Containers[0].Name, Sentry: r.record(d.Name).Sentry})
	check(r.t, err)
	sentry, err := w.sentry()
	check(r.t, err)
	rec, _, err := r.begin(r.t.Context(), &w, sentry, &d.Spec.Containers[0], d.ContainerHash[0])
	check(r.t, err)
	return w, sentry, rec
}

// A gofer that is ended while its container is started costs that nothing but time,
// whatever its restart policy: the command has not run.
func TestGoferEndedByAStart(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("early", app(t, "print", "once")))
	w, sentry, rec := r.begun(d)
	err := r.Actuator.run(t.Context(), &w, d, &d.Spec.Containers[0], &rec, func(ctx context.Context, args gvisor.Start) error {
		check(t, rec.Gofer.Signal(unix.SIGKILL))
		check(t, rec.Gofer.Await(ctx))
		return sentry.StartContainer(ctx, args)
	})
	if !errors.Is(err, errNotStarted) {
		t.Fatalf("started: %v", err)
	}
	check(t, r.startFailed(t.Context(), sentry, rec, time.Now(), err))
	if left := r.container("early", "app"); left.State != observed.Creating || left.Exit != nil {
		t.Errorf("recorded: %+v, %+v", left, left.Exit)
	}
	r.must(plan.Start, d, "app")
	if rec := r.awaitEnded(); rec.Exit.Reason != observed.ReasonCompleted || r.output(rec) != "once\n" {
		t.Errorf("then it has ended so: %+v", rec.Exit)
	}
}

// One that ends since its sandbox has let go of it was not ended: the container is
// at fault.
func TestGoferThatEndsAfterAFailedStart(t *testing.T) {
	r := newRig(t)
	c := app(t)
	c.Command = []string{"/no/such/command"}
	d := plan.Declare(sandbox("wrong", c))
	w, sentry, rec := r.begun(d)
	err := r.Actuator.run(t.Context(), &w, d, &d.Spec.Containers[0], &rec, func(ctx context.Context, args gvisor.Start) error {
		failed := sentry.StartContainer(ctx, args)
		check(t, rec.Gofer.Await(ctx)) // before the answer has come
		return failed
	})
	if err == nil || errors.Is(err, errNotStarted) || !strings.Contains(err.Error(), "/no/such/command") {
		t.Errorf("started: %v", err)
	}
}

// gofersOf are the command lines of the live gofers of a sandbox.
func (r *rig) gofersOf(name string) []string {
	r.t.Helper()
	pids, err := r.members(r.cgroupPath(name))
	check(r.t, err)
	var lines []string
	for _, p := range pids {
		dir, err := p.OpenDir()
		if errors.Is(err, observed.ErrGone) {
			continue
		}
		check(r.t, err)
		b, err := os.ReadFile(filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), "cmdline"))
		dir.Close()
		if err == nil && strings.HasPrefix(string(b), "sandboxer-gofer") {
			lines = append(lines, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return lines
}

// A creation that fails leaves a record of a stopped sandbox, and no process.
func TestCreateFailure(t *testing.T) {
	r := newRig(t)
	s := sandbox("half", app(t, "sleep"))
	s.Spec.Volumes = []desired.Volume{{Name: "v", Files: map[string]string{"no/such/folder": ""}}}
	d := plan.Declare(s)
	if err := r.do(plan.Action{Verb: plan.Create, Sandbox: "half"}, d); err == nil {
		t.Fatal("created with a volume that can't be made")
	}
	if rec := r.record("half"); rec.State != observed.SandboxStopped {
		t.Errorf("the record is %+v", rec)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w, err := r.load(plan.Action{Verb: plan.Create, Sandbox: "half"})
	check(t, err)
	s.Spec.Volumes = nil
	if err := r.create(ctx, w, plan.Declare(s)); !errors.Is(err, context.Canceled) {
		t.Errorf("created with no time left: %v", err)
	}
	if _, exists, err := r.c.Cgroups.Procs(r.cgroupPath("half")); err != nil || exists {
		t.Errorf("the cgroup exists: %v, %v", exists, err)
	}
	r.must(plan.Create, plan.Declare(s), "")
}

// Signals reach a container by name, and one that has ended, or is not known,
// makes no error but a look.
func TestSignal(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("signal", app(t, "sleep")))
	r.run(d)
	send := func(sig string) error {
		return r.do(plan.Action{Verb: plan.Signal, Sandbox: "signal", Container: "app", Signal: sig}, d)
	}
	if err := send("SIGNONE"); err == nil {
		t.Error("a signal that does not exist was sent")
	}
	sentry := gvisor.Sentry{Socket: r.record("signal").ControlSocket, Timeout: callTimeout}
	if err := r.Actuator.ended(sentry.Signal(context.Background(), "signal.no.1", unix.SIGTERM, false), work{}); err != nil {
		t.Errorf("signalling a container that is not known: %v", err)
	}
	if err := r.Actuator.ended(sentry.Signal(context.Background(), "signal.no.1", unix.SIGKILL, true), work{}); err != nil {
		t.Errorf("killing a container that is not known: %v", err)
	}
	check(t, send("SIGTERM"))
	// The signal may come before the program has said how it takes it.
	if rec := r.awaitEnded(); rec.Exit.Code != 0 && rec.Exit.Signal != 15 {
		t.Errorf("ended with %+v", rec.Exit)
	}
	check(t, send("SIGTERM"))
	r.must(plan.Start, d, "app")
	r.must(plan.Kill, d, "app")
	if rec := r.awaitEnded(); rec.Exit.Signal != 9 {
		t.Errorf("ended with %+v, want signal 9", rec.Exit)
	}
}

// A record that does not say where the sandbox's processes are holds up
// neither their end nor its own.
func TestNoCgroupInTheRecord(t *testing.T) {
	for _, verb := range []plan.Verb{plan.Stop, plan.Destroy} {
		t.Run(string(verb), func(t *testing.T) {
			r := newRig(t)
			d := plan.Declare(sandbox("where", app(t, "sleep")))
			r.run(d)
			rec := r.record("where")
			sentry, cgroup := rec.Sentry, rec.Cgroup
			rec.Cgroup = ""
			check(t, r.c.Records.Save(rec))
			r.must(verb, d, "")
			if alive, err := sentry.Liveness(); err != nil || alive != observed.Gone {
				t.Errorf("the sentry is %v, %v", alive, err)
			}
			if _, exists, err := r.c.Cgroups.Procs(cgroup); err != nil || exists {
				t.Errorf("the cgroup exists: %v, %v", exists, err)
			}
		})
	}
}
