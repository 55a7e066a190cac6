package actuator

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// The next daemon hears of every end of what runs, and carries the output on.
func TestAdopt(t *testing.T) {
	r := newRig(t)
	early := app(t, "exit", "4", "0.2")
	early.Name = "early"
	d := plan.Declare(sandbox("kept", app(t, "print", "before", "then", "sleep"), early))
	r.run(d)
	r.detach() // "early" ends while no daemon is there
	r.Actuator = r.attach(r.c)
	check(t, r.Adopt())
	if rec := r.awaitEnded(); rec.Name != "early" || rec.Exit.Code != 4 {
		t.Errorf("%s ended with %+v", rec.Name, rec.Exit)
	}
	seen, err := r.looker.Look(context.Background(), "kept")
	check(t, err)
	app := seen.Containers[slices.IndexFunc(seen.Containers, func(c observed.Container) bool { return c.Name == "app" })]
	if seen.Sentry != observed.Alive || app.State != observed.Running || app.ID != "kept.app.1" {
		t.Errorf("after the restart: %+v", seen)
	}
	r.must(plan.Kill, d, "app")
	rec := r.awaitEnded()
	if rec.ID != "kept.app.1" || rec.Exit.Signal != 9 {
		t.Errorf("ended: %+v, %+v", rec, rec.Exit)
	}
	if got := r.output(rec); got != "before\n" {
		t.Errorf("output %q", got)
	}

	// The end of an adopted sentry pokes the loop.
	r.restart()
	check(t, r.Adopt())
	sentry := r.record("kept").Sentry
	check(t, sentry.Signal(unix.SIGKILL))
	r.awaitPoke("kept", func() bool {
		alive, err := sentry.Liveness()
		check(t, err)
		return alive == observed.Gone
	})
	seen, err = r.looker.Look(context.Background(), "kept")
	check(t, err)
	if seen.Sentry != observed.Gone {
		t.Errorf("the killed sentry is %v", seen.Sentry)
	}
	check(t, r.Adopt()) // what is gone is left to the loop
}

// One sandbox that can't be taken over does not keep the others from it.
func TestAdoptNamesWhatFails(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("good", app(t, "sleep")))
	r.run(d)
	r.restart()
	dir := filepath.Join(r.state, "sandboxes", "bad", "sandbox.json")
	check(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	check(t, unix.Mknod(dir, unix.S_IFIFO|0o600, 0)) // must not be waited for
	check(t, os.RemoveAll(filepath.Join(r.c.Records.Dir("good"), "io")))
	err := r.Adopt()
	if err == nil || !strings.Contains(err.Error(), `"good"`) {
		t.Errorf("the pipes of good are gone: %v", err)
	}
	r.must(plan.Kill, d, "app")
	if rec := r.awaitEnded(); rec.Exit.Signal != 9 {
		t.Errorf("ended with %+v", rec.Exit)
	}
}

// Close ends every wait and lets no new one begin.
func TestCloseEndsWaits(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("closed", app(t, "sleep")))
	r.run(d)
	rec := r.container("closed", "app")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Close()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("Close waits for the container's end")
	}
	w, err := r.load(plan.Action{Verb: plan.Kill, Sandbox: "closed", Sentry: r.record("closed").Sentry})
	check(t, err)
	sentry, err := w.sentry()
	check(t, err)
	delete(r.waiters, rec.ID)
	check(t, r.watch(sentry, rec))
	if r.waiters[rec.ID] != nil {
		t.Error("a wait began after Close")
	}
	if got := r.container("closed", "app"); got.State != observed.Running {
		t.Errorf("Close changed the record: %+v", got)
	}
	r.Actuator = r.attach(r.c)
}

// An idle sentry is not asked anew while its answer is fresh and the ends of
// its containers are waited for; it is when somebody wants to know for sure.
func TestProbeSparesTheSentry(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("idle", app(t, "sleep")))
	r.run(d)
	rec, id := r.record("idle"), r.container("idle", "app").ID
	ask := func(now bool) (map[string]observed.ContainerState, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return r.Probe(ctx, rec, []string{id}, now)
	}
	if states, err := ask(false); err != nil || states[id] != observed.Running {
		t.Fatalf("probe: %v, %v", states, err)
	}
	rec.ControlSocket = "/no/such/socket" // whoever asks gets no answer
	if states, err := ask(false); err != nil || states[id] != observed.Running {
		t.Errorf("a fresh answer: %v, %v", states, err)
	}
	// The container's sockets tell of this moment, as long as they are held.
	if states, err := ask(true); err != nil || states[id] != observed.Running {
		t.Errorf("while the sentry has the container's sockets: %v, %v", states, err)
	}
	kept := r.gofers[id]
	delete(r.gofers, id)
	if _, err := ask(true); err == nil {
		t.Error("nobody holds its sockets, and nobody was asked")
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	check(t, unix.Close(ends[0]))
	closed := os.NewFile(uintptr(ends[1]), "kept")
	defer closed.Close()
	r.gofers[id] = gofer.Kept{Sockets: append(slices.Clip(kept.Sockets), closed)}
	if _, err := ask(true); err == nil {
		t.Error("the sentry has closed a socket, and was not asked")
	}
	r.gofers[id] = kept
	check(t, rec.Sentry.Signal(unix.SIGSTOP))
	defer rec.Sentry.Signal(unix.SIGCONT)
	for end := time.Now().Add(patience); ; {
		stopped, err := rec.Sentry.Stopped()
		check(t, err)
		if stopped {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the sentry does not stop")
		}
	}
	if _, err := ask(false); err == nil {
		t.Error("a sentry that is stopped was not asked")
	}
}
