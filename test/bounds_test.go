package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A keeper has no capability, can get none, and may only wait and end.
func TestKeepersHaveNoRights(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	none := strings.Repeat("0", 16)
	for _, want := range []string{"CapInh:\t" + none, "CapPrm:\t" + none, "CapEff:\t" + none, "CapBnd:\t" + none, "CapAmb:\t" + none, "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !poll(func() bool { return strings.Contains(w.keeperStatus("web"), want+"\n") }) {
			t.Errorf("a keeper lacks %q:\n%s", want, w.keeperStatus("web"))
		}
	}
}

// keeperStatus is what the kernel tells of a sandbox's only keeper.
func (w *world) keeperStatus(name string) string {
	w.t.Helper()
	keepers := w.helpers(name, "keeper")
	if len(keepers) != 1 {
		return fmt.Sprintf("the keepers are %v", keepers)
	}
	return statusFile(keepers[0])
}

// statusFile is what the kernel tells of a process; "" where it is gone.
func statusFile(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return string(b)
}

// What root or a service manager has moved to other cgroups ends with its
// sandbox all the same, however that one ends.
func TestWhatWasMovedEnds(t *testing.T) {
	w := start(t)
	ends := map[string]func(name string){
		"removed": w.undeclare,
		"stopped": func(name string) { w.declare(name, "state: Stopped\n"+app("sleep")) },
		"changed": func(name string) { w.declare(name, "hostname: another\n"+app("sleep")) },
		"late": func(name string) { // by a daemon that has only the record to go by
			w.restart()
			w.undeclare(name)
		},
	}
	moved := map[string][]int{} // pidfds: a pid may be another's soon
	for name := range ends {
		w.declare(name, app("sleep"))
	}
	for name := range ends {
		w.running(name)
		for _, pid := range processesIn(w.parent + "/" + name) {
			fd, err := unix.PidfdOpen(pid, 0)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			moved[name] = append(moved[name], fd)
			w.moveOut(pid)
		}
	}
	for _, name := range []string{"removed", "stopped", "changed", "late"} {
		ends[name](name)
	}
	for name, fds := range moved {
		if !poll(func() bool {
			for _, fd := range fds {
				ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
				if n, err := unix.Poll(ended, 0); n == 0 || err != nil {
					return false
				}
			}
			return true
		}) {
			t.Errorf("of %s something is left", name)
			for _, fd := range fds {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended
			}
		}
	}
	w.running("changed")
}

// moveOut moves a process to the top of every cgroup hierarchy.
func (w *world) moveOut(pid int) {
	w.t.Helper()
	for _, top := range hierarchies() {
		err := os.WriteFile(filepath.Join(top, "cgroup.procs"), fmt.Append(nil, pid), 0)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			w.t.Fatal(err)
		}
	}
}

// Thousands of documents that are rejected hold up none that is accepted: in
// one file, of one name, without names, or in a file each. How long it takes is
// BenchmarkScanBesideRejected's; work that grows with the square of their number
// takes minutes.
func TestRejectedDocumentsHoldNobodyUp(t *testing.T) {
	if resyncOnly {
		return // all of them are read five times a second then
	}
	w := start(t)
	flood := func(file string, n int, document func(i int) string) {
		var b strings.Builder
		for i := range n {
			b.WriteString("---\n" + document(i) + "\n")
		}
		w.put(file, b.String())
	}
	flood("names.yaml", 20_000, func(i int) string { return fmt.Sprintf("metadata: {name: x%d}", i) })
	flood("same.yaml", 5000, func(int) string { return "metadata: {name: same}" })
	flood("nameless.yaml", 5000, func(i int) string { return fmt.Sprintf("x: %d", i) })
	if err := os.Mkdir(filepath.Join(w.manifests, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		w.put(fmt.Sprintf("folder/%d.yaml", i), fmt.Sprintf("metadata: {name: y%d}", i))
	}
	w.wait("x19999", "rejected", phase("Invalid"))
	for _, name := range []string{"late", "later"} {
		w.declare(name, "state: Stopped\n"+app("sleep"))
		w.wait(name, "stopped", phase("Stopped"))
	}
	if !strings.Contains(w.ok("events"), "more at once") {
		t.Errorf("the events do not sum up what is too much")
	}
	for _, file := range []string{"folder", "names.yaml", "same.yaml", "nameless.yaml"} {
		if err := os.RemoveAll(filepath.Join(w.manifests, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// A fork bomb gets EAGAIN, from a bound that follows from its memory limit; its
// sibling and the sandbox go on, and the host has few processes for it.
func TestForkBomb(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("bomb", "forks 300 keep then sleep", "resources: {limits: {memory: 256Mi}}")+
		"\n- "+box("other", "sleep", "resources: {limits: {memory: 256Mi}}")+
		"\n- "+box("root", "forks 300 keep then sleep", "resources: {limits: {memory: 256Mi}}, securityContext: {capabilities: {add: [ALL]}}"))
	was := w.running("web")
	for _, name := range []string{"web/bomb", "web/root"} {
		if got := w.said(name, "forked")[0]; got != "forked 63 resource temporarily unavailable" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if n := len(processesIn(w.parent + "/web")); n > 500 {
		t.Errorf("the host has %d processes for it", n)
	}
	w.ok("exec", "web/other", "--", "/w", "forks", "10")
	w.same(was, w.running("web"), "other")
}

// limits.pids counts threads, and is put in force in place, also by a daemon that
// was started later and on a sandbox that was suspended.
func TestPidsLimit(t *testing.T) {
	w := start(t)
	spec := func(pids int) string {
		return "containers:\n- " + box("app", "sleep", fmt.Sprintf("resources: {limits: {pids: %d}}", pids))
	}
	forks := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(w.ok("exec", "web", "--", "/w", "forks", "100")); !strings.HasPrefix(got, "forked ") || strings.HasSuffix(got, "all") != (want == "all") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	w.declare("web", spec(60))
	was := w.running("web")
	forks("some")
	if r := w.run("exec", "web", "--", "/w", "threads", "100"); r.code == 0 || !strings.Contains(r.err, "errno=11") {
		t.Errorf("a hundred threads: %+v", r)
	}
	w.restart()
	forks("some")
	limit := func(pids int) {
		t.Helper()
		n := len(w.events("web", "LimitsSet"))
		w.declare("web", spec(pids))
		if !w.until(func() bool { return len(w.events("web", "LimitsSet")) > n }) {
			t.Fatalf("the limit did not become %d", pids)
		}
	}
	limit(2000)
	forks("all")
	w.same(was, w.running("web"), "app")
	limit(60)
	w.declare("web", "state: Suspended\n"+spec(60))
	w.suspended("web")
	w.declare("web", spec(60))
	w.running("web")
	forks("some")
}
