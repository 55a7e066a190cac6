package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// marker is in files of the host and of daemons, and in nothing that a container
// may read.
const marker = "marker-of-what-no-container-may-read"

// attacker builds the program that attacks into the world's directory, where a
// volume of it shows it.
func (w *world) attacker() {
	w.t.Helper()
	root := filepath.Join(w.dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := build(filepath.Join(root, "attacker"), "./attacker"); err != nil {
		w.t.Fatal(err)
	}
}

// beside is another daemon's world, inside of this one's directory.
func (w *world) beside(name string) *world {
	w.t.Helper()
	other := *w
	n := worlds.Add(1)
	other.dir = filepath.Join(w.dir, name)
	other.manifests, other.state, other.data = filepath.Join(other.dir, "m"), filepath.Join(other.dir, "s"), filepath.Join(other.dir, "d")
	other.socket, other.parent, other.names = filepath.Join(other.state, "sandboxer.sock"), parents+fmt.Sprint(n), map[string]bool{}
	if err := os.MkdirAll(other.manifests, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(other.finish)
	return &other
}

// attacked fails for everything that worked of an attack.
func attacked(t *testing.T, when, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "WORKED ") {
			t.Errorf("%s: %s", when, strings.TrimSpace(line))
		}
	}
	if !strings.HasSuffix(said, "done\n") {
		t.Errorf("%s: the attack did not go to its end:\n%s", when, said)
	}
}

// untouched is what the daemons' files hold; an attack changes none of it.
func (w *world) untouched(paths ...string) func() {
	w.t.Helper()
	read := func() []byte {
		var all []byte
		for _, path := range paths {
			info, err := os.Lstat(path)
			if err != nil {
				w.t.Fatal(err)
			}
			all = fmt.Appendf(all, "%s %s\n", path, info.Mode())
			if info.Mode().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					w.t.Fatal(err)
				}
				all = append(all, b...)
			}
		}
		return all
	}
	before := read()
	return func() {
		w.t.Helper()
		if after := read(); !bytes.Equal(before, after) {
			w.t.Errorf("the daemon's files changed: %s became %s", before, after)
		}
	}
}

// A container that has the folder of all daemons' directories as its volume, with
// sockets, as root, with every capability, reaches nothing of theirs: at first,
// under later gofers and daemons, with a socket elsewhere, and of a daemon that
// comes later, which is held to the same.
func TestReachOfContainers(t *testing.T) {
	w := newWorld(t)
	w.attacker()
	w.configure("logs: {maxFiles: 3} # " + marker + "\n")
	second := w.beside("second")
	w.start()
	hidden := "volumes: [{name: f, files: {a: " + marker + "}}]\n"
	w.declare("other", hidden+app("sleep", ""))
	attack := func(more string) string {
		return "volumes: [{name: v, hostPath: {path: " + w.dir + more + "}}, {name: k, hostPath: {path: /proc}}]\ncontainers:\n- {name: app, rootfs: {path: " + w.dir + "/root}, command: [/attacker, swap, /tmp, /], " +
			"securityContext: {capabilities: {add: [ALL]}}, volumeMounts: [{name: v, mountPath: /v}, {name: k, mountPath: /k}]}"
	}
	w.declare("web", attack(", sockets: true"))
	w.running("other")
	w.running("web")
	own := []string{"s", "d", "m", "config.yaml", "s/sandboxer.sock", "s/sandboxes/web/sandbox.json"}
	reach := func(w *world, when string, own ...string) {
		t.Helper()
		attacked(t, when, w.ok(append([]string{"exec", "web", "--", "/attacker", "reach", marker, "/v"}, own...)...))
	}
	same := w.untouched(w.manifests, w.state, w.data, filepath.Join(w.dir, "config.yaml"), filepath.Join(w.manifests, "web.yaml"), filepath.Join(w.manifests, "other.yaml"))
	reach(w, "at first", own...)
	attacked(t, "of /proc of the host", w.ok("exec", "web", "--", "/attacker", "reach", marker, "/k", "self", "1", "sys"))
	attacked(t, "ways out", w.ok("exec", "web", "--", "/attacker", "escape", marker))
	same()
}
