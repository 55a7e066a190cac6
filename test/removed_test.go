package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What somebody removes under a daemon comes back, with what was in it, and nobody
// has to restart anything.
func TestRemovedUnderTheDaemon(t *testing.T) {
	w := start(t, "--resync", "500ms")
	w.declare("web", app("sleep"))
	w.declare("job", app("exit 3", "restartPolicy: Never"))
	w.wait("job", "failed", phase("Failed"))
	was := w.running("web")
	var claim string
	claims, err := filepath.Glob("/run/sandboxer-claims/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range claims {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), `"stateDir":"`+w.state+`"`) {
			claim = path
		}
	}
	for _, c := range []struct {
		remove string
		back   []string
	}{
		{w.socket, []string{w.socket}},
		{claim, []string{claim}},
		{filepath.Join(w.data, "memory"), []string{filepath.Join(w.data, "memory", "job.json")}},
		{filepath.Join(w.data, "manifests"), []string{filepath.Join(w.data, "manifests", "job.json"), filepath.Join(w.data, "manifests", "web.json")}},
		{filepath.Join(w.data, "records"), nil},
		{filepath.Join(w.data, "logs"), nil},
		{filepath.Join(w.data, "events.jsonl"), nil},
	} {
		// The daemon may write there meanwhile.
		if !poll(func() bool { return os.RemoveAll(c.remove) == nil }) {
			t.Fatalf("removing %s: %v", c.remove, os.RemoveAll(c.remove))
		}
		for _, path := range c.back {
			if !poll(func() bool { return exists(path) }) {
				t.Fatalf("%s was removed, and %s does not come back\n%s", c.remove, path, w.log())
			}
		}
		w.ok("restart", "web")
	}
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew")
	}
	w.restart()
	if job := w.wait("job", "known", func(s sandbox) bool { return s.Status.Phase != "Pending" }); job.Status.Phase != "Failed" || job.box("app").RestartCount != 0 {
		t.Errorf("the job was forgotten: %+v", job)
	}
	if _, err := os.Lstat(w.socket); err != nil {
		t.Error(err)
	}
}
