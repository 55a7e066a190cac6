package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// claimed says whether a daemon is known to others.
func (w *world) claimed() bool {
	w.t.Helper()
	files, err := filepath.Glob("/run/sandboxer-claims/*.json")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), `"stateDir":"`+w.state+`"`) {
			return true
		}
	}
	return false
}

// covers are the mounts in a sandbox, but those that keep folders where they are.
func covers(t *testing.T, s sandbox) (lines []string) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", s.Status.SandboxPID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, "/.pins/") {
			lines = append(lines, line)
		}
	}
	return lines
}

// A daemon that is refused because of one sandbox leaves nothing in the others, and no
// claim: where what keeps it can be told before, where it shows later, and where it is
// killed meanwhile.
func TestRefusedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	second := w.beside("v/second")
	for _, file := range []string{second.data + "/inner/file", second.state + "/file", second.manifests + "/readme", w.dir + "/v/second/missing/file"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	second.flags = append(second.flags, "--manifests", w.dir+"/v/second/missing/m")
	w.start()
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.declare("inner", "volumes: [{name: v, hostPath: {path: "+second.data+"/inner}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("inner")
	web := w.running("web")
	before := covers(t, web)
	seen := func() (all string) {
		for _, dir := range []string{"d", "m"} {
			all += w.run("exec", "web/app", "--", "/w", "list", "/v/second/"+dir).out
		}
		for _, dir := range []string{"m", "missing"} {
			all += fmt.Sprint(" ", w.run("exec", "web/app", "--", "/w", "write", "/v/second/"+dir+"/new", "x").code)
			_ = os.Remove(filepath.Join(w.dir, "v/second", dir, "new"))
		}
		return all
	}
	free := seen()
	untouched := func(when string) {
		t.Helper()
		var now string
		if !poll(func() bool { now = seen(); return now == free && !second.claimed() }) {
			t.Errorf("%s, the container sees %q, which was %q; there is a claim: %t", when, now, free, second.claimed())
		}
		if after := covers(t, w.running("web")); len(after) != len(before) {
			t.Errorf("%s, these are mounted: %q, which were %q", when, after, before)
		}
	}
	second.refusedBecause(`sandbox "inner" of the daemon on `+w.state, "is inside the data directory "+second.data)
	untouched("refused at once")
	w.undeclare("inner")
	w.gone("inner")

	freeze(t, web, true)
	second.refusedBecause("its cgroup is frozen")
	freeze(t, web, false)
	untouched("refused later")

	freeze(t, web, true)
	second.begin()
	covered := poll(func() bool { return len(covers(t, web)) > len(before)+2 })
	second.kill()
	freeze(t, web, false)
	if !covered {
		t.Fatal("nothing was ever covered")
	}
	untouched("killed")

	if err := os.Mkdir(filepath.Join(w.dir, "v/second/missing/m"), 0o755); err != nil {
		t.Fatal(err)
	}
	second.start()
	if now := seen(); now == free || !second.claimed() {
		t.Errorf("of a daemon that runs a container sees %q; there is a claim: %t", now, second.claimed())
	}
}

// A container that listens where a daemon is to listen, also by a gofer that is gone,
// does not keep it from that; what can't be told from somebody's file is named, with who
// may have put it there. A daemon is not taken for such a one.
func TestSocketTaken(t *testing.T) {
	w := start(t)
	if err := os.Mkdir(filepath.Join(w.dir, "v"), 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) *world {
		other := w.beside(name)
		other.socket = filepath.Join(w.dir, "v", name+".sock")
		other.flags = append(other.flags, "--socket", other.socket)
		return other
	}
	second, third, fourth, fifth := at("second"), at("third"), at("fourth"), at("second5")
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v, sockets: true}}]\ncontainers:\n- "+
		box("app", "listen /v/second.sock", "volumeMounts: [{name: v, mountPath: /v}]")+"\n- "+
		box("old", "listen /v/third.sock", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web/app", "listening")
	w.said("web/old", "listening")

	second.start()
	for _, what := range []string{"remove /v/second.sock", "write /v/second.sock x"} {
		if r := w.run(append([]string{"exec", "web/app", "--", "/w"}, strings.Fields(what)...)...); r.code == 0 {
			t.Errorf("the container can %s: %+v", what, r)
		}
	}
	second.declare("job", app("sleep"))
	second.running("job")

	was := w.running("web").box("old")
	w.ok("restart", "--gofers", "web")
	w.wait("web", "with new gofers", func(s sandbox) bool {
		now := s.box("old")
		return running(s) && now.GoferPID != nil && *now.GoferPID != *was.GoferPID
	})
	third.start()

	w.ok("exec", "web/app", "--", "/w", "write", "/v/fourth.sock", "x")
	fourth.refusedBecause("it is not a socket", `in a volume that sandbox "web" can write`, "end that sandbox")
	if fourth.claimed() {
		t.Error("who was refused has left a claim")
	}

	fifth.socket = second.socket
	fifth.flags = append(fifth.flags, "--socket", fifth.socket)
	fifth.refusedBecause("another daemon answers on " + second.socket)
	second.running("job")
}

// What root mounts in a daemon's directories while it runs is out of containers' reach
// at once, and what a new link leads to at the next resync.
func TestMountedLater(t *testing.T) {
	w := newWorld(t)
	hidden := func(name string) string { return filepath.Join(w.dir, "v", name) }
	for _, name := range []string{"mounted", "linked"} {
		if err := errors.Join(os.MkdirAll(hidden(name), 0o755), os.WriteFile(hidden(name)+"/file", nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	entries := func(name string) string { return w.ok("exec", "web/app", "--", "/w", "list", "/v/"+name) }
	for _, name := range []string{"mounted", "linked"} {
		if out := entries(name); out != "entry file\nentries 1\n" {
			t.Fatalf("%s shows %q at first", name, out)
		}
	}
	later := filepath.Join(w.data, "later")
	if err := errors.Join(os.Mkdir(later, 0o700), unix.Mount(hidden("mounted"), later, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(later, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w.mounted = later
	if !poll(func() bool { return entries("mounted") == "entries 0\n" }) {
		t.Error("what was mounted later shows")
	}
	w.stop()
	w.flags = append(w.flags, "--resync", "300ms")
	w.start()
	if err := os.Symlink(hidden("linked"), filepath.Join(w.data, "link")); err != nil {
		t.Fatal(err)
	}
	if !poll(func() bool { return entries("linked") == "entries 0\n" }) {
		t.Error("what was linked later shows")
	}
}
