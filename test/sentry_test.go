package test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A sentry that is killed from outside takes its containers along; they come
// back as their policies say.
func TestSentryKilled(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("one", "sleep")+"\n- "+box("two", "sleep"))
	w.declare("job", "restartPolicy: Never\n"+app("sleep"))
	w.declare("other", app("sleep"))
	web, job, other := w.running("web"), w.running("job"), w.running("other")
	kill(t, web.Status.SandboxPID, syscall.SIGKILL)
	kill(t, job.Status.SandboxPID, syscall.SIGKILL)
	now := w.wait("web", "running anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != web.Status.SandboxPID })
	for _, c := range now.Status.Containers {
		if c.RestartCount != 1 || c.Reason != "SandboxLost" {
			t.Errorf("container %s: %d restarts, reason %q", c.Name, c.RestartCount, c.Reason)
		}
	}
	now = w.wait("job", "failed", phase("Failed"))
	if c := now.box("app"); c.ExitCode != nil || c.Reason != "SandboxLost" || c.RestartCount != 0 {
		t.Errorf("an end that nobody saw is told as %+v", c)
	}
	if now := w.running("other"); now.Status.SandboxPID != other.Status.SandboxPID {
		t.Errorf("another sandbox was replaced")
	}
	told := func() bool {
		out := w.ok("events", "web")
		return strings.Contains(out, "gone") || strings.Contains(out, "SandboxLost")
	}
	if !poll(told) {
		t.Errorf("the events say nothing of it:\n%s", w.ok("events", "web"))
	}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("no process: %d", pid)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// A sentry that answers nobody is told of, holds up no call, and is replaced
// if it goes on so.
func TestSentrySilent(t *testing.T) {
	w := start(t, "--resync", "1s")
	for _, name := range []string{"short", "long", "removed"} {
		w.declare(name, "terminationGracePeriodSeconds: 1\n"+app("sleep"))
	}
	w.declare("other", app("sleep"))
	was := map[string]sandbox{}
	for _, name := range []string{"short", "long", "removed", "other"} {
		was[name] = w.running(name)
	}
	for _, name := range []string{"short", "long", "removed"} {
		kill(t, was[name].Status.SandboxPID, syscall.SIGSTOP)
	}
	unreachable := func(s sandbox) bool { return s.has("RuntimeUnreachable") }
	for _, name := range []string{"short", "long", "removed"} {
		w.wait(name, "unreachable", unreachable)
	}
	for _, args := range [][]string{{"get"}, {"get", "long", "-o", "json"}, {"describe", "long"}, {"events", "long"},
		{"logs", "long"}, {"plan"}, {"version"}} {
		w.within(5*time.Second, strings.Join(args, " "), func() { w.ok(args...) })
	}
	w.within(5*time.Second, "wait", func() {
		if r := w.run("wait", "long", "--for", "Stopped", "--timeout", "1s"); r.code != 1 {
			t.Errorf("wait: %+v", r)
		}
	})
	// Others are served meanwhile.
	w.declare("new", app("sleep"))
	w.running("new")

	kill(t, was["short"].Status.SandboxPID, syscall.SIGCONT)
	now := w.wait("short", "reachable", func(s sandbox) bool { return running(s) && !unreachable(s) })
	if now.Status.SandboxPID != was["short"].Status.SandboxPID || now.box("app").RestartCount != 0 {
		t.Errorf("one that answers again was replaced: %+v", now)
	}
	w.undeclare("removed")
	w.gone("removed")
	// Nobody knows that it is not well, so it is left alone until somebody says so.
	w.wait("long", "told of", func(s sandbox) bool {
		return len(s.Status.Conditions) == 1 && strings.Contains(s.Status.Conditions[0].Message, "was stopped by a signal")
	})
	w.ok("restart", "long")
	now = w.wait("long", "replaced", func(s sandbox) bool {
		return running(s) && s.Status.SandboxPID != was["long"].Status.SandboxPID && !unreachable(s)
	})
	if c := now.box("app"); c.RestartCount != 0 {
		t.Errorf("the replacement is told as %+v", now)
	}
	if now := w.running("other"); now.Status.SandboxPID != was["other"].Status.SandboxPID {
		t.Errorf("another sandbox was replaced")
	}
}
