package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// declareTogether declares sandboxes in a folder of their own, and returns what takes
// them away at once: of files that are removed one by one, the first may have
// settled before the last has gone.
func (w *world) declareTogether(spec string, names ...string) (undeclare func()) {
	w.t.Helper()
	folder := filepath.Join(w.manifests, "together")
	if err := os.Mkdir(folder, 0o755); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		w.put(filepath.Join("together", name+".yaml"), w.document(name, spec))
	}
	return func() {
		w.t.Helper()
		if err := os.Rename(folder, filepath.Join(w.dir, "away")); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestDeletionGuard(t *testing.T) {
	w := start(t, "--deletion-guard", "0.5")
	pids := map[string]int{}
	undeclare := w.declareTogether(app("sleep"), "web0", "web1", "web2")
	w.declare("web3", app("sleep"))
	for i := range 4 {
		name := fmt.Sprint("web", i)
		pids[name] = w.running(name).Status.SandboxPID
	}
	held := func(s sandbox) bool { return s.has("DeletionHeld") }
	undeclare()
	for i := range 3 {
		name := fmt.Sprint("web", i)
		s := w.wait(name, "held", held)
		if s.Status.SandboxPID != pids[name] || s.Status.Phase != "Running" {
			t.Errorf("it did not go on: %+v", s)
		}
	}
	if out := w.ok("get"); strings.Count(out, "DeletionHeld") != 3 {
		t.Errorf("get does not show it:\n%s", out)
	}
	if out := w.ok("plan"); strings.Count(out, "its removal is held: the deletion guard holds the removal of 3 of 4") != 3 {
		t.Errorf("plan does not tell of it:\n%s", out)
	}
	if out := w.ok("plan", w.manifests); !strings.Contains(out, "the deletion guard would hold the removal of 3 of 4 sandboxes (web0, web1, web2)") {
		t.Errorf("plan for the same manifests does not tell of it:\n%s", out)
	}
	// One that is back is held no more.
	w.declare("web0", app("sleep"))
	w.wait("web0", "declared again", func(s sandbox) bool { return running(s) && !held(s) })
	w.restart()
	// A daemon's restart confirms nothing, nor does it end anything: two of four
	// alone would not be held.
	w.declare("mark", app("sleep")) // which takes longer than settling
	w.running("mark")
	for _, name := range []string{"web1", "web2"} {
		w.wait(name, "still held", held)
	}
	for i := range 4 {
		name := fmt.Sprint("web", i)
		if s := w.wait(name, "running", phase("Running")); s.Status.SandboxPID != pids[name] {
			t.Errorf("%s was replaced", name)
		}
	}
}

func TestConfirmDeletions(t *testing.T) {
	w := start(t, "--deletion-guard", "0.5")
	undeclare := w.declareTogether(app("sleep", "state: Stopped"), "web0", "web1", "web2", "web3")
	for i := range 4 {
		w.wait(fmt.Sprint("web", i), "stopped", phase("Stopped"))
	}
	undeclare()
	for i := range 4 {
		w.wait(fmt.Sprint("web", i), "held", func(s sandbox) bool { return s.has("DeletionHeld") })
	}
	w.wait("web0", "held, with how many of what", func(s sandbox) bool {
		return strings.Contains(fmt.Sprint(s.Status.Conditions), "4 of 4 sandboxes (web0, web1, web2, web3)")
	})
	// Only those that are named, and what is not held hinders none.
	r := w.run("confirm-deletions", "web1", "web9")
	if r.code != 1 || !strings.Contains(r.out, "Deletion begins: web1\n") || !strings.Contains(r.err, "web9") {
		t.Errorf("by name: %+v", r)
	}
	w.gone("web1")
	w.restart()
	for _, name := range []string{"web0", "web2", "web3"} {
		w.wait(name, "still held", func(s sandbox) bool { return s.has("DeletionHeld") })
	}
	if out := w.ok("confirm-deletions"); !strings.Contains(out, "web0") || !strings.Contains(out, "web3") {
		t.Errorf("confirm-deletions prints %q", out)
	}
	for i := range 4 {
		w.gone(fmt.Sprint("web", i))
	}
}

// Sandboxes that are made and removed one after another, beside one that stays,
// are no mass deletion.
func TestOneAfterAnotherIsNoMassDeletion(t *testing.T) {
	w := start(t, "--deletion-guard", "0.5")
	w.declare("stays", app("sleep", "state: Stopped"))
	w.wait("stays", "stopped", phase("Stopped"))
	for i := range 5 {
		name := fmt.Sprint("job", i)
		w.declare(name, app("sleep", "state: Stopped"))
		w.wait(name, "stopped", phase("Stopped"))
		w.undeclare(name)
		w.gone(name)
	}
}
