package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// What a container wrote is kept over restarts of the daemon and of itself,
// each stream in its order, without loss.
func TestLogs(t *testing.T) {
	w := start(t)
	w.declare("web", app("flood 2000 then print end then complain to stderr then sleep"))
	w.running("web")
	// The two streams are two pipes: nobody knows which came first.
	numbered := func(lines []string) (list []string) {
		for _, l := range lines {
			if strings.HasPrefix(l, "line ") {
				list = append(list, l)
			}
		}
		return list
	}
	before := numbered(w.said("web", "end"))
	for i, line := range before {
		if line != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if len(before) != 2000 {
		t.Fatalf("%d lines came", len(before))
	}
	w.said("web", "to stderr")
	if out := w.ok("logs", "web", "--tail", "1"); strings.Count(out, "\n") != 1 {
		t.Errorf("the last line is %q", out)
	}
	stamped := w.ok("logs", "web", "--tail", "2", "-t")
	for line := range strings.Lines(stamped) {
		stamp, _, _ := strings.Cut(line, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > time.Hour {
			t.Errorf("no time in %q: %v", line, err)
		}
	}
	w.restart()
	w.running("web")
	if again := numbered(w.said("web", "end")); len(again) != 2000 {
		t.Errorf("%d lines are left after the daemon's restart", len(again))
	}
	if out := w.ok("logs", "web", "--since", "1ns"); out != "" {
		t.Errorf("since just now it wrote %q", out)
	}
	if r := w.run("logs", "web/none"); r.code != 1 || !strings.Contains(r.err, "none") {
		t.Errorf("the log of what is not there: %+v", r)
	}
	if r := w.run("logs", "nobody"); r.code != 1 || !strings.Contains(r.err, "nobody") {
		t.Errorf("the log of what is not there: %+v", r)
	}
}

// A container that writes while no daemon reads loses nothing.
func TestLogsWhileTheDaemonIsAway(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", "print before then await /v/go then flood 1000 then write /v/done x then print end then sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web", "before")
	w.kill()
	// The container writes all of it, and says so where the test can see it.
	if out, err := exec.Command("sh", "-c", fmt.Sprintf("touch %[1]s/v/go; for i in $(seq 900); do [ -e %[1]s/v/done ] && exit 0; sleep 0.1; done; exit 1", w.dir)).CombinedOutput(); err != nil {
		t.Fatalf("it did not go on without a daemon: %v %s", err, out)
	}
	w.start()
	w.running("web")
	if lines := w.said("web", "end"); len(lines) != 1002 {
		t.Errorf("%d lines came", len(lines))
	}
}

// The daemon that is asked to stops every sandbox when it ends.
func TestStopSandboxesOnExit(t *testing.T) {
	w := start(t, "--stop-sandboxes-on-exit")
	w.declare("web", app("exit-on-term 6 then print ready then sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.running("web")
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
	w.json(&plan, "plan", "-o", "json")
	if plan.Actions == nil || len(plan.Actions) != 0 {
		t.Errorf("the plan is %+v", plan)
	}
	w.kill()
	if r := w.run("get"); r.code != 1 || !strings.Contains(r.err, "no daemon runs") {
		t.Errorf("without a daemon: %+v", r)
	}
}
