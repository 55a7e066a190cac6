package test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inVolume mounts the world's own folder, in which the tests look on.
const inVolume = "volumeMounts: [{name: v, mountPath: /v}]"

// afterInit are a spec with two init containers and a container. Each counts
// its starts in a file of its name, and ends at once if what comes before it
// has not been done. The init containers wait for a file to end.
func afterInit(args string, more ...string) string {
	return strings.Join(append(more,
		"volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}, {name: made, emptyDir: {}}]",
		"initContainers:",
		"- "+box("make", "count /v/make then remove /made/first then print making then await /v/made then write /made/first x", inMade),
		"- "+box("fill", "count /v/fill then read /made/first then remove /made/second then await /v/filled then write /made/second x", inMade),
		"containers:",
		"- "+box("app", "count /v/app then read /made/second then "+args, inMade)), "\n")
}

const inMade = "volumeMounts: [{name: v, mountPath: /v}, {name: made, mountPath: /made}]"

// touch makes files in the world's own folder.
func (w *world) touch(names ...string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.dir, "v"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(w.dir, "v", name), nil, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// counted waits until containers have counted so far there, each in a file of
// its name.
func (w *world) counted(when string, names []string, want string) {
	w.t.Helper()
	var got string
	read := func() bool {
		var counts []string
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(w.dir, "v", name))
			if err != nil && !os.IsNotExist(err) {
				w.t.Fatal(err)
			}
			counts = append(counts, cmp.Or(strings.TrimSpace(string(b)), "0"))
		}
		got = strings.Join(counts, " ")
		return got == want
	}
	if !poll(read) {
		w.t.Fatalf("%s, %v have begun %s times, not %s", when, names, got, want)
	}
}

// began is counted for make, fill and app.
func (w *world) began(when string, want string) {
	w.t.Helper()
	w.counted(when, []string{"make", "fill", "app"}, want)
}

// initPhase waits until the table's phase is text.
func (w *world) initPhase(name, text string) sandbox {
	w.t.Helper()
	if !w.until(func() bool { return strings.Contains(w.run("get", name).out, " "+text+" ") }) {
		w.t.Fatalf("waiting for %s: %s", text, w.ok("get", name))
	}
	s, _ := w.get(name)
	return s
}

// Init containers run one after the other, each to success, before any
// container is started; and again in every new sandbox, and only then.
func TestInitContainers(t *testing.T) {
	w := start(t)
	w.declare("web", afterInit("sleep"))
	w.initPhase("web", "Init:0/2")
	w.said("web/make", "making")
	s := w.wait("web", "running its first one", func(s sandbox) bool { return s.box("make").Ready || s.box("make").State == "running" })
	if s.Status.Phase != "Pending" || s.Status.Reason != "Initializing" || s.Status.Ready || s.box("make").State != "running" ||
		s.box("fill").State != "created" || s.box("app").State != "created" || len(s.Status.Containers) != 1 || len(s.Status.Init) != 2 {
		t.Errorf("while the first one runs: %+v", s)
	}
	w.restart()
	w.initPhase("web", "Init:0/2")
	w.touch("made")
	s = w.initPhase("web", "Init:1/2")
	if c := s.box("make"); !c.exited(0) || !c.Ready {
		t.Errorf("the first one has ended as %+v", c)
	}
	w.touch("filled")
	w.running("web")
	w.began("first", "1 1 1")
	if out := w.ok("logs", "web"); strings.Contains(out, "making") || !strings.Contains(w.ok("logs", "web", "-c", "make"), "making") {
		t.Errorf("the container's log is %q", out)
	}
	if out := w.ok("describe", "web"); !strings.Contains(out, "Init containers:\n  make:\n") || !strings.Contains(out, "\nContainers:\n  app:\n") {
		t.Errorf("it is described as\n%s", out)
	}

	w.ok("restart", "web/app")
	w.running("web")
	w.began("after a restart of the container", "1 1 2")
	w.declare("web", afterInit("sleep 9999"))
	w.wait("web", "changed", func(s sandbox) bool { return running(s) && s.box("app").ID == "web.app.3" && s.box("app").Ready })
	w.began("after a change of the container", "1 1 3")
	w.restart()
	w.running("web")
	w.began("after a restart of the daemon", "1 1 3")
	if r := w.run("restart", "web/make"); r.code != 1 || !strings.Contains(r.err, "restart web as a whole") {
		t.Errorf("restarting an init container: %+v", r)
	}

	for i, again := range []struct {
		what string
		do   func(before sandbox)
	}{
		{"a restart of the sandbox", func(sandbox) { w.ok("restart", "web") }},
		{"the loss of the sandbox", func(s sandbox) { mustKill(t, s.Status.SandboxPID) }},
		{"a changed init container", func(sandbox) {
			w.declare("web", strings.Replace(afterInit("sleep 9999"), "making", "still making", 1))
		}},
		{"a change of the sandbox", func(sandbox) {
			w.declare("web", strings.Replace(afterInit("sleep 9999", "hostname: other"), "making", "still making", 1))
		}},
		{"a reboot", func(sandbox) { w.reboot() }},
	} {
		before := w.running("web")
		again.do(before)
		s := w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != before.Status.SandboxPID })
		w.began("after "+again.what, fmt.Sprintf("%d %d %d", i+2, i+2, i+4))
		if s.box("make").RestartCount != 0 || s.box("fill").StartedAt.Before(*s.box("make").FinishedAt) || s.box("app").StartedAt.Before(*s.box("fill").FinishedAt) {
			t.Errorf("after %s: %+v", again.what, s)
		}
	}
}

func mustKill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// One that fails is tried again with back-off; a corrected one goes ahead at
// once. Nothing is started before it has succeeded.
func TestInitContainerFails(t *testing.T) {
	w := start(t)
	spec := func(command, more string) string {
		return more + "\nvolumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\nrestartBackoff: {initial: 1h, max: 1h}\n" +
			"initContainers:\n- " + box("bad", command, inVolume) + "\ncontainers:\n- " + box("app", "count /v/app then sleep", inVolume)
	}
	w.declare("web", spec("count /v/bad then exit 3", "restartPolicy: OnFailure"))
	s := w.initPhase("web", "Init:CrashLoopBackOff")
	if c := s.box("bad"); c.RestartCount != 1 || !c.exited(3) || c.NextStartAt == nil || s.Status.Reason != "CrashLoopBackOff" || s.Status.Phase != "Pending" ||
		!strings.HasPrefix(s.Status.Message, "next try at ") || !strings.HasSuffix(s.Status.Message, `; init container "bad" ended with exit code 3`) {
		t.Errorf("in back-off: %+v", s)
	}
	w.counted("in back-off", []string{"bad", "app"}, "2 0")
	w.declare("web", spec("succeed-at 3 /v/bad", "restartPolicy: OnFailure"))
	w.running("web")
	w.counted("corrected", []string{"bad", "app"}, "3 1")

	w.declare("job", spec("count /v/job then exit 4", "restartPolicy: Never"))
	job := func(times string) {
		t.Helper()
		w.counted("failing for good", []string{"job"}, times)
		s := w.wait("job", "failed", func(s sandbox) bool { return s.Status.Phase == "Failed" && s.Status.SandboxPID == 0 })
		if s.Status.Reason != "Error" || !s.box("bad").exited(4) || s.box("app").StartedAt != nil || !strings.Contains(w.ok("get", "job"), "Init:Error") {
			t.Errorf("failed for good: %+v\n%s", s, w.ok("get", "job"))
		}
		if !poll(func() bool { return !strings.Contains(w.ok("plan", "-o", "json"), `"job"`) }) {
			t.Errorf("there is something to do: %s", w.ok("plan", "-o", "json"))
		}
	}
	job("1")
	w.restart()
	job("1")
	w.reboot()
	job("1")
	w.declare("job", spec("count /v/job then exit 4", "restartPolicy: Never\nterminationGracePeriodSeconds: 7"))
	job("1")
	w.declare("job", spec("count /v/job then exit 4", "restartPolicy: Never\nhostname: other"))
	job("2")

	w.declare("none", "initContainers: [{name: i, rootfs: {path: ROOT}, command: [/nothing]}]\n"+app("sleep"))
	w.initPhase("none", "Init:StartError")
	s = w.wait("none", "failed", phase("Failed")) // it is tried again and again
	if s.box("app").StartedAt != nil {
		t.Errorf("one that can't be started: %+v", s)
	}
}

// Every declared state can be reached while an init container runs, and left.
func TestStatesWhileInitializing(t *testing.T) {
	w := start(t)
	reach := func(state string) sandbox {
		t.Helper()
		w.declare("web", afterInit("sleep", "state: "+state))
		return w.wait("web", state, phase(state))
	}
	if s := reach("Created"); s.box("make").State != "created" {
		t.Errorf("created: %+v", s)
	}
	w.began("created", "0 0 0")
	w.declare("web", afterInit("sleep"))
	w.initPhase("web", "Init:0/2")
	w.said("web/make", "making")
	if s := reach("Paused"); s.box("make").State != "paused" {
		t.Errorf("paused: %+v", s)
	}
	w.declare("web", afterInit("sleep"))
	w.initPhase("web", "Init:0/2")
	w.declare("web", afterInit("sleep", "state: Suspended"))
	if s := w.suspended("web"); s.box("make").Reason != "Suspended" {
		t.Errorf("suspended: %+v", s)
	}
	w.reboot()
	w.suspended("web")
	w.declare("web", afterInit("sleep"))
	w.initPhase("web", "Init:0/2")
	w.began("restored", "1 0 0")
	w.touch("made")
	w.initPhase("web", "Init:1/2")
	w.began("restored", "1 1 0")
	if s := reach("Stopped"); s.box("fill").State != "stopped" || !s.box("make").exited(0) {
		t.Errorf("stopped: %+v", s)
	}
	w.began("stopped", "1 1 0")
	w.touch("filled")
	w.declare("web", afterInit("sleep"))
	w.running("web")
	w.began("after a stop", "2 2 1")
	w.declare("web", afterInit("sleep", "state: Suspended"))
	w.suspended("web")
	w.declare("web", afterInit("sleep"))
	s := w.running("web")
	w.began("restored", "2 2 1")
	if !s.box("make").Ready || !s.box("fill").Ready {
		t.Errorf("restored: %+v", s)
	}
	w.ok("kill", "web/app", "-s", "KILL")
	w.wait("web", "running again", func(s sandbox) bool { return running(s) && s.box("app").RestartCount == 1 })
	w.began("restored and restarted", "2 2 2")
}

// A score counts while its init container has not succeeded; a limit of one
// counts for the sandbox if it is more than all containers', and holds the one
// to it.
func TestInitContainersResources(t *testing.T) {
	w := start(t)
	spec := `
volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]
initContainers:
- ` + limited("low", "await /v/low", 100, inVolume, "oomScoreAdj: 100") + `
- ` + limited("high", "await /v/high", 200, inVolume, "oomScoreAdj: 500") + `
containers:
- ` + limited("app", "memory then sleep", 64, "oomScoreAdj: 300") + `
- ` + limited("aid", "sleep", 64)
	w.declare("web", spec)
	scored := func(want int) {
		t.Helper()
		w.wait("web", fmt.Sprintf("scored %d", want), func(s sandbox) bool {
			got, _ := score(s.Status.SandboxPID)
			return s.Status.OOMScoreAdj != nil && *s.Status.OOMScoreAdj == want && got == want
		})
	}
	w.initPhase("web", "Init:0/2")
	scored(100)
	w.touch("low")
	w.initPhase("web", "Init:1/2")
	scored(300)
	w.touch("high")
	w.running("web")
	scored(300)
	w.said("web/app", fmt.Sprintf("memory %d", 200<<20))

	w.declare("greedy", "restartPolicy: Never\ninitContainers:\n- "+limited("eats", "allocate 500 20 then print too much", 64)+
		"\ncontainers:\n- "+limited("app", "sleep", 200))
	s := w.wait("greedy", "ended", phase("Failed"))
	if c := s.box("eats"); c.Reason != "OOMKilled" || !strings.Contains(c.Message, "more than its limit of 64.0 MiB") || !strings.Contains(w.ok("get", "greedy"), "Init:OOMKilled") {
		t.Errorf("it was ended as %+v", c)
	}
}

// What is restored from another's checkpoint has its init containers behind it,
// as far as that one had.
func TestInitContainersRestoredFrom(t *testing.T) {
	w := start(t)
	w.declare("web", afterInit("sleep", "hostname: twin"))
	w.initPhase("web", "Init:0/2")
	w.said("web/make", "making")
	half, whole := filepath.Join(w.dir, "half"), filepath.Join(w.dir, "whole")
	w.ok("checkpoint", "web", "--image-path", half)
	w.touch("made", "filled")
	w.running("web")
	w.began("the origin", "1 1 1")
	w.ok("checkpoint", "web", "--image-path", whole)
	copyOf := func(name, image string) {
		t.Helper()
		// Their own emptyDir is empty: who were to begin anew would end at once.
		w.declare(name, afterInit("sleep", "hostname: twin", "restartPolicy: Never", "restoreFrom: "+image))
	}
	copyOf("after", whole)
	s := w.running("after")
	if !s.box("make").Ready || !s.box("fill").Ready || s.box("app").RestartCount != 0 {
		t.Errorf("restored: %+v", s)
	}
	w.began("restored with all behind it", "1 1 1")
	copyOf("amid", half)
	w.running("amid")
	w.began("restored while the first one ran", "1 2 2")
}
