package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each policy runs a container as often as it says and not once more.
func TestRestartPolicies(t *testing.T) {
	w := start(t)
	volume := "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "
	mount := "volumeMounts: [{name: v, mountPath: /v}]"
	for _, c := range []struct {
		name, policy, command string
		phase                 string
		runs                  int
	}{
		{"never-0", "Never", "count /v/never-0 then exit 0", "Succeeded", 1},
		{"never-3", "Never", "count /v/never-3 then exit 3", "Failed", 1},
		{"onfailure-0", "OnFailure", "count /v/onfailure-0 then exit 0", "Succeeded", 1},
		{"onfailure-3rd", "OnFailure", "succeed-at 3 /v/onfailure-3rd then exit 0", "Succeeded", 3},
		{"always-2nd", "Always", "succeed-at 2 /v/always-2nd then sleep", "Running", 2},
		{"always-0", "Always", "succeed-at 1 /v/always-0 then await /v/always-0 then exit 0 0.05", "", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			w.declare(c.name, quick+"restartPolicy: "+c.policy+"\n"+volume+box("app", c.command, mount))
			if c.phase == "" { // it never comes to rest
				w.wait(c.name, "restarted", func(s sandbox) bool { return s.box("app").RestartCount >= c.runs })
				return
			}
			s := w.wait(c.name, c.phase, func(s sandbox) bool {
				return s.Status.Phase == c.phase && (c.phase != "Running" || s.box("app").RestartCount == c.runs-1)
			})
			if n := s.box("app").RestartCount; n != c.runs-1 {
				t.Errorf("%d restarts", n)
			}
			w.saidTimes(c.name, "count", c.runs)
			b, err := os.ReadFile(filepath.Join(w.dir, "v", c.name))
			if n := strings.TrimSpace(string(b)); err != nil || n != fmt.Sprint(c.runs) {
				t.Errorf("it ran %s times, %v", n, err)
			}
			// An end for good leaves no process behind, and no restart of the
			// daemon changes it: that is TestEndsForGood.
		})
	}
}

// What has ended for good stays so over a daemon's restart; a changed manifest
// runs it anew.
func TestEndsForGood(t *testing.T) {
	w := start(t)
	spec := "restartPolicy: Never\n" + app("print once then exit 4")
	w.declare("job", spec)
	w.wait("job", "failed", phase("Failed"))
	if out := w.ok("wait", "job", "--for", "exit", "--timeout", patience.String()); out != "4\n" {
		t.Errorf("wait prints %q", out)
	}
	w.restart()
	s := w.wait("job", "failed", phase("Failed"))
	if !s.box("app").exited(4) {
		t.Errorf("it is %+v", s)
	}
	// The daemon may have gone before it was done with the sandbox's end.
	if !poll(func() bool { return !strings.Contains(w.ok("plan", "-o", "json"), `"sandbox"`) }) {
		t.Errorf("the plan is %s", w.ok("plan"))
	}
	if out := w.ok("logs", "job"); out != "once\n" {
		t.Errorf("the log is %q", out)
	}
	w.declare("job", "restartPolicy: Never\n"+app("print again then exit 0"))
	w.wait("job", "succeeded", phase("Succeeded"))
	w.said("job", "again")
}

// A job that is done is not run again by what is changed in place, whether the
// daemon sees it at once, after its restart or after a reboot; it is by a change
// of what it is.
func TestJobEditedInPlace(t *testing.T) {
	w := start(t)
	job := func(command string, more ...string) string {
		return "volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\nrestartPolicy: Never\n" + strings.Join(more, "\n") +
			"\ncontainers:\n- " + box("app", command, "volumeMounts: [{name: v, mountPath: /v}]", "resources: {limits: {memory: "+fmt.Sprint(64+len(more))+"Mi}}")
	}
	edited := func(when, manifest, times string, whileDown bool) {
		t.Helper()
		was := w.wait("job", "failed", phase("Failed"))
		if whileDown {
			w.kill()
		}
		w.declare("job", manifest)
		if whileDown {
			w.start()
		}
		s := w.wait("job", "failed", func(s sandbox) bool {
			return s.Status.Phase == "Failed" && s.Status.SpecHash != was.Status.SpecHash && s.box("app").exited(4)
		})
		if b, err := os.ReadFile(filepath.Join(w.dir, "v", "job")); err != nil || strings.TrimSpace(string(b)) != times {
			t.Errorf("%s: it ran %s times, not %s, %v: %+v", when, b, times, err, s)
		}
		if !poll(func() bool { return !strings.Contains(w.ok("plan", "-o", "json"), `"job"`) }) {
			t.Errorf("%s: there is something to do: %s", when, w.ok("plan"))
		}
	}
	const command = "count /v/job then exit 4"
	w.declare("job", job(command))
	edited("at once", job(command, "terminationGracePeriodSeconds: 7"), "1", false)
	edited("while no daemon ran", job(command, "restartBackoff: {max: 7s}", "terminationGracePeriodSeconds: 8"), "1", true)
	w.reboot()
	edited("after a reboot", job(command, "restartBackoff: {max: 8s}"), "1", false)
	edited("of its hostname", job(command, "hostname: other"), "2", false)
	edited("of its command, while no daemon ran", job("count /v/job then exit 4 0.01", "hostname: other"), "3", true)
}

// Beside siblings that run, who failed for good is named: by the sandbox, to who
// waits for it, and by those that depend on it, also after a daemon's restart.
func TestFailedForGood(t *testing.T) {
	w := start(t)
	w.declare("job", "restartPolicy: Never\ncontainers:\n- "+box("app", "sleep")+"\n- "+box("aid", "exit 4"))
	const says = `container "aid" ended with exit code 4, for good`
	for range 2 {
		s := w.wait("job", "failed in part", func(s sandbox) bool { return s.Status.Phase == "Running" && s.Status.Message == says })
		if s.Status.Ready || s.Status.Reason != "Error" {
			t.Errorf("it is %+v", s.Status)
		}
		if r := w.run("wait", "job", "--for", "ready", "--timeout", patience.String()); r.code != 1 || !strings.Contains(r.err, "job will not reach ready without a change: "+says) {
			t.Errorf("wait says %+v", r)
		}
		w.declare("web", app("sleep", "dependsOn: [job]"))
		w.wait("web", "waiting", waitsFor("DependencyNotReady", `waiting for "job" to be ready: it is Running (`+says+`)`))
		w.restart()
	}
}

// The first restart is immediate, then initial doubles to max, a tenth more or
// less, also over a daemon's restart.
func TestBackOff(t *testing.T) {
	w := start(t)
	// Each wait is to be seen: they are longer than a busy machine is blind.
	w.declare("web", "restartBackoff: {initial: 2s, max: 5s}\n"+app("exit 3"))
	for n, want := range []time.Duration{0, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if want == 0 {
			continue
		}
		s := w.wait("web", fmt.Sprintf("waiting for restart %d", n+1), func(s sandbox) bool {
			c := s.box("app")
			return c.RestartCount == n && c.exited(3) && c.NextStartAt != nil
		})
		c := s.box("app")
		wait := c.NextStartAt.Sub(*c.FinishedAt)
		if wait < want*9/10 || wait > want*11/10 {
			t.Errorf("restart %d comes after %s, not %s", n+1, wait, want)
		}
		if s.Status.Reason != "CrashLoopBackOff" || !strings.Contains(s.Status.Message, "exit code 3") {
			t.Errorf("it says %q, %q", s.Status.Reason, s.Status.Message)
		}
	}
	// What waits for an hour goes on waiting for it after a crash.
	w.declare("slow", "restartBackoff: {initial: 1h, max: 1h}\n"+app("exit 3"))
	waiting := func(s sandbox) bool {
		return s.box("app").RestartCount == 1 && s.box("app").NextStartAt != nil && s.Status.Reason == "CrashLoopBackOff"
	}
	was := w.wait("slow", "waiting", waiting)
	if out := w.ok("get", "slow"); !strings.Contains(out, "\nslow ") || !strings.Contains(out, " CrashLoopBackOff  ") {
		t.Errorf("get shows\n%s", out)
	}
	w.restart()
	now := w.wait("slow", "waiting", waiting)
	if !now.box("app").NextStartAt.Equal(*was.box("app").NextStartAt) || !now.box("app").exited(3) {
		t.Errorf("it waits until %s, not %s", now.box("app").NextStartAt, was.box("app").NextStartAt)
	}
}

// A container restarts inside its running sandbox; its siblings do not notice.
func TestRestartsWithoutSiblings(t *testing.T) {
	w := start(t)
	w.declare("web", quick+"containers:\n- "+box("one", "tick 0.05")+"\n- "+box("two", "exit 3 0.1")+"\n- "+box("three", "sleep"))
	was := w.running("web")
	now := w.wait("web", "restarted", func(s sandbox) bool { return s.box("two").RestartCount >= 4 })
	for _, name := range []string{"one", "three"} {
		a, b := was.box(name), now.box(name)
		if a.ID != b.ID || *a.GoferPID != *b.GoferPID || b.RestartCount != 0 || !a.StartedAt.Equal(*b.StartedAt) {
			t.Errorf("%s noticed: %+v became %+v", name, a, b)
		}
	}
	if was.Status.SandboxPID != now.Status.SandboxPID {
		t.Errorf("the sandbox was replaced")
	}
	if was.box("two").ID == now.box("two").ID {
		t.Errorf("an instance's ID came twice: %s", now.box("two").ID)
	}
	for i, line := range w.said("web/one", "tick 20") {
		if line != fmt.Sprintf("tick %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}
