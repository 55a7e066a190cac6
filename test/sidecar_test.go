package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// gVisor runs programs of its own names from a folder beside the one that it is
// part of. Whoever can write there is not to decide what a sandbox is.
func TestForeignProgramsAreNotRun(t *testing.T) {
	w := newWorld(t, "--resync", "1s")
	bin := filepath.Join(w.dir, "bin")
	w.binary = filepath.Join(bin, "sandboxer")
	foreign := filepath.Join(bin, "gvisor-bin")
	if err := os.MkdirAll(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(sandboxer, w.binary); err != nil {
		if out, err := exec.Command("cp", sandboxer, w.binary).CombinedOutput(); err != nil {
			t.Fatalf("copying the program: %v: %s", err, out)
		}
	}
	ran := filepath.Join(w.dir, "ran")
	for _, name := range []string{"gvisor_sentry", "gvisor_sentry_plugin_stack", "gvisor-sentry-prewarmer", "checkpointgofer", "runsc-metric-server"} {
		script := "#!/bin/sh\necho " + name + " >>" + ran + "\n"
		if err := os.WriteFile(filepath.Join(foreign, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	made := func(s sandbox) bool { return running(s) || s.has("CreateFailed") || s.has("RestoreFailed") }
	check := func(what string) {
		t.Helper()
		if b, err := os.ReadFile(ran); !os.IsNotExist(err) {
			t.Fatalf("%s ran: %s%v", what, b, err)
		}
	}
	spec := app("witness /own")
	w.declare("web", spec)
	w.wait("web", "made", made)
	check("starting")
	n := w.witnessed("web", 1)
	w.ok("exec", "web", "--", "/w", "print", "here")
	w.ok("stats", "web")
	w.ok("restart", "--gofer", "web")
	w.declare("web", "state: Suspended\n"+spec)
	w.suspended("web")
	w.declare("web", spec)
	w.wait("web", "restored", made)
	w.witnessed("web", n)
	check("what followed")
}
