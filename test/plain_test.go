package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What go build makes does the same as what make builds, which has another entry
// point, a client and a gofer of their own, and filters that were built before:
// the same commands say the same, and a container is given the same.
func TestPlainBuild(t *testing.T) {
	w := newWorld(t)
	seen := map[string]string{}
	for _, binary := range []string{sandboxer, builtPlainly(t)} {
		w.binary = binary
		w.start()
		w.declare("web", "containers:\n- "+box("app", "id then env then hostname then pwd then interfaces then print done then sleep"))
		s := w.running("web")
		note := func(what, text string) {
			t.Helper()
			if before, ok := seen[what]; ok && before != text {
				t.Errorf("%s is\n%s\nand built plainly\n%s", what, before, text)
			}
			seen[what] = text
		}
		if !poll(func() bool { return strings.HasPrefix(w.ok("plan"), "Nothing to do") }) {
			t.Fatalf("there is still to do: %s", w.ok("plan"))
		}
		saw := w.said("web", "done")
		slices.Sort(saw) // gVisor gives the environment in any order
		note("what it sees", strings.Join(saw, "\n"))
		for _, command := range []string{"exec web -- /w print here then exit 7", "exec web -- /nothing", "plan", "get nobody", "exec", "nonsense"} {
			r := w.run(strings.Fields(command)...)
			note("sandboxer "+command, fmt.Sprintf("%d %s %s", r.code, r.out, r.err))
		}
		for _, set := range []string{"CapBnd", "CapEff", "CapPrm", "CapInh", "Seccomp"} {
			for who, pid := range map[string]int{"the sentry": s.Status.SandboxPID, "the gofer": *s.box("app").GoferPID} {
				note(set+" of "+who, fmt.Sprint(statusLine(t, fmt.Sprintf("/proc/%d", pid), set)))
			}
		}
		w.undeclare("web")
		w.gone("web")
		w.stop()
	}
	w.start()
}
