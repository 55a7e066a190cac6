package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// churning is a container that works on files all the time and ends at the
// first byte that is wrong: on a volume of one file, which asks the gofer at
// each opening, and on a directory.
func (w *world) churning(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "churn-"+name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(dir+".file", nil, 0o666); err != nil {
		w.t.Fatal(err)
	}
	return box(name, "churn /file /dir", fmt.Sprintf("volumeMounts: [{name: %s-file, mountPath: /file}, {name: %s-dir, mountPath: /dir}]", name, name))
}

// churn is the spec of a sandbox with such containers.
func (w *world) churn(names ...string) string {
	volumes, containers := []string{"volumes:"}, []string{"containers:"}
	for _, n := range names {
		volumes = append(volumes, fmt.Sprintf("- {name: %s-file, hostPath: {path: DIR/churn-%s.file}}", n, n),
			fmt.Sprintf("- {name: %s-dir, hostPath: {path: DIR/churn-%s}}", n, n))
		containers = append(containers, "- "+w.churning(n))
	}
	return strings.Join(append(append([]string{"restartPolicy: Never"}, volumes...), containers...), "\n")
}

// helpers are the gofers, or keepers, of a sandbox that live.
func (w *world) helpers(name, kind string) (pids []int) {
	w.t.Helper()
	for _, pid := range processesIn(w.parent + "/" + name) {
		if line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil && strings.HasPrefix(string(line), "sandboxer-"+kind) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// keepersStay counts the keepers that were told to stay: before that each
// waits to be told, and ends with the daemon.
func (w *world) keepersStay(name string) (n int) {
	w.t.Helper()
	for _, pid := range w.helpers(name, "keeper") {
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		number, _, _ := strings.Cut(string(call), " ")
		early := []string{fmt.Sprint(syscall.SYS_READ), fmt.Sprint(syscall.SYS_PRCTL), fmt.Sprint(syscall.SYS_CAPSET), "running\n"}
		if err == nil && !slices.Contains(early, number) {
			n++
		}
	}
	return n
}

// keptBy waits until a sandbox has so many gofers, and a keeper for each that was told
// to stay: from then on the daemon may go.
func (w *world) keptBy(name string, n int) {
	w.t.Helper()
	if !poll(func() bool { return len(w.helpers(name, "gofer")) == n && w.keepersStay(name) == n }) {
		s, _ := w.get(name)
		for _, c := range s.Status.Containers {
			w.t.Logf("%+v\n%s", c, w.ok("logs", name+"/"+c.Name))
		}
		w.t.Fatalf("%s has the gofers %v and keepers %v", name, w.helpers(name, "gofer"), w.helpers(name, "keeper"))
	}
}

// killAll kills processes of which some may have ended.
func killAll(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// poll looks again and again whether ok holds, for what no watch tells.
func poll(ok func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// descriptors counts what the daemon has open.
func (w *world) descriptors() int {
	w.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.daemon.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(fds)
}

// replaced waits until a container has its n-th new gofer.
func (w *world) replaced(name, container string, n int) sandbox {
	w.t.Helper()
	return w.wait(name, fmt.Sprintf("served by new gofer %d", n), func(s sandbox) bool {
		c := s.box(container)
		return c.GoferRestarts >= n && c.GoferPID != nil || c.State == "stopped"
	})
}

// same holds a container to being the process that it was.
func (w *world) same(before, now sandbox, container string) {
	w.t.Helper()
	b, n := before.box(container), now.box(container)
	if now.Status.SandboxPID != before.Status.SandboxPID || n.ID != b.ID || n.RestartCount != 0 || n.State != "running" {
		w.t.Errorf("container %s is not what it was: %+v became %+v\n%s", container, b, n, w.ok("logs", now.Name+"/"+container))
	}
}

// unharmed waits until sandboxes are in the phase that they were in, and holds
// each to being the same, its containers included.
func (w *world) unharmed(was map[string]sandbox) {
	w.t.Helper()
	for name, s := range was {
		now := w.wait(name, "as before", phase(s.Status.Phase))
		if now.Status.SandboxPID != s.Status.SandboxPID {
			w.t.Errorf("%s was replaced", name)
		}
		for i, c := range now.Status.Containers {
			if c.ID != s.Status.Containers[i].ID || c.RestartCount != 0 {
				w.t.Errorf("%s was made anew: %+v", name, c)
			}
		}
	}
}

// A container outlives its gofers, however many die, with not one byte wrong.
func TestGoferDies(t *testing.T) {
	const kills, settled = 30, 5
	w := start(t)
	w.declare("web", w.churn("one", "two"))
	was := w.running("web")
	w.said("web/one", "churned")
	killAll([]int{*was.box("one").GoferPID})
	now := w.replaced("web", "one", 1)
	before := w.descriptors()
	for n := 2; n <= kills; n++ {
		kill(t, *now.box("one").GoferPID, syscall.SIGKILL)
		now = w.replaced("web", "one", n)
		if n <= settled {
			before = max(before, w.descriptors())
		}
	}
	w.same(was, now, "one")
	w.same(was, now, "two")
	if n := now.box("two").GoferRestarts; n != 0 {
		t.Errorf("the sibling's gofer was replaced %d times", n)
	}
	lines := len(w.said("web/one", "churned"))
	w.saidTimes("web/one", "churned", lines+1) // it goes on

	// Connections of this test come and go, and a gofer may have been shown before all
	// of it was watched: what counts is whether something was left of each of them.
	most := before + (kills-settled)/2
	if !poll(func() bool { return w.descriptors() <= most }) {
		t.Errorf("the daemon had %d descriptors open and has %d", before, w.descriptors())
	}
	// Each has one, and what each mounts first another.
	w.keptBy("web", 4)
	told := func() int { return strings.Count(w.ok("events", "web"), "GoferReplaced") }
	if !poll(func() bool { return told() >= kills }) {
		t.Errorf("%d of %d replacements are told:\n%s", told(), kills, w.ok("events", "web"))
	}
}

// All gofers of a sandbox at once, its keepers too, and replacements while they
// take over.
func TestGofersDieTogether(t *testing.T) {
	w := start(t)
	w.declare("web", w.churn("one", "two"))
	was := w.running("web")
	for n := range 10 {
		killAll(w.helpers("web", "gofer"))
		if n%2 == 0 {
			killAll(w.helpers("web", "keeper"))
		}
		// Whatever comes up is killed again.
		for end := time.Now().Add(100 * time.Millisecond); n%3 == 0 && time.Now().Before(end); {
			killAll(w.helpers("web", "gofer"))
		}
		w.replaced("web", "one", n+1)
		w.replaced("web", "two", n+1)
	}
	if !poll(func() bool { return len(w.helpers("web", "keeper")) == 4 }) {
		t.Errorf("the keepers are %v", w.helpers("web", "keeper"))
	}
	now := w.running("web")
	for _, c := range []string{"one", "two"} {
		w.same(was, now, c)
		lines := len(w.said("web/"+c, "churned"))
		w.saidTimes("web/"+c, "churned", lines+1)
	}
}

// The keeper does for a container, while no daemon runs, what the daemon does.
func TestGoferDiesWithoutDaemon(t *testing.T) {
	w := start(t)
	w.declare("web", w.churn("one"))
	was := w.running("web")
	for n := range 3 {
		w.said("web/one", "churned")
		w.keptBy("web", 2)
		w.kill()
		killAll(w.helpers("web", "gofer"))
		w.start()
		now := w.replaced("web", "one", n+1)
		w.same(was, now, "one")
		lines := len(w.said("web/one", "churned"))
		w.saidTimes("web/one", "churned", lines+1)
	}
}

// Only the loss of the daemon, the keeper and the gofer together costs a
// container, and only that one.
func TestAllHoldersDie(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("one", "sleep")+"\n- "+box("two", "sleep"))
	was := w.running("web")
	w.kill()
	killAll([]int{*was.box("one").GoferPID})
	for _, pid := range w.helpers("web", "keeper") {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(line), was.box("one").ID) {
			killAll([]int{pid})
		}
	}
	w.start()
	now := w.wait("web", "running with another container", func(s sandbox) bool { return running(s) && s.box("one").RestartCount == 1 })
	if c := now.box("one"); c.Reason != "GoferLost" {
		t.Errorf("it is told as %+v", c)
	}
	w.same(was, now, "two")
}

// A storm kills gofers, keepers and the daemon at random for as long as
// SANDBOXER_STORM says, never all that hold a socket at once.
func TestGoferStorm(t *testing.T) {
	length := 5 * time.Second
	if d, err := time.ParseDuration(os.Getenv("SANDBOXER_STORM")); err == nil {
		length = d
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	w := start(t)
	names := []string{"one", "two", "three"}
	w.declare("web", w.churn(names...))
	was := w.running("web")
	kept := func() { w.keptBy("web", 2*len(names)) } // by daemon and keepers
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end); kills++ {
		gofers := w.helpers("web", "gofer")
		switch n := random.IntN(20); {
		case n == 0:
			kept()
			w.kill()
			killAll(gofers[:random.IntN(len(gofers)+1)])
			w.start()
			kept()
		case n < 4:
			killAll(w.helpers("web", "keeper"))
		case n < 6:
			killAll(gofers)
		case len(gofers) > 0:
			killAll(gofers[random.IntN(len(gofers)):][:1])
		}
		time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
	}
	killAll(w.helpers("web", "gofer")) // a slow host may have come to none
	replaced := 0
	now := w.wait("web", "served by other gofers", func(s sandbox) bool {
		replaced = 0
		served := true
		for _, c := range names {
			replaced += s.box(c).GoferRestarts
			served = served && (s.box(c).GoferRestarts > 0 && s.box(c).GoferPID != nil || s.box(c).State == "stopped")
		}
		return served
	})
	kept()
	for _, c := range names {
		w.same(was, now, c)
		lines := len(w.said("web/"+c, "churned"))
		w.saidTimes("web/"+c, "churned", lines+1)
	}
	t.Logf("%d kills, %d gofers replaced", kills, replaced)
}

// A frozen sandbox's gofers are replaced too, and it goes on where it was.
func TestGoferDiesWhilePaused(t *testing.T) {
	w := start(t)
	spec := w.churn("one")
	w.declare("web", spec)
	was := w.running("web")
	w.said("web/one", "churned")
	for n := range 3 {
		w.declare("web", "state: Paused\n"+spec)
		killAll(w.helpers("web", "gofer"))
		w.wait("web", "paused", phase("Paused"))
		w.replaced("web", "one", n+1)
		w.declare("web", spec)
		now := w.running("web")
		w.same(was, now, "one")
		lines := len(w.said("web/one", "churned"))
		w.saidTimes("web/one", "churned", lines+1)
	}
}

// A gofer that is stopped, and would answer nobody for ever, is replaced: at
// once where it is a child of the daemon, else by the resync.
func TestGoferStopped(t *testing.T) {
	w := start(t, "--resync", "1s")
	w.declare("web", w.churn("one"))
	was := w.running("web")
	for n := range 2 {
		w.said("web/one", "churned")
		pid := *w.running("web").box("one").GoferPID
		kill(t, pid, syscall.SIGSTOP)
		now := w.replaced("web", "one", n+1)
		w.same(was, now, "one")
		if *now.box("one").GoferPID == pid {
			t.Errorf("process %d is served by still", pid)
		}
		lines := len(w.said("web/one", "churned"))
		w.saidTimes("web/one", "churned", lines+1)
		w.kill()
		w.start() // the gofers are nobody's children from here on
	}
	if !poll(func() bool { return strings.Contains(w.ok("events", "web"), "answered nobody any more") }) {
		t.Errorf("the events are:\n%s", w.ok("events", "web"))
	}
}

// Whatever dies while a sandbox is made, in the end it runs as declared.
func TestGoferDiesAtStart(t *testing.T) {
	w := start(t)
	for n := range 10 {
		name := fmt.Sprintf("web%d", n)
		w.declare(name, "restartBackoff: {initial: 100ms, max: 1s}\n"+app("sleep"))
		for range 3 {
			if !poll(func() bool {
				pids := w.helpers(name, "gofer")
				killAll(pids)
				return len(pids) > 0
			}) {
				t.Fatalf("%s has no gofer: %+v", name, w.list())
			}
		}
		w.running(name)
	}
}

// What a container says last is kept when it ends while no daemon runs.
func TestLastWordsWithoutDaemon(t *testing.T) {
	w := start(t)
	w.declare("job", "restartPolicy: Never\nvolumes: [{name: v, hostPath: {path: DIR}}]\ncontainers:\n- "+
		box("app", "await /v/go then print farewell then exit 3", "volumeMounts: [{name: v, mountPath: /v}]"))
	s := w.running("job")
	gone := awaitEnd(t, *s.box("app").GoferPID)
	w.kill()
	if err := os.WriteFile(filepath.Join(w.dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	gone() // its gofer ends with it
	w.start()
	if s := w.wait("job", "failed", phase("Failed")); !s.box("app").exited(3) {
		t.Errorf("it ended as %+v", s.box("app"))
	}
	if out := w.ok("logs", "job"); !strings.Contains(out, "farewell") {
		t.Errorf("its log is %q", out)
	}
}
