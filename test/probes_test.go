package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shared is a volume of the host's, DIR/v, that a test can put files into, and
// seen its mount.
const (
	shared = "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\n"
	seen   = "volumeMounts: [{name: v, mountPath: /v}]"
)

// remove undoes touch.
func (w *world) remove(file string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.dir, "v", file)); err != nil {
		w.t.Fatal(err)
	}
}

// event is one of events -o json.
type event struct {
	Container, Type, Reason, Action, Message string
}

// events are a sandbox's, oldest first, that have one of reasons.
func (w *world) events(name string, reasons ...string) (list []event) {
	w.t.Helper()
	var all struct{ Items []event }
	w.json(&all, "events", name, "-o", "json")
	for _, e := range all.Items {
		if slices.Contains(reasons, e.Reason) {
			list = append(list, e)
		}
	}
	return list
}

// ready waits for a container to be ready, or not.
func (w *world) ready(name, container string, want bool) sandbox {
	w.t.Helper()
	return w.wait(name, fmt.Sprintf("ready: %v", want), func(s sandbox) bool {
		return s.box(container).Ready == want && s.Status.Ready == want && s.box(container).State == "running"
	})
}

// A liveness probe that fails restarts its container alone, and says why.
func TestLiveness(t *testing.T) {
	for name, means := range map[string]string{
		"exec": "exec: {command: [/w, read, /v/alive]}",
		"http": "httpGet: {port: 80, path: /health}",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.touch("alive")
			w.declare("web", "terminationGracePeriodSeconds: 5\n"+shared+"containers:\n- "+
				box("app", "serve 80 /v/alive then sleep", seen, "livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 2, "+means+"}")+"\n- "+
				box("other", "sleep"))
			before := w.running("web")
			w.remove("alive")
			w.wait("web", "failing", func(s sandbox) bool { return s.box("app").Reason == "Unhealthy" })
			after := w.wait("web", "restarted", func(s sandbox) bool { return s.box("app").RestartCount > 0 && s.box("app").State == "running" })
			w.touch("alive")
			if a, b := before.box("other"), after.box("other"); a.ID != b.ID || b.RestartCount != 0 || before.Status.SandboxPID != after.Status.SandboxPID {
				t.Errorf("the sibling notices: %+v became %+v", a, b)
			}
			failed := w.events("web", "Unhealthy")
			// It may have been asked once before it could answer.
			last := slices.IndexFunc(failed, func(e event) bool { return strings.Contains(e.Message, "(2 of 2)") })
			if last < 1 || last > 2 || !strings.HasPrefix(failed[last-1].Message, `the liveness probe of container "app" failed (1 of 2): `) ||
				failed[last-1].Type != "Warning" {
				t.Errorf("the events are %+v", failed)
			}
			stops := w.events("web", "Signalled")
			if len(stops) == 0 || stops[0].Container != "app" || !strings.HasPrefix(stops[0].Message, `container "app" is unhealthy: its liveness probe failed: `) {
				t.Errorf("it was stopped since %+v", stops)
			}
			w.wait("web", "well", func(s sandbox) bool {
				return s.Status.Ready && s.box("app").Reason == "Unhealthy" && s.box("app").Message != ""
			})
		})
	}
}

// Under Never a container that a probe has ended stays so.
func TestLivenessNever(t *testing.T) {
	w := start(t)
	w.declare("job", "restartPolicy: Never\n"+quick+"containers:\n- "+
		box("app", "exit-on-term 4 then sleep", "livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, tcpSocket: {port: 81}}"))
	s := w.wait("job", "failed", phase("Failed"))
	// It may be signalled before it takes signals.
	if c := s.box("app"); !c.exited(4) && !c.exited(128+15) || c.Reason != "Unhealthy" || !strings.Contains(c.Message, "refused") {
		t.Errorf("it ended as %+v", c)
	}
}

// Readiness shows and restarts nothing; events come at changes and not at each
// probe.
func TestReadiness(t *testing.T) {
	w := start(t)
	w.declare("web", shared+"containers:\n- "+box("app", "sleep", seen, "readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 2, successThreshold: 2, exec: {command: [/w, read, /v/ready]}}"))
	s := w.ready("web", "app", false)
	if c := s.box("app"); s.Status.Phase != "Running" || c.Reason != "NotReady" || !strings.Contains(s.Status.Message, "readiness probe") {
		t.Errorf("it is %+v", s.Status)
	}
	if r := w.run("wait", "web", "--for", "ready", "--timeout", "10ms"); r.code != 1 {
		t.Errorf("it is waited for with %d", r.code)
	}
	w.wait("web", "seen to fail", func(s sandbox) bool { return strings.Contains(s.box("app").Message, "no such file") })
	w.touch("ready")
	w.ok("wait", "web", "--for", "ready", "--timeout", "60s")
	s = w.ready("web", "app", true)
	if c := s.box("app"); c.Reason != "" || c.RestartCount != 0 {
		t.Errorf("it is %+v", c)
	}
	w.remove("ready")
	w.ready("web", "app", false)
	w.touch("ready")
	s = w.ready("web", "app", true)
	if c := s.box("app"); c.RestartCount != 0 {
		t.Errorf("it was restarted: %+v", c)
	}
	if good := w.events("web", "Ready"); len(good) != 2 {
		t.Errorf("it became ready twice, and events say %+v", good)
	}
	if bad := w.events("web", "Unhealthy"); len(bad) != 3 && len(bad) != 4 {
		t.Errorf("of failures events say %+v", bad)
	}
}

// A startup probe holds the others back, and restarts what does not start.
func TestStartup(t *testing.T) {
	w := start(t)
	w.declare("slow", shared+"containers:\n- "+box("app", "sleep", seen,
		"startupProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1000, exec: {command: [/w, read, /v/up]}}",
		"livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, exec: {command: [/w, read, /v/up]}}",
		"readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, exec: {command: [/w, count, /v/asked]}}"))
	w.wait("slow", "not started", func(s sandbox) bool {
		return s.box("app").Reason == "NotStarted" && strings.Contains(s.box("app").Message, "no such file") && !s.Status.Ready
	})
	if _, err := os.Stat(filepath.Join(w.dir, "v", "asked")); err == nil {
		t.Error("the readiness probe did not wait")
	}
	w.touch("up")
	if s := w.ready("slow", "app", true); s.box("app").RestartCount != 0 {
		t.Errorf("the liveness probe did not wait: %+v", s.box("app"))
	}
	w.declare("never", quick+"containers:\n- "+box("app", "sleep", "startupProbe: {periodSeconds: 1, failureThreshold: 2, tcpSocket: {port: 81}}"))
	s := w.wait("never", "restarted", func(s sandbox) bool { return s.box("app").RestartCount > 0 })
	if events := w.events("never", "Signalled"); len(events) == 0 || !strings.Contains(events[0].Message, "its startup probe failed: ") {
		t.Errorf("%+v, %+v", s, events)
	}
}

// Ports of the host are asked where a sandbox has its network.
func TestProbesOnHostNetwork(t *testing.T) {
	w := start(t)
	port := freePort(t)
	w.declare("web", "network: {mode: host}\ncontainers:\n- "+box("app", "serve "+port+" then sleep",
		"readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, httpGet: {port: "+port+"}}")+"\n- "+
		box("same", "sleep", "readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, tcpSocket: {port: "+port+", host: localhost}}"))
	w.ready("web", "app", true)
	w.ready("web", "same", true)
}

// atWork counts the processes of a sandbox that have not ended: a container's
// first process need not reap those that it did not start.
func (w *world) atWork(name string) (n int) {
	w.t.Helper()
	for _, p := range w.processes(name) {
		if !strings.HasPrefix(p.Command[0], "[") {
			n++
		}
	}
	return n
}

// A command that takes too long has failed, and is killed with all that it has
// started.
func TestProbeTimeout(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep",
		"readinessProbe: {periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1, exec: {command: [/w, leave-signals, then, sleep]}}"))
	w.wait("web", "late", func(s sandbox) bool { return strings.Contains(s.box("app").Message, "no answer within 1s") })
	w.declare("web", "containers:\n- "+box("app", "sleep", "readinessProbe: {timeoutSeconds: 60, exec: {command: [/w, print, well]}}"))
	w.ready("web", "app", true)
	if !poll(func() bool { return w.atWork("web") == 1 }) {
		t.Errorf("%+v are left", w.processes("web"))
	}
}

// A changed probe touches no process, and what it has to say counts at once.
func TestProbesChangeInPlace(t *testing.T) {
	w := start(t)
	spec := func(probe string) string { return "containers:\n- " + box("app", "serve 80 then sleep", probe) }
	w.declare("web", spec("readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, tcpSocket: {port: 81}}"))
	before := w.wait("web", "seen to fail", func(s sandbox) bool { return strings.Contains(s.box("app").Message, "refused") })
	w.declare("web", spec("readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, tcpSocket: {port: 80}}"))
	after := w.ready("web", "app", true)
	if a, b := before.box("app"), after.box("app"); a.ID != b.ID || *a.GoferPID != *b.GoferPID || b.RestartCount != 0 {
		t.Errorf("%+v became %+v", a, b)
	}
	w.declare("web", spec("readinessProbe: {timeoutSeconds: 60, tcpSocket: {port: 81}}"))
	w.wait("web", "refused again", func(s sandbox) bool { return strings.Contains(s.box("app").Message, "refused") })
	w.declare("web", "containers:\n- "+box("app", "serve 80 then sleep"))
	s := w.wait("web", "well", func(s sandbox) bool { return s.Status.Ready && s.box("app").Reason == "" })
	if c := s.box("app"); c.ID != before.box("app").ID || c.RestartCount != 0 {
		t.Errorf("without a probe it is %+v", c)
	}
}

// What is known stays known over a daemon's restart: a container that was ready
// is so, and one that has started need not start again.
func TestProbesOverRestart(t *testing.T) {
	w := start(t)
	w.touch("up")
	w.declare("web", shared+"containers:\n- "+box("app", "serve 80 /v/up then sleep", seen,
		"startupProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, exec: {command: [/w, count, /v/starts]}}",
		"readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 2, httpGet: {port: 80}}"))
	before := w.ready("web", "app", true)
	w.restart()
	if s, _ := w.get("web"); !s.Status.Ready {
		t.Errorf("the new daemon says %+v", s)
	}
	w.remove("up")
	after := w.ready("web", "app", false)
	if a, b := before.box("app"), after.box("app"); a.ID != b.ID || b.RestartCount != 0 {
		t.Errorf("%+v became %+v", a, b)
	}
	if b, err := os.ReadFile(filepath.Join(w.dir, "v", "starts")); err != nil || string(b) != "1\n" {
		t.Errorf("it was started %q times, %v", b, err)
	}
}

// Probes rest while a sandbox is frozen or on disk, are in nobody's way, and go
// on afterwards.
func TestProbesRest(t *testing.T) {
	w := start(t)
	spec := shared + "containers:\n- " + box("app", "serve 80 then sleep", seen,
		"livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, exec: {command: [/w, count, /v/n, then, sleep, '0.7']}}",
		"readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, httpGet: {port: 80}}")
	w.declare("web", spec)
	before := w.ready("web", "app", true)
	troubles := func() []event { return w.events("web", "Unhealthy", "ProbeError", "ActionFailed") }
	early := len(troubles()) // it may have been asked before it listened
	for _, state := range []string{"Paused", "Suspended", "Paused", "Suspended"} {
		asked := w.content("n")
		if !poll(func() bool { return w.content("n") != asked }) {
			t.Fatal("nothing is asked any more")
		}
		w.declare("web", "state: "+state+"\n"+spec)
		w.wait("web", state, phase(state))
		time.Sleep(1100 * time.Millisecond) // more than a period: what would be asked now fails
		w.declare("web", spec)
		s := w.ready("web", "app", true)
		if c := s.box("app"); c.ID != before.box("app").ID || c.RestartCount != 0 {
			t.Fatalf("after %s it is %+v", state, c)
		}
	}
	if failed := troubles(); len(failed) > early {
		t.Errorf("events say %+v", failed)
	}
	w.ok("checkpoint", "web", "--image-path", filepath.Join(w.dir, "image"))
}

// Who depends on a sandbox waits until probes say that it is ready.
func TestDependsOnReadiness(t *testing.T) {
	w := start(t)
	w.declare("db", shared+"containers:\n- "+box("app", "sleep", seen, "readinessProbe: {periodSeconds: 1, timeoutSeconds: 60, exec: {command: [/w, read, /v/ready]}}"))
	w.declare("web", app("sleep", "dependsOn: [db]"))
	w.ready("db", "app", false)
	w.wait("web", "waiting", func(s sandbox) bool { return s.has("DependencyNotReady") && s.Status.SandboxPID == 0 })
	w.touch("ready")
	if s := w.running("web"); s.has("DependencyNotReady") {
		t.Errorf("it is %+v", s.Status)
	}
	if s, _ := w.get("db"); !s.Status.Ready {
		t.Errorf("it did not wait for %+v", s.Status)
	}
}
