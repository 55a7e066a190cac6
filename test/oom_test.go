package test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// limited is a container with a memory limit in MiB.
func limited(name, command string, mib int, more ...string) string {
	return box(name, command, append(more, fmt.Sprintf("resources: {limits: {memory: %dMi}}", mib))...)
}

// A container that takes more than its own limit is ended for it inside the
// sandbox, whether or not the sandbox as a whole has a limit, is named, and
// comes back. Its siblings, and the sandbox, notice nothing.
func TestOOMKilledInside(t *testing.T) {
	w := start(t)
	w.declare("all", "containers:\n- "+limited("greedy", "count /d/n then allocate 500 20 then sleep", 64, "volumeMounts: [{name: d, mountPath: /d}]")+
		"\n- "+limited("modest", "tick 1", 200)+"\nvolumes: [{name: d, emptyDir: {}}]")
	w.declare("some", "restartPolicy: Never\ncontainers:\n- "+limited("greedy", "allocate 500 20 then print too much then sleep", 64)+"\n- "+box("modest", "allocate 100 then tick 1"))
	was := map[string]sandbox{}
	for _, name := range []string{"all", "some"} {
		was[name] = w.wait(name, "begun", func(s sandbox) bool { return s.box("modest").State == "running" && s.box("greedy").ID != "" })
	}

	some := w.wait("some", "ended in part", func(s sandbox) bool { return s.box("greedy").State == "stopped" })
	c := some.box("greedy")
	if c.Reason != "OOMKilled" || c.ExitCode == nil || *c.ExitCode != 137 || !strings.Contains(c.Message, `container "greedy" used`) ||
		!strings.Contains(c.Message, "more than its limit of 64.0 MiB") {
		t.Errorf("it is told as %+v", c)
	}
	checkSize(t, c.Message, 64, 64+80)
	if strings.Contains(w.ok("logs", "some/greedy"), "too much") {
		t.Error("it got all that it wanted")
	}
	all := w.wait("all", "running again", func(s sandbox) bool { return running(s) && s.box("greedy").RestartCount > 0 })
	if c := all.box("greedy"); c.Reason != "OOMKilled" || !strings.Contains(c.Message, "limit of 64.0 MiB") {
		t.Errorf("it runs again and is told as %+v", c)
	}
	for name, now := range map[string]sandbox{"all": all, "some": some} {
		if now.Status.SandboxPID != was[name].Status.SandboxPID || now.box("modest").ID != was[name].box("modest").ID || now.box("modest").State != "running" {
			t.Errorf("%s: others suffered: %+v", name, now)
		}
		told := func() bool {
			out := w.ok("events", name, "-o", "json")
			return strings.Contains(out, `"OOMKilled"`) && strings.Contains(out, "more than its limit of 64.0 MiB")
		}
		if !poll(told) {
			t.Errorf("the events say nothing of it:\n%s", w.ok("events", name))
		}
	}
}

// checkSize holds the first size in a message to bounds in MiB.
func checkSize(t *testing.T, message string, from, to float64) {
	t.Helper()
	words := strings.Fields(message)
	for i, word := range words {
		if mib, err := strconv.ParseFloat(word, 64); err == nil && i+1 < len(words) && strings.HasPrefix(words[i+1], "MiB") {
			if mib < from || mib > to {
				t.Errorf("%v MiB is not between %v and %v in %q", mib, from, to, message)
			}
			return
		}
	}
	t.Errorf("no size in %q", message)
}

// A container in memory of its own file systems is over its limit too.
func TestOOMKilledForFilesInMemory(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+limited("app", "fill /dev/shm/x 60 then sleep", 32)+"\n- "+limited("other", "fill /tmp/x then remove /tmp/x then sleep", 200,
		"volumeMounts: [{name: d, mountPath: /tmp}]")+"\nvolumes: [{name: d, emptyDir: {sizeLimit: 16Mi}}]")
	s := w.wait("web", "ended in part", func(s sandbox) bool { return s.box("app").State == "stopped" })
	if c := s.box("app"); c.Reason != "OOMKilled" || s.box("other").State != "running" {
		t.Errorf("it is told as %+v", s)
	}
}

// What a container writes to its root, or maps of the host's files, is no
// memory of its own: only what it takes besides counts.
func TestFilesOnDiskAreNoMemory(t *testing.T) {
	onDisk(t)
	w := start(t, "--resync", "300ms")
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+limited("app", "fill /x 96 then map /x then fill /d/x 96 then map /d/x then allocate 300 10 then sleep", 48,
		"volumeMounts: [{name: d, mountPath: /d}]")+"\n- "+limited("other", "sleep", 64)+
		"\nvolumes: [{name: d, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]")
	s := w.wait("web", "ended in part", func(s sandbox) bool { return s.box("app").State == "stopped" })
	if c := s.box("app"); c.Reason != "OOMKilled" {
		t.Errorf("it is told as %+v", c)
	}
	checkSize(t, s.box("app").Message, 48, 48+90) // with one of the files it were 96 more
	if out := w.ok("logs", "web/app"); strings.Count(out, "mapped") != 2 {
		t.Errorf("it ended too early: %s", out)
	}
}

// A container that is over its limit is found also where its sandbox's memory
// grows no more, because what the container takes was the cache of files. v2
// tells of a cgroup at its limit as well.
func TestOOMKilledBehindCache(t *testing.T) {
	onDisk(t)
	w := start(t)
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+limited("app", "fill /d/x 400 then print filled then allocate 500 10 then sleep", 64,
		"volumeMounts: [{name: d, mountPath: /d}]")+"\n- "+limited("modest", "tick 1", 64)+
		"\nvolumes: [{name: d, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]")
	s := w.wait("web", "ended in part", func(s sandbox) bool { return s.box("app").State == "stopped" })
	if c := s.box("app"); c.Reason != "OOMKilled" || s.box("modest").State != "running" {
		t.Errorf("it is told as %+v", s)
	}
	if out := w.ok("logs", "web/app"); !strings.Contains(out, "filled") {
		t.Errorf("it ended too early: %s", out)
	}
}

// onDisk skips a test that needs files whose cache the kernel can take back.
func onDisk(t *testing.T) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(base, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		t.Skip("/tmp is in memory, where files are no cache that could be taken back: this needs a disk")
	}
}

// Where the kernel is faster, because no daemon runs or by chance, the sandbox
// is made anew, and its containers say why: by whom, and at what size. An end
// of another kind is not taken for it afterwards.
func TestOOMKilledByTheKernel(t *testing.T) {
	w := start(t)
	const waits = "await /d/go then remove /d/go then allocate 500 then print too much then sleep"
	volume := "volumeMounts: [{name: d, mountPath: /d}]"
	w.declare("web", "containers:\n- "+limited("greedy", waits, 64, volume)+"\n- "+limited("modest", "sleep", 32)+
		"\nvolumes: [{name: d, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]")
	w.declare("other", app("sleep"))
	was, other := w.running("web"), w.running("other")
	ended := awaitEnd(t, was.Status.SandboxPID)
	w.kill()
	if err := os.WriteFile(w.dir+"/v/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ended()
	w.start()
	now := w.wait("web", "running anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != was.Status.SandboxPID })
	for _, c := range now.Status.Containers {
		if c.Reason != "OOMKilled" || c.RestartCount != 1 || !strings.Contains(c.Message, "the sandbox reached its limit of 192.0 MiB (peak 19") ||
			!strings.Contains(c.Message, "the kernel killed") {
			t.Errorf("container %s is told as %+v", c.Name, c)
		}
		if !strings.Contains(c.Message, fmt.Sprintf("its sentry (process %d)", was.Status.SandboxPID)) {
			t.Errorf("container %s does not say who was killed: %s", c.Name, c.Message)
		}
	}
	if !poll(func() bool { return strings.Count(w.ok("events", "web", "-o", "json"), `"reason": "OOMKilled"`) == 2 }) {
		t.Errorf("the events tell of each container's end once:\n%s", w.ok("events", "web"))
	}
	kill(t, now.Status.SandboxPID, unix.SIGKILL)
	again := w.wait("web", "running anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != now.Status.SandboxPID })
	for _, c := range again.Status.Containers {
		if c.Reason != "SandboxLost" {
			t.Errorf("an end from outside is told as %+v", c)
		}
	}
	if now := w.running("other"); now.Status.SandboxPID != other.Status.SandboxPID {
		t.Errorf("another sandbox suffered")
	}
}

// Where the kernel kills a process of an application's, that container alone
// ends, and says why.
func TestOOMKilledStub(t *testing.T) {
	w := start(t)
	volume := "volumeMounts: [{name: d, mountPath: /d}]"
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+limited("greedy", "await /d/go then allocate 500 then print too much then sleep", 64, volume)+"\n- "+limited("modest", "tick 1", 32)+
		"\nvolumes: [{name: d, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]")
	was := w.running("web")
	// The application's share of the sandbox's processes, in the kernel's eyes:
	// those that are there once it runs and were not before.
	w.said("web/modest", "tick 3")
	w.kill()
	marked := 0
	for _, pid := range processesIn(w.parent + "/web\n") {
		if stubOf(pid, was.Status.SandboxPID) {
			marked++
			// The kernel picks whoever has the highest score.
			if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if marked == 0 {
		t.Fatal("the sandbox has no stubs")
	}
	if err := os.WriteFile(w.dir+"/v/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !poll(func() bool { return kills(t, was.Status.Cgroup) > 0 }) {
		t.Fatal("the kernel killed nobody")
	}
	w.start()
	s := w.wait("web", "ended in part", func(s sandbox) bool { return s.box("greedy").State == "stopped" })
	if c := s.box("greedy"); c.Reason != "OOMKilled" || c.ExitCode == nil || *c.ExitCode != 137 || c.Message == "" {
		t.Errorf("it is told as %+v", c)
	}
	// What was left of it may have been over its limit, and killed for that.
	// The kernel's log, which alone says who that was, may have left it out.
	told := func() bool {
		out := w.ok("events", "web", "-o", "json")
		return strings.Contains(out, "and the kernel killed process ") || strings.Contains(out, "and the kernel killed one of its processes")
	}
	if !poll(told) {
		t.Errorf("the events do not say whom the kernel killed:\n%s", w.ok("events", "web"))
	}
	if s.Status.SandboxPID != was.Status.SandboxPID || s.box("modest").ID != was.box("modest").ID {
		t.Errorf("others suffered: %+v", s)
	}
}

// stubOf says whether a process is the sentry's and not the sentry itself.
func stubOf(pid, sentry int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return false
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent == sentry || parent > 1 && stubOf(parent, sentry)
}

// kills is how often the kernel has killed in a cgroup.
func kills(t *testing.T, cgroup string) int {
	t.Helper()
	for _, file := range []string{"memory" + cgroup + "/memory.oom_control", cgroup + "/memory.events"} {
		b, err := os.ReadFile("/sys/fs/cgroup/" + file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
				count, err := strconv.Atoi(strings.TrimSpace(n))
				if err != nil {
					t.Fatal(err)
				}
				return count
			}
		}
	}
	t.Fatal("the cgroup counts no kills")
	return 0
}

// A limit that is lowered below what is in use kills nobody: it waits, and says
// so for as long.
func TestLimitLoweredBelowUse(t *testing.T) {
	w := start(t)
	spec := func(mib int) string {
		return "containers:\n- " + limited("app", "allocate 80 then print done then sleep", mib)
	}
	w.declare("web", spec(160))
	was := w.running("web")
	w.said("web", "done")
	w.declare("web", spec(48))
	now := w.wait("web", "denied", func(s sandbox) bool { return running(s) && s.has("LimitsDenied") })
	if c, _ := now.condition("LimitsDenied"); c.Reason != "InUse" && c.Reason != "WriteRefused" || !strings.Contains(c.Message, "in use") && !strings.Contains(c.Message, "48.0 MiB") {
		t.Errorf("the condition is %+v", c)
	}
	w.declare("web", spec(120))
	now = w.wait("web", "limited anew", func(s sandbox) bool { return running(s) && !s.has("LimitsDenied") })
	if now.box("app").ID != was.box("app").ID {
		t.Errorf("it was made anew for it: %+v", now)
	}
}

// What a container has the sandbox's kernel remember (names, attributes, what is in pipes,
// whom to wake) is memory of that kernel's own, and counts for the sandbox as a
// whole: where all containers have a limit, it ends for that, and nothing else.
func TestOOMOfTheSandboxsKernel(t *testing.T) {
	w := start(t)
	w.declare("other", app("sleep"))
	other := w.running("other")
	commands := map[string]string{
		"links":   "write /dev/shm/x x then links /dev/shm/x 10000000",
		"xattrs":  "xattrs /dev/shm/x 1000000",
		"pipes":   "pipes 1000000",
		"epolls":  "epolls 1000000",
		"watches": "watches /dev/shm 1000000",
	}
	for name, command := range commands { // one after the other: each takes a processor for a while
		w.declare(name, "restartPolicy: Never\ncontainers:\n- "+limited("app", command+" then print survived then sleep", 48))
		s := w.wait(name, "ended", func(s sandbox) bool { return s.box("app").State == "stopped" })
		if c := s.box("app"); c.Reason != "OOMKilled" {
			t.Errorf("%s: it is told as %+v; it said %q", name, c, w.ok("logs", name))
		}
	}
	if now := w.running("other"); now.Status.SandboxPID != other.Status.SandboxPID || now.box("app").RestartCount != 0 {
		t.Errorf("another sandbox suffered: %+v", now)
	}
}
