package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A restored sandbox takes new containers, runs again what ends in it, tells how
// it ended, and can be written to disk once more with all of that.
func TestRestoredTakesContainers(t *testing.T) {
	w := start(t)
	const volume = "volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]\n"
	const mounts = "volumeMounts: [{name: v, mountPath: /v}]"
	stays := "- " + box("stays", "witness /own")
	ends := "- " + box("ends", "await /v/end then exit 7", mounts)
	more := "- " + box("more", "print before then witness /own")
	spec := func(state string, containers ...string) string {
		return state + volume + "containers:\n" + strings.Join(containers, "\n")
	}
	w.declare("web", spec("", stays, ends))
	w.running("web")
	w.witnessed("web/stays", 1)
	again := func(containers ...string) {
		t.Helper()
		w.declare("web", spec("state: Suspended\n", containers...))
		w.suspended("web")
		w.declare("web", spec("", containers...))
		w.running("web")
		w.witnessed("web/stays", w.steps("web/stays"))
	}
	again(stays, ends)
	session, _ := w.atTerminal(24, 80, "exec", "-it", "web/stays", "--", "/w", "print", "at a terminal")
	session.expect("at a terminal")
	session.ends(0)

	// What waits for its end does so over the restore.
	if err := os.WriteFile(filepath.Join(w.dir, "v", "end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ended := func(s sandbox) bool { return s.box("ends").RestartCount > 0 || s.box("ends").exited(7) }
	w.wait("web", "ended", ended)
	if err := os.Remove(filepath.Join(w.dir, "v", "end")); err != nil {
		t.Fatal(err)
	}
	w.wait("web", "run again", func(s sandbox) bool {
		code := s.box("ends").LastExit.ExitCode
		return running(s) && code != nil && *code == 7
	})
	// One is added, one asked to run anew, the whole frozen and thawed.
	w.declare("web", spec("", stays, ends, more))
	w.wait("web", "running with one more", and(running, func(s sandbox) bool { return s.box("more").Ready }))
	w.said("web/more", "before")
	w.ok("restart", "web/more")
	w.saidTimes("web/more", "before", 2)
	w.declare("web", spec("state: Paused\n", stays, ends, more))
	w.wait("web", "paused", phase("Paused"))
	w.declare("web", spec("", stays, ends, more))
	w.wait("web", "running", running)
	n := w.steps("web/more")
	again(stays, ends, more)
	w.said("web/more", "step 1")
	if !w.until(func() bool { return w.steps("web/more") > n }) {
		t.Error("what was added does not count on")
	}
	if c := w.running("web").box("stays"); c.RestartCount != 0 || c.ID != "web.stays.1" {
		t.Errorf("it was made anew: %+v", c)
	}
	// One is taken out, and the others go on.
	w.declare("web", spec("", stays, more))
	w.wait("web", "running without it", func(s sandbox) bool { return running(s) && s.box("ends").Name == "" })
	w.witnessed("web/stays", w.steps("web/stays"))
}
