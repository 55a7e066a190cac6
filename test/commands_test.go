package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The daemon that is asked to stops every sandbox when it ends.
func TestStopSandboxesOnExit(t *testing.T) {
	w := start(t, "--stop-sandboxes-on-exit")
	w.declare("web", app("exit-on-term 6 then print ready then sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("job", "restartPolicy: Never\n"+app("print once then exit 5"))
	w.declare("half", "restartPolicy: OnFailure\ncontainers:\n- "+box("app", "print once")+"\n- "+box("side", "print on then sleep"))
	w.running("web")
	w.wait("job", "failed", phase("Failed"))
	w.wait("half", "ended in part", func(s sandbox) bool { return s.box("app").exited(0) && s.box("side").State == "running" })
	w.said("web", "ready")
	w.wait("cold", "paused", phase("Paused"))
	w.stop()
	for _, pid := range processesIn(w.parent) {
		t.Errorf("a process is left: %s", describe(pid))
	}
	w.flags = nil
	w.start()
	w.running("web")
	w.wait("cold", "paused", phase("Paused"))
	// What had ended for good stays so.
	w.wait("half", "running again", func(s sandbox) bool { return s.box("side").State == "running" })
	if s := w.wait("job", "failed", phase("Failed")); !s.box("app").exited(5) || s.Status.SandboxPID != 0 {
		t.Errorf("the job is %+v", s.Status)
	}
	for _, who := range []string{"job", "half/app"} {
		if out := w.ok("logs", who); out != "once\n" {
			t.Errorf("%s said %q", who, out)
		}
	}
}

// SIGTERM leaves every sandbox running.
func TestStopLeavesSandboxesRunning(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	w.stop()
	if w.sentries("web") != 1 {
		t.Errorf("the sandbox is gone")
	}
	w.start()
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").ID != was.box("app").ID {
		t.Errorf("it was made anew: %+v", now)
	}
}

// A daemon says that it is ready once it can tell of all there is, and answers
// nothing before: what it left out would be taken for gone.
func TestReadyOnceAllWasSeen(t *testing.T) {
	w := newWorld(t)
	w.declare("web", app("sleep"))
	for i := range 30 {
		w.declare(fmt.Sprint("off", i), app("sleep", "state: Stopped"))
	}
	all := func() {
		t.Helper()
		if n := len(w.list()); n != 31 {
			t.Errorf("%d of 31 sandboxes are listed", n)
		}
	}
	w.start()
	all()
	was := w.running("web")
	w.kill()

	// Looking at a sentry that is silent takes a while.
	kill(t, was.Status.SandboxPID, syscall.SIGSTOP)
	early := false
	for deadline := time.Now().Add(patience); !early; {
		w.begin()
		answer, err := w.request(t.Context(), "GET", "/v1/sandboxes")
		for ; err != nil; answer, err = w.request(t.Context(), "GET", "/v1/sandboxes") {
			if time.Now().After(deadline) {
				t.Fatalf("nobody answers: %v\n%s", err, w.log())
			}
		}
		b, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		early = answer.StatusCode == http.StatusServiceUnavailable
		if err != nil || early != strings.Contains(string(b), "the daemon is starting") || !early && answer.StatusCode != http.StatusOK {
			t.Fatalf("it answered %s, %s, %v", answer.Status, b, err)
		}
		all() // the command waits
		w.awaitReady()
		if !early { // whoever asked was slower than the daemon
			if time.Now().After(deadline) {
				t.Fatal("it is always ready when it answers first")
			}
			w.kill()
		}
	}
	kill(t, was.Status.SandboxPID, syscall.SIGCONT)
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew: %+v", now)
	}
}

// What scripts rely on of the commands.
func TestCommands(t *testing.T) {
	w := start(t)
	w.declare("web", app("print hello then sleep"))
	if out := w.ok("wait", "web", "--for", "Running", "--timeout", "60s"); out != "" {
		t.Errorf("wait prints %q", out)
	}
	if r := w.run("wait", "web", "--for", "Paused", "--timeout", "100ms"); r.code != 1 {
		t.Errorf("a wait in vain: %+v", r)
	}
	if r := w.run("get", "--nonsense"); r.code != 2 {
		t.Errorf("a wrong flag: %+v", r)
	}
	for _, args := range [][]string{{"get"}, {"get", "-o", "wide"}, {"describe", "web"}, {"events"}, {"events", "web"}} {
		out := w.ok(args...)
		if !strings.Contains(out, "web") || strings.Contains(out, "\x1b") {
			t.Errorf("%v prints %q", args, out)
		}
		for line := range strings.Lines(out) {
			if args[0] == "get" && len(args) == 1 && len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
				t.Errorf("%v prints more than 80 columns: %q", args, line)
			}
		}
	}
	var one sandbox
	w.json(&one, "get", "web", "-o", "json")
	if one.Name != "web" || one.Status.Phase != "Running" {
		t.Errorf("get prints %+v", one)
	}
	var plan struct {
		Actions []struct{ Sandbox, Container, Action, Reason string }
	}
	w.comesToRest()
	w.json(&plan, "plan", "-o", "json")
	if plan.Actions == nil || len(plan.Actions) != 0 {
		t.Errorf("the plan is %+v", plan)
	}
	// A path that is not there hides nothing of the others.
	r := w.run("plan", w.manifests, w.dir+"/none", "-o", "json")
	if r.code != 1 || !strings.Contains(r.out, `"actions"`) || !strings.Contains(r.err, "/none: does not exist") {
		t.Errorf("a plan of a folder and of nothing: %+v", r)
	}
	if r := w.run("plan", w.dir+"/none"); r.code != 1 || !strings.Contains(r.err, "/none: no such file") {
		t.Errorf("a plan of nothing: %+v", r)
	}
	for args, want := range map[string]string{"schema": `"restartBackoff"`, "completion bash": "complete ", "version": "gvisor", "": "sandboxer daemon"} {
		if out := w.ok(strings.Fields(args)...); !strings.Contains(out, want) {
			t.Errorf("%q prints %.200q", args, out)
		}
	}
	w.kill()
	if r := w.run("get"); r.code != 1 || !strings.Contains(r.err, "no daemon runs") {
		t.Errorf("without a daemon: %+v", r)
	}
}
