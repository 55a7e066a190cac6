package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// A daemon that was killed while it froze or thawed a sandbox left a record
// that says so, and nobody knows how far it came. Whatever it was, the next one
// reaches what is declared, and the sandbox lives: one resume too many ends it.
func TestFreezeAfterCrash(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("frozen", app(t, "sleep")))
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
			for _, verb := range []plan.Verb{plan.Pause, plan.Resume} {
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
				paused = verb == plan.Pause
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
		r.must(plan.Resume, d, "")
	}
	r.must(plan.Kill, d, "app") // it is alive and well
	r.awaitEnded()
}

// The record says beforehand what is going to be done, so where that can't be
// written it is not done.
func TestFreezeNeedsARecord(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("full", app(t, "sleep")))
	r.run(d)
	rec := r.record("full")
	w, err := r.load(plan.Action{Verb: plan.Pause, Sandbox: "full", Sentry: rec.Sentry})
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

// slow is a sentry whose pauses take as long as a test likes.
type slow struct {
	mu     sync.Mutex
	pauses int
	// early: a pause is in force before it is answered.
	early   bool
	hold    chan struct{} // closed: pauses are answered
	release func()        // closes it
}

// serve answers the calls that pausing and resuming need, on a socket.
func (s *slow) serve(t *testing.T) (socket string) {
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	var calls sync.WaitGroup
	calls.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			calls.Go(func() {
				defer conn.Close()
				var request struct{ Method string }
				if err := json.NewDecoder(conn).Decode(&request); err != nil {
					t.Error(err)
				}
				if s.call(request.Method) {
					_, _ = io.WriteString(conn, `{"success": true, "result": 0}`) // who has gone needs no answer
				}
				_, _ = io.Copy(io.Discard, conn) // until the caller hangs up
			})
		}
	})
	t.Cleanup(func() { l.Close(); s.release(); calls.Wait() })
	return socket
}

// call carries one out; false: it gets no answer.
func (s *slow) call(method string) bool {
	if method == boot.ContMgrPause && !s.early {
		<-s.hold
	}
	s.mu.Lock()
	switch method {
	case boot.ContMgrPause:
		s.pauses++
	case boot.ContMgrResume:
		s.pauses--
	}
	frozen := s.pauses != 0
	s.mu.Unlock()
	if method == boot.ContMgrPause && s.early {
		<-s.hold
	}
	return method != boot.ContMgrWaitPID || !frozen
}

// A pause that is answered too late may be done at any time after that. Nobody
// believes that it was not done until it is, and one that is done already need
// not be answered to be undone.
func TestPauseThatTakesLong(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("done before the answer %v", early), func(t *testing.T) {
			r := newRig(t)
			hold := make(chan struct{})
			s := &slow{early: early, hold: hold, release: sync.OnceFunc(func() { close(hold) })}
			rec := observed.Record{Name: "slow", State: observed.SandboxUp, Cgroup: r.cgroupPath("slow"),
				ControlSocket: s.serve(t), Sentry: observed.Process{PID: 1, StartTime: 2}}
			check(t, r.c.Records.Save(rec))
			do := func(verb plan.Verb, within time.Duration) error {
				ctx, cancel := context.WithTimeout(context.Background(), within)
				defer cancel()
				return r.Do(ctx, plan.Action{Verb: verb, Sandbox: "slow", Sentry: rec.Sentry}, nil)
			}
			if err := do(plan.Pause, 50*time.Millisecond); !errors.Is(err, gvisor.ErrNoAnswer) {
				t.Fatalf("paused without an answer: %v", err)
			}
			if early {
				// It hangs, and the resume is what it waits for.
				check(t, do(plan.Resume, patience))
			} else if err := do(plan.Resume, patience); !errors.Is(err, gvisor.ErrNoAnswer) {
				t.Errorf("resumed while a pause was on its way: %v", err)
			}
			s.release()
			r.awaitPoke("slow", func() bool { return r.unanswered(rec.Sentry) == nil })
			if !early {
				check(t, do(plan.Resume, patience))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := r.record("slow"); got.State != observed.SandboxUp || s.pauses != 0 {
				t.Errorf("the record says %s, and of the sentry's pauses %d are left", got.State, s.pauses)
			}
		})
	}
}

// The same with a sentry that is held up for longer than it is given.
func TestPauseOfAStoppedSentry(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("held", app(t, "sleep")))
	r.run(d)
	rec := r.record("held")
	check(t, rec.Sentry.Signal(unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := r.Do(ctx, plan.Action{Verb: plan.Pause, Sandbox: "held", Sentry: rec.Sentry}, d)
	check(t, rec.Sentry.Signal(unix.SIGCONT))
	if !errors.Is(err, gvisor.ErrNoAnswer) {
		t.Fatalf("paused a sentry that is stopped: %v", err)
	}
	r.awaitPoke("held", func() bool { return r.unanswered(rec.Sentry) == nil })
	r.must(plan.Resume, d, "")
	sentry := gvisor.Sentry{Socket: rec.ControlSocket, Timeout: callTimeout}
	if paused, err := sentry.Paused(context.Background(), "held"); err != nil || paused || r.record("held").State != observed.SandboxUp {
		t.Errorf("paused: %v, %v; the record says %s", paused, err, r.record("held").State)
	}
}
