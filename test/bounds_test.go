package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
