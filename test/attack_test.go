package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// marker is in files of the host and of daemons, and in nothing that a container
// may read.
const (
	half   = "what-no-container-may-read-"
	marker = half + half
)

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
	other.daemon, other.dir = nil, filepath.Join(w.dir, name)
	other.manifests, other.state, other.data = filepath.Join(other.dir, "m"), filepath.Join(other.dir, "s"), filepath.Join(other.dir, "d")
	other.socket, other.parent, other.names = filepath.Join(other.state, "sandboxer.sock"), parents+number(), map[string]bool{}
	if err := os.MkdirAll(other.manifests, 0o755); err != nil {
		w.t.Fatal(err)
	}
	other.makeConfig() // before any container could
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
	w.shows(hostRoot)
	w.attacker()
	w.configure("logs: {maxFiles: 3} # " + marker + "\n")
	second, third := w.beside("second"), w.beside("third")
	w.start()
	hidden := "volumes: [{name: f, files: {a: " + marker + "}}]\n"
	w.declare("other", hidden+app("sleep"))
	attack := func(more string) string {
		return "volumes: [{name: v, hostPath: {path: " + w.dir + more + "}}, {name: k, hostPath: {path: /proc}}]\ncontainers:\n- {name: app, rootfs: {path: " + w.dir + "/root}, command: [/attacker, wait], " +
			"securityContext: {capabilities: {add: [ALL]}}, volumeMounts: [{name: v, mountPath: /v}, {name: k, mountPath: /k}]}"
	}
	// What shows the same under other names: a bind mount of it, an overlay of what
	// holds it, the kernel's file systems in it.
	for _, dir := range []string{"bound", "over", "own-proc", "own-cgroup"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for at, m := range map[string]struct {
		source, kind, options string
		flags                 uintptr
	}{
		"bound":      {source: w.state, flags: syscall.MS_BIND},
		"over":       {"over", "overlay", "lowerdir=" + w.data + ":" + w.manifests, 0},
		"own-proc":   {source: "proc", kind: "proc"},
		"own-cgroup": {source: "cgroup", kind: "cgroup2"},
	} {
		path := filepath.Join(w.dir, at)
		if err := syscall.Mount(m.source, path, m.kind, m.flags, m.options); err != nil {
			t.Fatal(at, err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	}
	w.declare("web", attack(", sockets: true"))
	w.declare("root", "containers:\n- {name: app, rootfs: {path: /, readOnly: true}, command: ["+w.dir+"/root/attacker, wait], securityContext: {capabilities: {add: [ALL]}}}")
	w.running("other")
	w.running("root")
	w.running("web")
	own := []string{"s", "d", "m", "etc/config.yaml", "s/sandboxer.sock", "s/sandboxes/web/sandbox.json"}
	reach := func(of *world, when string, own ...string) {
		t.Helper()
		attacked(t, when, of.ok(append([]string{"exec", "web", "--", "/attacker", "reach", half, "/v"}, own...)...))
		if of == w {
			attacked(t, when+", as a root", w.ok(append([]string{"exec", "root", "--", w.dir + "/root/attacker", "reach", half, w.dir}, own...)...))
		}
	}
	w.attackerWorks()
	same := w.untouched(w.manifests, w.state, w.data, w.config(), filepath.Join(w.manifests, "web.yaml"), filepath.Join(w.manifests, "other.yaml"))
	reach(w, "at first", append(own, "bound", "over", "own-proc", "own-cgroup")...)
	attacked(t, "of /proc of the host", w.ok("exec", "web", "--", "/attacker", "reach", half, "/k", "self", "1", "sys"))
	attacked(t, "ways out", w.ok("exec", "web", "--", "/attacker", "escape", half))
	same()
	for _, how := range [][]string{{"restart", "--gofers", "--all"}, {"restart", "web"}} {
		served := func(s sandbox) bool { return running(s) && s.box("app").Ready && s.box("app").GoferPID != nil }
		since := *w.wait("web", "served", served).box("app").GoferPID
		w.ok(how...)
		w.wait("web", "restarted", func(s sandbox) bool { return served(s) && *s.box("app").GoferPID != since })
		reach(w, strings.Join(how, " "), own...)
	}

	// Who has a hand in it dies, one after the other.
	for _, kind := range []string{"gofer", "keeper"} {
		w.comesToRest()
		was := w.helpers("web", kind)
		killAll(was)
		if len(was) == 0 || !w.until(func() bool {
			now := w.helpers("web", kind)
			return len(now) == len(was) && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(was, pid) })
		}) {
			t.Fatalf("the %ss were %v and are %v", kind, was, w.helpers("web", kind))
		}
		reach(w, "after the death of the "+kind+"s", own...)
	}
	w.kill()
	w.start()
	w.running("web")
	reach(w, "after the daemon's death", own...)
	w.declare("web", "state: Suspended\n"+attack(", sockets: true"))
	w.suspended("web")
	w.declare("web", attack(", sockets: true"))
	w.running("web")
	reach(w, "restored", own...)

	// The next daemon listens elsewhere.
	w.stop()
	w.socket = filepath.Join(w.dir, "elsewhere.sock")
	w.flags = append(w.flags, "--socket", w.socket)
	w.start()
	w.running("web")
	reach(w, "under another daemon", append(own, "elsewhere.sock")...)

	// Another daemon comes, whose containers see both daemons' files.
	second.start()
	second.declare("web", attack(", sockets: true"))
	second.running("web")
	theirs := append(own, "elsewhere.sock", "second/s", "second/d", "second/m", "second/etc/config.yaml", "second/s/sandboxer.sock")
	reach(second, "of both from the second", theirs...)
	reach(w, "of both from the first", theirs...)

	// So does who runs a file beside them, and they nothing of that.
	run := w.manifest("job", attack(""))
	b, err := os.ReadFile(run)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), "[/attacker, wait]", "[/attacker, reach, "+half+", /v, "+strings.Join(theirs, ", ")+", third/s, third/d]", 1)
	if err := os.WriteFile(run, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.run(third.runs(run)...)
	attacked(t, "from a run", r.out)
	if r.code != 0 {
		t.Errorf("the run: %+v", r)
	}
}

// What nothing protects the attacker reaches: it would tell of the rest, too.
func (w *world) attackerWorks() {
	w.t.Helper()
	plain := filepath.Join(w.dir, "plain")
	if err := os.MkdirAll(filepath.Join(plain, "own"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.service("plain/socket")
	for _, file := range []string{"plain/file", "plain/own/file"} {
		if err := os.WriteFile(filepath.Join(w.dir, file), []byte(marker), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	said := w.ok("exec", "web", "--", "/attacker", "look", half, "/v/plain") +
		w.ok("exec", "web", "--", "/attacker", "reach", half, "/v", "plain/socket", "plain/own", "plain/file")
	for _, want := range []string{"reading /v/plain/own/file", "connecting to /v/plain/socket", "listing /v/plain/own", "making a folder in /v/plain/own",
		"a link out of /v/plain/own", "renaming /v/plain/own", "reading /v/plain/file", "truncating /v/plain/file", "writing /v/plain/file", "renaming /v/plain"} {
		if !strings.Contains(said, "WORKED "+want) {
			w.t.Errorf("the attacker does not tell of %q where nothing keeps it from that:\n%s", want, said)
		}
	}
	if err := os.RemoveAll(plain); err != nil {
		w.t.Fatal(err)
	}
}

// A container that exchanges a folder of its volume for a link, as fast as it
// can, has nothing mounted, made or read outside of it, whatever is started in
// the meantime with a path through that folder.
func TestLinksSwapped(t *testing.T) {
	w := newWorld(t)
	w.attacker()
	outside := filepath.Join(w.dir, "outside")
	for _, dir := range []string{filepath.Join(w.dir, "v"), filepath.Join(outside, "y")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "y", "secret"), []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	attacker := func(volume, args string) string {
		return "restartPolicy: Never\nvolumes: [{name: v, hostPath: " + volume + "}]\ncontainers:\n- {name: app, rootfs: {path: " + w.dir +
			"/root}, command: [/attacker, " + args + "], volumeMounts: [{name: v, mountPath: /v}]}"
	}
	w.declare("swap", attacker("{path: DIR/v}", "swap, /v, "+outside))
	w.running("swap")
	w.said("swap", "swapping")
	const victims = 4
	for i := range victims {
		w.declare(fmt.Sprint("look", i), attacker("{path: DIR/v/x/y, type: Directory}", "look, "+half+", /v"))
		w.declare(fmt.Sprint("make", i), attacker(fmt.Sprintf("{path: DIR/v/x/made%d, type: DirectoryOrCreate}", i), "look, "+half+", /v"))
	}
	for i := range victims {
		for _, name := range []string{fmt.Sprint("look", i), fmt.Sprint("make", i)} {
			s := w.wait(name, "ended or refused", func(s sandbox) bool { return s.Status.Phase == "Succeeded" || s.Status.Phase == "Failed" })
			if s.Status.Phase == "Succeeded" {
				attacked(t, name, w.ok("logs", name))
			}
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
}
