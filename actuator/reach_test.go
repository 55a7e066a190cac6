package actuator

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/probe"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// The loopback interface of a sandbox without a network can be reached. A port
// on which nobody listens says so at once, and an application that is silent, or
// takes no more connections, holds up nobody else.
func TestDial(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("dial", app(t, "serve", "80", "then", "deaf", "81", "then", "print", "ready", "then", "sleep")))
	r.run(d)
	r.awaitOutput("dial", "app", "ready")
	sentry := gvisor.Sentry{Socket: r.record("dial").ControlSocket, Timeout: patience}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := sentry.Dial(ctx, 82); !errors.Is(err, gvisor.ErrNoConnection) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	for range 10 {
		conn, err := sentry.Dial(ctx, 80)
		check(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		check(t, err)
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("it answered %q, %v", b, err)
		}
		conn.Close()
	}
	var taken []net.Conn
	for len(taken) < 100 {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		conn, err := sentry.Dial(short, 81)
		if errors.Is(err, gvisor.ErrNoConnection) && errors.Is(err, context.DeadlineExceeded) {
			break
		}
		check(t, err)
		taken = append(taken, conn)
	}
	if len(taken) == 0 || len(taken) == 100 {
		t.Errorf("it took %d connections", len(taken))
	}
	if _, err := io.ReadAll(taken[0]); err == nil {
		t.Error("what is silent has answered")
	}
	for _, conn := range taken {
		conn.Close()
	}
	if err := sentry.Signal(ctx, "dial.app.1", 0, false); err != nil {
		t.Errorf("the sandbox: %v", err)
	}
}

// A command's exit code and words come back. When its time is over it is killed
// with what it has started; what holds its output open holds up nobody.
func TestReachExec(t *testing.T) {
	r := newRig(t)
	d := plan.Declare(sandbox("reach", app(t, "print", "ready", "then", "sleep")))
	r.run(d)
	r.awaitOutput("reach", "app", "ready")
	c := r.Reach("reach", "app", "reach.app.1")
	run := func(ctx context.Context, command ...string) (int, string, error) {
		var out strings.Builder
		code, err := c.Exec(ctx, append([]string{"/workload"}, command...), &out)
		return code, out.String(), err
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if code, out, err := run(ctx, "print", "a", "then", "complain", "b", "then", "exit", "7"); code != 7 || out != "a\nb\n" || err != nil {
		t.Errorf("%d %q %v", code, out, err)
	}
	if code, out, err := run(ctx, "flood", "10000", "then", "exit", "0"); code != 0 || len(out) < 10000 || err != nil {
		t.Errorf("%d, %d bytes, %v", code, len(out), err)
	}
	if _, _, err := run(ctx, "raise", "9"); err == nil || !strings.Contains(err.Error(), "SIGKILL") {
		t.Errorf("ended by a signal: %v", err)
	}
	if _, err := c.Exec(ctx, []string{"/missing"}, io.Discard); err == nil || errors.Is(err, probe.ErrUnknown) {
		t.Errorf("no such command: %v", err)
	}
	// What it leaves behind keeps its output open.
	if code, out, err := run(ctx, "leave-signals", "then", "exit", "0"); code != 0 || err != nil {
		t.Errorf("%d %q %v", code, out, err)
	}
	left := r.atWork("reach")
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, _, err := run(short, "leave-signals", "then", "print", "x", "then", "sleep"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it took too long: %v", err)
	}
	r.awaitAtWork("reach", left)
	if _, err := r.Reach("reach", "app", "reach.app.2").Exec(ctx, []string{"/workload"}, io.Discard); !errors.Is(err, probe.ErrUnknown) {
		t.Errorf("another instance: %v", err)
	}
	r.must(plan.Pause, d, "")
	if _, _, err := run(ctx, "exit", "0"); !errors.Is(err, probe.ErrUnknown) {
		t.Errorf("paused: %v", err)
	}
	if _, err := c.Dial(ctx, "", 80); !errors.Is(err, probe.ErrUnknown) {
		t.Errorf("paused: %v", err)
	}
}

// atWork counts the processes of a sandbox's container app that have not ended.
func (r *rig) atWork(name string) (n int) {
	r.t.Helper()
	list, err := r.Processes(r.t.Context(), name)
	check(r.t, err)
	for _, p := range list["app"] {
		if !strings.HasPrefix(p.Args[0], "[") { // a zombie
			n++
		}
	}
	return n
}

// awaitAtWork waits until there are n: a process is listed for a moment after its
// end.
func (r *rig) awaitAtWork(name string, n int) {
	r.t.Helper()
	for end := time.Now().Add(patience); r.atWork(name) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%d processes are at work, not %d", r.atWork(name), n)
		}
	}
}

// What a container does before it is stopped is begun once, is cut off by its
// stop signal or its deadline, and is forgotten with the container.
func TestPreStop(t *testing.T) {
	r := newRig(t)
	failed := make(chan error, 10)
	r.c.PreStopped = func(_ observed.ContainerRecord, err error, _ time.Duration) { failed <- err }
	d := plan.Declare(sandbox("before", app(t, "ignore-term", "then", "print", "ready", "then", "sleep")))
	r.run(d)
	r.awaitOutput("before", "app", "ready")
	begin := func(lasts time.Duration, command ...string) {
		t.Helper()
		check(t, r.do(plan.Action{Verb: plan.PreStop, Sandbox: "before", Container: "app", Until: time.Now().Add(lasts),
			PreStop: &desired.PreStop{Exec: &desired.ExecAction{Command: append([]string{"/workload"}, command...)}}}, d))
	}
	const id = "before.app.1"
	if is := r.PreStop(id); is != observed.PreStopNone {
		t.Errorf("before all it is %v", is)
	}
	begin(patience, "exit", "3")
	if err := <-failed; err == nil || err.Error() != "exit code 3" {
		t.Errorf("it failed: %v", err)
	}
	if is := r.PreStop(id); is != observed.PreStopOver {
		t.Errorf("at its end it is %v", is)
	}
	begin(patience, "count", "/n", "then", "sleep")
	begin(patience, "count", "/n", "then", "sleep") // goes on
	if is := r.PreStop(id); is != observed.PreStopRuns {
		t.Errorf("while it goes on it is %v", is)
	}
	r.must(plan.Signal, d, "app")
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "not over within the grace period") {
		t.Errorf("cut off: %v", err)
	}
	r.awaitAtWork("before", 1)
	begin(100*time.Millisecond, "sleep")
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "not over within the grace period") {
		t.Errorf("at its deadline: %v", err)
	}
	begin(patience, "sleep")
	r.must(plan.Kill, d, "app")
	r.awaitEnded()
	if is := r.PreStop(id); is != observed.PreStopNone {
		t.Errorf("after the end it is %v", is)
	}
	select {
	case err := <-failed:
		t.Errorf("its end was told of: %v", err)
	default:
	}
}
