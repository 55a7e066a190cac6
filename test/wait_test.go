package test

import (
	"os"
	"path/filepath"
	"testing"
)

// How a container ended is told to who waits, though it runs again at once:
// its exit code, or the signal that ended it, also where that happened while no
// daemon ran.
func TestWaitForExit(t *testing.T) {
	w := start(t)
	volume := "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "
	mount := "volumeMounts: [{name: v, mountPath: /v}]"
	w.declare("web", quick+volume+box("app", "print up then await /v/go then remove /v/go then exit 5", mount)+"\n- "+box("aid", "sleep"))
	w.running("web")
	w.said("web/app", "up")
	waits := func(who string) *session {
		t.Helper()
		w.running("web")
		s, _ := w.atTerminal(24, 80, "wait", who, "--for", "exit", "--timeout", "90s")
		s.expect("web: Running") // it waits
		return s
	}
	ends := func(s *session, code string) {
		t.Helper()
		s.expect(code)
		s.ends(0)
	}
	let := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s := waits("web/app")
	let()
	ends(s, "5")
	w.saidTimes("web/app", "up", 2)

	s = waits("web/app")
	w.ok("kill", "web/app", "KILL")
	ends(s, "137")
	w.saidTimes("web/app", "up", 3)

	s = waits("web/app")
	ended := awaitEnd(t, *w.running("web").box("app").GoferPID)
	w.kill()
	let()
	ended()
	w.start()
	ends(s, "5")
	w.saidTimes("web/app", "up", 4)
	if c := w.running("web").box("aid"); c.ID != "web.aid.1" {
		t.Errorf("its sibling is %+v", c)
	}
}
