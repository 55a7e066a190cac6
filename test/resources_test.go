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

// score is the OOM score of a process as the kernel has it.
func score(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Scores: the sentry and its children have the lowest of the containers', each
// gofer its container's; kept so, and changed in place.
func TestOOMScores(t *testing.T) {
	w := start(t, "--resync", "1s")
	spec := func(one, two int) string {
		return "containers:\n- " + box("one", "spawn 3 then sleep", fmt.Sprintf("oomScoreAdj: %d", one)) + "\n- " + box("two", "sleep", fmt.Sprintf("oomScoreAdj: %d", two))
	}
	w.declare("web", spec(200, 700))
	s := w.wait("web", "scored", func(s sandbox) bool { return running(s) && s.Status.OOMScoreAdj != nil && *s.Status.OOMScoreAdj == 200 })
	pid := s.Status.SandboxPID
	w.said("web/one", "spawned")
	hold := func(one, two string) bool {
		gofers := map[int]string{*s.box("one").GoferPID: one, *s.box("two").GoferPID: two}
		all := processesIn(w.parent + "/web\n")
		for _, p := range all {
			want := min(one, two) // of three digits each
			if g, ok := gofers[p]; ok {
				want = g
			}
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p)); err == nil && strings.TrimSpace(string(b)) != want {
				return false
			}
		}
		return len(all) > 3
	}
	if !w.until(func() bool { return hold("200", "700") }) {
		for _, p := range processesIn(w.parent + "/web\n") {
			t.Errorf("score %s: %s", score(t, p), describe(p))
		}
	}
	w.declare("web", spec(900, 800))
	now := w.wait("web", "scored anew", func(s sandbox) bool { return running(s) && *s.Status.OOMScoreAdj == 800 })
	if now.Status.SandboxPID != pid || now.box("one").ID != s.box("one").ID {
		t.Errorf("it was made anew for it: %+v", now)
	}
	if !w.until(func() bool { return hold("900", "800") }) {
		t.Errorf("the scores are not 900 and 800")
	}
	// What somebody else writes is put right.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
	if !w.until(func() bool { return score(t, pid) == "800" }) {
		t.Errorf("the sentry's score stays %s", score(t, pid))
	}
}

// A score that the kernel refuses is a condition, and the sandbox runs. Where
// the kernel grants it, as to a root with CAP_SYS_RESOURCE, it is in force.
func TestNegativeOOMScore(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep", "oomScoreAdj: -500"))
	s := w.wait("web", "running, and denied or granted", func(s sandbox) bool {
		return running(s) && (s.has("OOMScoreDenied") || *s.Status.OOMScoreAdj == -500)
	})
	if !mayLowerScores(t) {
		if c, _ := s.condition("OOMScoreDenied"); !strings.Contains(c.Message, "-500") {
			t.Errorf("the condition is %+v", c)
		}
	} else if s.has("OOMScoreDenied") || score(t, s.Status.SandboxPID) != "-500" {
		t.Errorf("it is %+v", s)
	}
	w.declare("web", "containers:\n- "+box("app", "sleep", "oomScoreAdj: 100"))
	now := w.wait("web", "scored", func(s sandbox) bool { return running(s) && *s.Status.OOMScoreAdj == 100 && !s.has("OOMScoreDenied") })
	if now.Status.SandboxPID != s.Status.SandboxPID || now.box("app").RestartCount != 0 {
		t.Errorf("a score cost a process: %+v", now)
	}
}

// mayLowerScores tries it on this process.
func mayLowerScores(t *testing.T) bool {
	t.Helper()
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	if os.WriteFile("/proc/self/oom_score_adj", []byte("-500"), 0) != nil {
		return false
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", own, 0); err != nil {
		t.Fatal(err)
	}
	return true
}
