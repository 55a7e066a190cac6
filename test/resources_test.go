package test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Applications see their own memory and CPUs, and not the host's; gVisor shows
// no fewer than two CPUs, where the host has as many.
func TestLimitsShowInside(t *testing.T) {
	w := start(t)
	spec := func(cpu, memory string) string {
		return "containers:\n- " + box("app", "memory then nproc then print done then sleep", fmt.Sprintf("resources: {limits: {cpu: %s, memory: %s}}", cpu, memory))
	}
	w.declare("small", spec("500m", "128Mi"))
	w.declare("two", "containers:\n- "+box("app", "memory then print done then sleep", "resources: {limits: {memory: 64Mi}}")+"\n- "+
		box("other", "sleep", "resources: {limits: {memory: 32Mi}}"))
	w.running("small")
	w.running("two")
	if got := strings.Join(w.said("small", "done"), " "); got != fmt.Sprintf("memory %d nproc %d done", 128<<20, min(2, runtime.NumCPU())) {
		t.Errorf("inside there is %s", got)
	}
	if got := strings.Join(w.said("two/app", "done"), " "); got != fmt.Sprintf("memory %d done", 96<<20) {
		t.Errorf("inside there is %s", got)
	}
	// A new limit is put in force in place.
	was := w.running("small")
	limit := func() string {
		for _, file := range []string{"memory/%s/memory.limit_in_bytes", "%s/memory.max"} {
			if b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", fmt.Sprintf(file, was.Status.Cgroup))); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
		t.Fatal("the cgroup has no memory limit")
		return ""
	}
	before := limit()
	w.declare("small", spec("500m", "256Mi"))
	if !w.until(func() bool { return limit() != before }) {
		t.Errorf("the limit stays %s", before)
	}
	now := w.running("small")
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").ID != was.box("app").ID {
		t.Errorf("it was made anew for it: %+v", now)
	}
}

// Who takes more memory than there is, is ended for it; nobody else suffers.
func TestMemoryLimitIsEnforced(t *testing.T) {
	w := start(t)
	w.declare("greedy", "restartPolicy: Never\ncontainers:\n- "+
		box("app", "allocate 400 then print too much then sleep", "resources: {limits: {memory: 64Mi}}"))
	w.declare("other", app("sleep"))
	other := w.running("other")
	s := w.wait("greedy", "ended", phase("Failed"))
	if strings.Contains(w.ok("logs", "greedy"), "too much") {
		t.Errorf("it got all that it wanted")
	}
	if c := s.box("app"); c.Reason != "OOMKilled" || c.Message == "" {
		t.Errorf("it is told as %+v", c)
	}
	if now := w.running("other"); now.Status.SandboxPID != other.Status.SandboxPID {
		t.Errorf("another sandbox suffered")
	}
}

// A limits.cpu that a sibling without one keeps from being in force is said to be so
// wherever the sandbox is looked at.
func TestLimitInVainIsNoted(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep", "resources: {limits: {cpu: 1}}")+"\n- "+box("aid", "sleep"))
	w.running("web")
	const want = `spec.containers[0].resources.limits.cpu: is not in force as long as container "aid" has no limits.cpu`
	for _, command := range []string{"plan", "describe web", "validate " + w.manifests} {
		r := w.run(strings.Fields(command)...)
		if said := strings.Join(strings.Fields(r.out+r.err), " "); r.code != 0 || !strings.Contains(said, want) {
			t.Errorf("%s says %q", command, said)
		}
	}
}
