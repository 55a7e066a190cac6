package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// score is the OOM score of a process as the kernel has it; false where the
// process has ended.
func score(pid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	n, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil && convErr == nil
}

func setScore(t *testing.T, pid, score int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0); err != nil {
		t.Fatal(err)
	}
}

// original is the score of a sandbox whose containers declare none: the
// daemon's, unless that one is protected.
func original(t *testing.T) int {
	t.Helper()
	own, ok := score(os.Getpid())
	if !ok {
		t.Fatal("this process has no score")
	}
	return max(own, 0)
}

// declared are the scores of a sandbox's containers; nil: none is declared.
type declared map[string]*int

// spec is the rest of a manifest with these containers, all of which run
// command.
func (d declared) spec(command string) string {
	spec := "terminationGracePeriodSeconds: 5\nvolumes: [{name: d, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\ncontainers:"
	for _, name := range slices.Sorted(maps.Keys(d)) {
		more := []string{"volumeMounts: [{name: d, mountPath: /d}]"}
		if d[name] != nil {
			more = append(more, fmt.Sprintf("oomScoreAdj: %d", *d[name]))
		}
		spec += "\n- " + box(name, command, more...)
	}
	return spec
}

// sandbox is the score that the sentry and all below it should have.
func (d declared) sandbox(t *testing.T) int {
	lowest := 1001
	for _, s := range d {
		if s != nil {
			lowest = min(lowest, *s)
		}
	}
	if lowest == 1001 {
		return original(t)
	}
	return lowest
}

// wrong reads the score of every process in a sandbox's cgroup and says which
// are not as declared. A process is told by its command line, not by what the
// daemon says of it. An error of the test's own is told like one of theirs.
func (w *world) wrong(name string, d declared) (wrong []string) {
	w.t.Helper()
	read := 0
	for _, pid := range processesIn(w.parent + "/" + name + "\n") {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		got, alive := score(pid)
		if err != nil || !alive {
			continue // ended since it was listed
		}
		read++
		want := d.sandbox(w.t)
		for container, own := range d {
			for _, kind := range []string{"gofer", "keeper"} {
				if !strings.HasPrefix(string(b), fmt.Sprintf("sandboxer-%s\x00%s.%s.", kind, name, container)) &&
					!strings.HasPrefix(string(b), fmt.Sprintf("sandboxer-%s %s.%s.", kind, name, container)) {
					continue
				}
				if want = original(w.t); own != nil {
					want = *own
				}
			}
		}
		if got != want {
			wrong = append(wrong, fmt.Sprintf("score %d, not %d: %s", got, want, describe(pid)))
		}
	}
	if read < 1+2*len(d) {
		wrong = append(wrong, fmt.Sprintf("only %d processes are in the cgroup", read))
	}
	return wrong
}

// scored waits until a sandbox runs and every score is as declared.
func (w *world) scored(name string, d declared) sandbox {
	w.t.Helper()
	s := w.running(name)
	if !poll(func() bool { return len(w.wrong(name, d)) == 0 }) {
		w.t.Fatalf("with %v declared:\n%s", d, strings.Join(w.wrong(name, d), "\n"))
	}
	return s
}

// The sentry and all below it have the lowest of the containers' scores, each
// container's gofer and keeper its own; 0 is a score, and none declared is the
// one to begin with. Processes that come later have theirs from the start.
// Scores are changed in place, and what somebody else writes is put back and
// told of.
func TestOOMScores(t *testing.T) {
	w := start(t, "--resync", "1s")
	const command = "spawn 2 then await /d/go then spawn 3 then print more then sleep"
	d := declared{"one": new(200), "two": new(700), "three": nil}
	w.declare("web", d.spec(command))
	was := w.scored("web", d)
	if err := os.WriteFile(w.dir+"/v/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name := range d {
		w.said("web/"+name, "more")
	}
	if wrong := w.wrong("web", d); len(wrong) > 0 {
		t.Errorf("processes that came later:\n%s", strings.Join(wrong, "\n"))
	}
	for _, d = range []declared{
		{"one": new(900), "two": new(800), "three": nil},
		{"one": nil, "two": new(800), "three": new(0)},
		{"one": nil, "two": nil, "three": nil},
		{"one": new(1000), "two": new(300), "three": new(1000)},
	} {
		w.declare("web", d.spec(command))
		now := w.scored("web", d)
		want := d.sandbox(t)
		w.wait("web", "told so", func(s sandbox) bool { return s.Status.OOMScoreAdj != nil && *s.Status.OOMScoreAdj == want })
		if now.Status.SandboxPID != was.Status.SandboxPID || now.box("one").ID != was.box("one").ID {
			t.Errorf("it was made anew for it: %+v", now)
		}
	}
	drift := []int{was.Status.SandboxPID, w.helpers("web", "gofer")[0], w.helpers("web", "keeper")[0]}
	stub := 0
	for _, pid := range processesIn(w.parent + "/web\n") {
		if stubOf(pid, was.Status.SandboxPID) {
			stub = pid
			drift = append(drift, pid)
			break
		}
	}
	drifted := func() (list []string) {
		for _, e := range w.events("web", "OOMScoreSet") {
			if strings.Contains(e.Message, "had the OOM score 999 and not ") {
				list = append(list, e.Message)
			}
		}
		return list
	}
	for _, pid := range drift {
		before := len(drifted())
		setScore(t, pid, 999)
		w.scored("web", d)
		told := func() bool { // once it was put back; those that share a stub's memory have its score, too
			after := drifted()[before:]
			return len(after) > 0 && (pid == stub || strings.HasPrefix(after[0], fmt.Sprintf("process %d of ", pid)))
		}
		if !poll(told) {
			t.Errorf("the events say nothing of it:\n%s", w.ok("events", "web"))
		}
	}
}

// A score that the kernel refuses is a condition, the nearest that it permits
// is in force, and all else goes on, other scores too. Where the kernel grants
// it, as to a root with CAP_SYS_RESOURCE, it is in force.
func TestNegativeOOMScore(t *testing.T) {
	w := start(t, "--resync", "1s")
	d := declared{"app": new(-500), "other": new(300)}
	w.declare("web", d.spec("sleep"))
	if !mayLowerScores(t) {
		s := w.wait("web", "denied", func(s sandbox) bool { return running(s) && s.has("OOMScoreDenied") })
		if c, _ := s.condition("OOMScoreDenied"); !strings.Contains(c.Message, "-500") || !strings.Contains(c.Message, "CAP_SYS_RESOURCE") {
			t.Errorf("the condition is %+v", c)
		}
		permitted := declared{"app": new(0), "other": new(300)} // what the test itself has
		w.scored("web", permitted)
		// Nobody waits for the next try of what is denied.
		for _, pid := range []int{s.Status.SandboxPID, w.helpers("web", "gofer")[0], w.helpers("web", "gofer")[1]} {
			setScore(t, pid, 999)
			w.scored("web", permitted)
		}
		if !w.running("web").has("OOMScoreDenied") {
			t.Error("the condition has gone, and its cause has not")
		}
	} else if w.scored("web", d).has("OOMScoreDenied") {
		t.Error("what was granted is told as denied")
	}
	was := w.running("web")
	d["app"] = new(100)
	w.declare("web", d.spec("sleep"))
	w.scored("web", d)
	now := w.wait("web", "granted", func(s sandbox) bool { return running(s) && !s.has("OOMScoreDenied") })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").RestartCount != 0 {
		t.Errorf("a score cost a process: %+v", now)
	}
}

// Containers of one sandbox come and go, and declare this score and that, from
// many sides at once (gvisor #238): whenever there is nothing left to do, every
// score is right.
func TestOOMScoreRace(t *testing.T) {
	const rounds, sides, changes = 6, 5, 4
	w := start(t)
	var mu sync.Mutex
	d := declared{"base": nil}
	change := func(name string, turn *rand.Rand) {
		mu.Lock()
		defer mu.Unlock()
		if _, there := d[name]; there && turn.IntN(3) == 0 {
			delete(d, name)
		} else {
			d[name] = []*int{nil, new(0), new(turn.IntN(1001)), new(turn.IntN(1001))}[turn.IntN(4)]
		}
		w.declare("web", d.spec("spawn 2 then sleep"))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range rounds {
		var wg sync.WaitGroup
		for side := range sides {
			wg.Go(func() {
				turn := rand.New(rand.NewPCG(seed, uint64(round*sides+side)))
				for range changes {
					change(fmt.Sprintf("c%d", side), turn)
				}
			})
		}
		wg.Wait()
		// Against the files themselves: the daemon may have read them before.
		quiet := func() bool { return !strings.Contains(w.ok("plan", w.manifests, "-o", "json"), `"sandbox"`) }
		if !poll(func() bool { s, _ := w.get("web"); return running(s) && len(s.Status.Containers) == len(d) && quiet() }) {
			t.Fatalf("round %d does not come to an end: %s", round, w.ok("plan"))
		}
		if wrong := w.wrong("web", d); len(wrong) > 0 {
			t.Errorf("round %d, with %v declared:\n%s", round, d, strings.Join(wrong, "\n"))
		}
	}
	if out := w.ok("events", "web"); strings.Contains(out, "ActionFailed") {
		t.Errorf("some of it failed:\n%s", out)
	}
}

// mayLowerScores tries it on a process that is for nothing else: what others begin
// meanwhile has this one's score.
func mayLowerScores(t *testing.T) bool {
	t.Helper()
	other := exec.Command(filepath.Join(rootfs, "w"), "sleep")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait() // it was killed
	}()
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", other.Process.Pid), []byte("-500"), 0) == nil
}
