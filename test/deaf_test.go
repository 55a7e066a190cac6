package test

import (
	"strings"
	"testing"
)

// What is asked of a sandbox from outside waits for no container: not for a file
// system that one serves and does not answer for, not for a pipe that it made.
func TestNoContainerMakesItsSentryDeaf(t *testing.T) {
	w := newWorld(t)
	w.attacker()
	w.start()
	w.declare("web", "containers:\n- "+box("sibling", "sleep")+"\n- {name: app, rootfs: {path: DIR/root}, command: [/attacker, deaf, /tmp], "+
		"securityContext: {capabilities: {add: [ALL]}}}")
	was := w.running("web")
	if !poll(func() bool { return strings.Contains(w.run("logs", "web/app").out, "deaf\n") }) {
		t.Fatal(w.run("logs", "web/app"))
	}
	for _, args := range [][]string{
		{"--cwd", "/tmp/fuse/a", "web/app", "--", "/attacker", "wait"},
		{"web/app", "--", "/tmp/fuse/check"},
		{"--cwd", "/tmp/over/a", "web/app", "--", "/attacker", "wait"},
		{"web/app", "--", "/tmp/over/check"},
		{"web/app", "--", "/tmp/pipe"},
		{"--env", "PATH=/tmp/fuse:/tmp/over", "web/app", "--", "check"},
	} {
		if r := w.run(append([]string{"exec"}, args...)...); r.code == 0 || strings.Contains(r.err, "does not answer") {
			t.Errorf("exec %v ended with %d: %s", args, r.code, r.err)
		}
	}
	w.ok("exec", "web/sibling", "--", "/w", "print", "well")
	w.same(was, w.running("web"), "sibling")
}
