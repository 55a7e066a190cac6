package actuator

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

func TestExitOf(t *testing.T) {
	at := time.Unix(1, 0)
	for _, c := range []struct {
		status unix.WaitStatus
		want   observed.Exit
	}{
		{0, observed.Exit{Known: true, At: at, Reason: "Completed"}},
		{3 << 8, observed.Exit{Known: true, At: at, Code: 3, Reason: "Error"}},
		{255 << 8, observed.Exit{Known: true, At: at, Code: 255, Reason: "Error"}},
		{unix.WaitStatus(unix.SIGTERM), observed.Exit{Known: true, At: at, Code: 143, Signal: 15, Reason: "Error", Message: "ended by SIGTERM"}},
		// 128 says that there is a core.
		{unix.WaitStatus(unix.SIGSEGV) | 128, observed.Exit{Known: true, At: at, Code: 139, Signal: 11, Reason: "Error", Message: "ended by SIGSEGV"}},
	} {
		if got := exitOf(c.status, at); got != c.want {
			t.Errorf("status %#x: %+v, want %+v", uint32(c.status), got, c.want)
		}
	}
}

// running is the record of an instance that runs, as far as the records tell.
func running(r *rig, sandbox string, attempt int) observed.ContainerRecord {
	r.t.Helper()
	rec := observed.ContainerRecord{Sandbox: sandbox, Name: "app", ID: sandbox + ".app.1", Attempt: attempt, State: observed.Running}
	check(r.t, r.c.Records.SaveContainer(rec))
	return rec
}

// The end of an instance that was discarded must not be written over what
// came after it, also where that has the same ID, as after a removal.
func TestEndAfterSuccessor(t *testing.T) {
	r := newRig(t)
	rec := running(r, "s", 1)
	old, next := &waiter{cancel: func() {}, rec: rec}, &waiter{cancel: func() {}, rec: rec}
	r.waiters[rec.ID] = next
	check(t, r.recordEnd(old, exitOf(0, time.Now())))
	if got := r.container("s", "app"); got.Exit != nil || len(r.ended) > 0 {
		t.Errorf("the end of an earlier instance was recorded: %+v", got)
	}
	delete(r.waiters, rec.ID)
	check(t, r.recordEnd(next, exitOf(0, time.Now())))
	if got := r.container("s", "app"); got.Exit != nil {
		t.Errorf("the end of a discarded instance was recorded: %+v", got)
	}
	r.waiters[rec.ID] = next
	check(t, r.recordEnd(next, exitOf(7<<8, time.Now())))
	if got := r.container("s", "app"); got.Exit == nil || got.Exit.Code != 7 || got.State != observed.Stopped {
		t.Errorf("the record after the end is %+v", got)
	}
	if got := r.awaitEnded(); got.ID != rec.ID {
		t.Errorf("told of the end of %s", got.ID)
	}
}

// An end that a user's signal has brought about is no error; one that comes later,
// and otherwise, is.
func TestEndByAUsersSignal(t *testing.T) {
	for _, c := range []struct {
		name   string
		sent   []unix.Signal
		status unix.WaitStatus
		want   observed.Exit
	}{
		{"none was sent", nil, unix.WaitStatus(unix.SIGTERM), observed.Exit{Known: true, Code: 143, Signal: 15, Reason: "Error", Message: "ended by SIGTERM"}},
		{"one was", []unix.Signal{unix.SIGHUP, unix.SIGTERM}, unix.WaitStatus(unix.SIGTERM),
			observed.Exit{Known: true, Code: 143, Signal: 15, Reason: "Killed", Message: "ended by SIGTERM, as a user asked"}},
		{"a shell says so", []unix.Signal{unix.SIGTERM}, 143 << 8, observed.Exit{Known: true, Code: 143, Reason: "Killed", Message: "ended, as a user asked"}},
		{"it was heeded", []unix.Signal{unix.SIGTERM}, 0, observed.Exit{Known: true, Reason: "Completed"}},
		{"it crashed later", []unix.Signal{unix.SIGHUP}, 3 << 8, observed.Exit{Known: true, Code: 3, Reason: "Error"}},
		{"another ended it", []unix.Signal{unix.SIGHUP}, unix.WaitStatus(unix.SIGSEGV), observed.Exit{Known: true, Code: 139, Signal: 11, Reason: "Error", Message: "ended by SIGSEGV"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			rec := running(r, "s", 1)
			wait := &waiter{cancel: func() {}, rec: rec}
			r.waiters[rec.ID] = wait
			for _, sig := range c.sent {
				r.noteSent(rec.ID, sig)
				r.noteSent("s.other.1", unix.SIGSEGV)
			}
			check(t, r.update(rec)) // such as with another gofer, from what was read before
			// Another daemon knows as much as this one.
			wait = &waiter{cancel: func() {}, rec: r.container("s", "app")}
			r.waiters[rec.ID] = wait
			check(t, r.recordEnd(wait, exitOf(c.status, time.Time{})))
			if got := r.container("s", "app").Exit; got == nil || *got != c.want {
				t.Errorf("the end is %+v, want %+v", got, c.want)
			}
		})
	}
}

// Ends that nobody saw are recorded when the sandbox is stopped, and one that
// was seen while it was being stopped is not overwritten.
func TestStopRecordsEnds(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		seen         bool
		want         observed.Exit
	}{
		{"killed", "", false, observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "Error", Message: "ended by SIGKILL"}},
		{"lost", "SandboxLost", false, observed.Exit{Reason: "SandboxLost"}},
		{"seen", "SandboxLost", true, observed.Exit{Known: true, Code: 7, Reason: "Error"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			rec := running(r, "s", 1)
			check(t, r.c.Records.Save(observed.Record{Name: "s", State: observed.SandboxUp, Cgroup: r.cgroupPath("s")}))
			w, err := r.load(plan.Action{Verb: plan.Stop, Sandbox: "s", ExitReason: c.reason})
			check(t, err)
			if c.seen { // after the action has read the records
				wait := &waiter{cancel: func() {}, rec: rec}
				r.waiters[rec.ID] = wait
				check(t, r.recordEnd(wait, exitOf(7<<8, time.Now())))
			}
			check(t, r.stop(context.Background(), w))
			got := r.container("s", "app")
			if got.Exit == nil || got.State != observed.Stopped {
				t.Fatalf("the record says %+v", got)
			}
			exit := *got.Exit
			exit.At = time.Time{}
			if !reflect.DeepEqual(exit, c.want) {
				t.Errorf("the end is %+v, want %+v", exit, c.want)
			}
			if s := r.record("s"); s.State != observed.SandboxStopped {
				t.Errorf("the sandbox is %s", s.State)
			}
		})
	}
}

// A container that was left half-made never ran: it gets no end, and the next
// instance is not taken for it.
func TestStopOfAHalfMadeContainer(t *testing.T) {
	for _, reason := range []string{"", "SandboxLost"} {
		r := newRig(t)
		rec := running(r, "s", 3)
		rec.State = observed.Creating
		check(t, r.c.Records.SaveContainer(rec))
		check(t, r.c.Records.Save(observed.Record{Name: "s", State: observed.SandboxUp, Cgroup: r.cgroupPath("s")}))
		check(t, r.do(plan.Action{Verb: plan.Stop, Sandbox: "s", ExitReason: reason}, nil))
		if got := r.container("s", "app"); got.Exit != nil || got.State != observed.Creating || got.Attempt != 3 {
			t.Errorf("stopped for %q: the record says %+v, its end is %+v", reason, got, got.Exit)
		}
	}
}

// A wait that has failed makes the next look ask the sentry, and only that one:
// an idle sentry would else be woken at each resync from then on.
func TestProbeAfterAFailedWait(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("asked", app(t, "sleep")))
	r.run(d)
	rec := r.record("asked")
	ids := []string{r.container("asked", "app").ID}
	deaf := rec
	deaf.ControlSocket = filepath.Join(r.state, "none") // nobody can be asked there
	probe := func(rec observed.Record) error {
		states, err := r.Probe(context.Background(), rec, ids, false)
		if err == nil && states[ids[0]] != observed.Running {
			t.Errorf("the container is %q", states[ids[0]])
		}
		return err
	}
	check(t, probe(rec))
	check(t, probe(deaf)) // known without asking
	r.waitFailed(r.waiters[ids[0]])
	if probe(deaf) == nil {
		t.Error("after a wait failed nobody was asked")
	}
	check(t, probe(rec))
	if err := probe(deaf); err != nil {
		t.Errorf("the sentry is still asked: %v", err)
	}
}

// An action refuses to act on another sentry or instance than it was meant for.
func TestActionMeetsAnother(t *testing.T) {
	r := newRig(t)
	running(r, "s", 1)
	check(t, r.c.Records.Save(observed.Record{Name: "s", State: observed.SandboxUp, Cgroup: r.cgroupPath("s"),
		Sentry: observed.Process{PID: 1, StartTime: 2}}))
	for _, do := range []plan.Action{
		{Verb: plan.Stop, Sandbox: "s", Sentry: observed.Process{PID: 1, StartTime: 3}},
		{Verb: plan.Stop, Sandbox: "s"},
		{Verb: plan.Kill, Sandbox: "s", Container: "app", ContainerID: "s.app.2", Sentry: observed.Process{PID: 1, StartTime: 2}},
		{Verb: plan.Kill, Sandbox: "s", Container: "other", ContainerID: "s.other.1", Sentry: observed.Process{PID: 1, StartTime: 2}},
	} {
		if err := r.Do(context.Background(), do, nil); !errors.Is(err, plan.ErrChanged) {
			t.Errorf("%+v: %v, want ErrChanged", do, err)
		}
	}
}

// A container that its sandbox does not know, since a daemon was killed after
// it had taken it out, counts as ended and not as running for ever.
func TestUnknownContainerEnds(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("unknown", app(t, "sleep")))
	r.run(d)
	rec := r.container("unknown", "app")
	sentry := gvisor.Sentry{Socket: r.record("unknown").ControlSocket, Timeout: callTimeout}
	r.Close() // before its waiter sees what happens
	check(t, sentry.Destroy(context.Background(), rec.ID))
	r.restart()
	check(t, r.Adopt())
	if got := r.awaitEnded(); got.ID != rec.ID || got.Exit.Known {
		t.Errorf("recorded %+v with %+v, want an end that nobody knows", got, got.Exit)
	}
}

// Who is attached gets the exit code also of a sentry that the daemon has ended, as
// soon as it had that code itself.
func TestAttachedToWhatHasEnded(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("web", app(t, "sleep")))
	r.run(d)
	at, err := r.Attach("web", "app")
	check(t, err)
	defer at.Output.Close()
	check(t, r.Kill(t.Context(), "web", "app", Kill{Signal: unix.SIGKILL}))
	r.awaitEnded()
	r.must(plan.Stop, d, "")
	exit, err := at.Await(t.Context())
	if err != nil || exit.Code != 128+int(unix.SIGKILL) {
		t.Errorf("it ended as %+v, %v", exit, err)
	}
}
