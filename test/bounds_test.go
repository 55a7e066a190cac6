package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	moved := map[string][]int{}
	for name := range ends {
		w.declare(name, app("sleep"))
	}
	for name := range ends {
		w.running(name)
		for _, pid := range processesIn(w.parent + "/" + name) {
			moved[name] = append(moved[name], pid)
			w.moveOut(pid)
		}
	}
	for _, name := range []string{"removed", "stopped", "changed", "late"} {
		ends[name](name)
	}
	for name, pids := range moved {
		if !poll(func() bool {
			for _, pid := range pids {
				if s := statusFile(pid); s != "" && !strings.Contains(s, "State:\tZ") {
					return false
				}
			}
			return true
		}) {
			t.Errorf("of %s something is left", name)
			killAll(pids)
		}
	}
	w.running("changed")
}

// moveOut moves a process to the top of every cgroup hierarchy.
func (w *world) moveOut(pid int) {
	w.t.Helper()
	for _, top := range hierarchies() {
		err := os.WriteFile(filepath.Join(top, "cgroup.procs"), fmt.Append(nil, pid), 0)
		if err != nil && err.(*os.PathError).Err != syscall.ESRCH {
			w.t.Fatal(err)
		}
	}
}

// Thousands of documents that are rejected hold up none that is accepted: in
// one file, of one name, without names, or in a file each.
func TestRejectedDocumentsHoldNobodyUp(t *testing.T) {
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
		began := time.Now()
		w.declare(name, "state: Stopped\n"+app("sleep"))
		w.wait(name, "stopped", phase("Stopped"))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("an accepted document was seen after %s", took)
		}
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
