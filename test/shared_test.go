package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sharing is a spec of a sandbox whose container "one" holds locks and listens in
// volumes that "two" mounts, too: one of them twice, and once to read only.
// more are lines of the spec.
func sharing(more ...string) string {
	return strings.Join(append(more, "volumes:", "- {name: e, emptyDir: {}}", "- {name: m, emptyDir: {sizeLimit: 4Mi}}",
		"- {name: h, hostPath: {path: DIR/h, type: DirectoryOrCreate}}", "- {name: f, hostPath: {path: DIR/f, type: FileOrCreate}}",
		"initContainers:", "- "+box("first", "write /e/made init", "volumeMounts: [{name: e, mountPath: /e}]"),
		"containers:",
		"- "+box("one", "lock flock /e/l then lock fcntl /h/l then lock flock /m/l then lock flock /f then remove /e/sock then listen /e/sock",
			"volumeMounts: [{name: e, mountPath: /e}, {name: h, mountPath: /h}, {name: m, mountPath: /m}, {name: f, mountPath: /f}]"),
		"- "+box("two", "print ready then sleep", "volumeMounts: [{name: e, mountPath: /a/e}, {name: e, mountPath: /b/e}, "+
			"{name: e, mountPath: /ro, readOnly: true}, {name: h, mountPath: /h}, {name: m, mountPath: /m}, {name: f, mountPath: /f}]"),
	), "\n")
}

// shared makes sure that "two" meets in the volumes what "one" does there.
func (w *world) shared(name, when string) {
	w.t.Helper()
	for _, lock := range []string{"flock /a/e/l", "flock /b/e/l", "fcntl /h/l", "flock /m/l", "flock /f"} {
		kind, file, _ := strings.Cut(lock, " ")
		if got := w.ok("exec", name+"/two", "--", "/w", "lock", kind, file); got != "busy "+file+"\n" {
			w.t.Errorf("%s, a lock that a sibling holds: %s", when, got)
		}
	}
	s := w.session("exec", name+"/two", "--", "/w", "dial", "/b/e/sock")
	s.expect("connected")
	s.signal(syscall.SIGTERM)
	s.ends(0)
	if got := w.ok("exec", name+"/two", "--", "/w", "try-write", "/ro/x", "then", "read", "/ro/made"); !strings.Contains(got, "read-only") || !strings.Contains(got, "init") {
		w.t.Errorf("%s, what is mounted to read only: %s", when, got)
	}
}

// listening waits until "one" has what the others are to meet.
func (w *world) listening(name string) { w.saidTimes(name+"/one", "listening", 1) }

// A volume is one file system for all containers of a sandbox, whatever becomes
// of gofers, daemons and siblings, and after the sandbox was on disk.
func TestVolumesAreShared(t *testing.T) {
	w := start(t)
	w.declare("web", sharing())
	was := w.running("web")
	w.listening("web")
	w.shared("web", "at first")

	killAll(w.helpers("web", "gofer"))
	w.replaced("web", "one", 1)
	w.shared("web", "with other gofers")
	w.restart()
	now := w.running("web")
	w.same(was, now, "one")
	w.shared("web", "under another daemon")
	w.ok("restart", "web/two")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was.box("two").ID })
	w.shared("web", "by a sibling that was made anew")
	// What has mounted them first does not take them along.
	w.ok("restart", "web/one")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("one").ID != was.box("one").ID })
	w.saidTimes("web/one", "listening", 2)
	w.shared("web", "once that was made anew which mounted first")
	// One that comes later mounts them as well.
	w.declare("web", sharing()+"\n- "+box("three", "lock flock /e/l then sleep", "volumeMounts: [{name: e, mountPath: /e}]"))
	w.wait("web", "running with one more", and(running, func(s sandbox) bool { return s.box("three").Ready }))
	w.said("web/three", "busy /e/l")
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Error("the sandbox was made anew for another container")
	}
}

// What is in volumes comes back with a sandbox from disk, and is shared by those
// that are started after that.
func TestVolumesAreSharedAfterRestore(t *testing.T) {
	w := start(t)
	w.declare("web", sharing())
	was := w.running("web")
	w.listening("web")
	w.declare("web", sharing("state: Suspended"))
	w.suspended("web")
	w.restart()
	w.declare("web", sharing())
	w.running("web")
	w.shared("web", "after a restore")
	killAll(w.helpers("web", "gofer"))
	w.replaced("web", "two", 1)
	w.shared("web", "after a restore, with other gofers")
	w.ok("restart", "web/two")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was.box("two").ID })
	w.shared("web", "by a sibling that was made anew after a restore")
	// And a second time, with what was made since.
	w.declare("web", sharing("state: Suspended"))
	w.suspended("web")
	w.declare("web", sharing())
	w.running("web")
	w.shared("web", "after another restore")
}

// What one container does in a volume the others see as if it were theirs.
func TestVolumesTell(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes: [{name: v, emptyDir: {}}]\ncontainers:\n"+
		"- "+box("one", "mkfifo /v/fifo then write /v/page "+strings.Repeat("x", 4096)+" then print made then sleep", "volumeMounts: [{name: v, mountPath: /v}]")+
		"\n- "+box("two", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web/one", "made")
	for _, c := range []struct{ waits, ready, does, says string }{
		{"notify /v", "watching /v", "write /v/new x", "made new"},
		{"feel /v/page", "feeling /v/page", "poke /v/page", "felt /v/page"},
		{"print ready then read /v/fifo", "ready", "write /v/fifo through", "through"},
	} {
		s := w.session(append([]string{"exec", "web/two", "--", "/w"}, strings.Fields(c.waits)...)...)
		s.expect(c.ready)
		w.ok(append([]string{"exec", "web/one", "--", "/w"}, strings.Fields(c.does)...)...)
		s.expect(c.says)
		s.ends(0)
	}
}

// Nobody is left who could serve the volumes: the sandbox is made anew, and says
// why. What a container is started on is what is there then.
func TestVolumesAreLost(t *testing.T) {
	w := start(t)
	w.declare("web", sharing())
	was := w.running("web")
	w.listening("web")
	w.kill()
	for _, kind := range []string{"keeper", "gofer"} { // a keeper would start another gofer
		if !poll(func() bool { killAll(w.helpers("web", kind)); return len(w.helpers("web", kind)) == 0 }) {
			t.Fatalf("%v do not end", w.helpers("web", kind))
		}
	}
	w.start()
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != was.Status.SandboxPID })
	w.saidTimes("web/one", "listening", 2)
	if out := w.ok("events", "web"); !strings.Contains(out, "lost the gofer of its") {
		t.Errorf("the events are:\n%s", out)
	}
	w.shared("web", "made anew")
}

// A file that was replaced is the new one for a container that is started after
// that, and its siblings keep theirs.
func TestVolumeIsReplaced(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "file")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "old\n")
	w.start()
	mount := "volumeMounts: [{name: f, mountPath: /f, readOnly: true}]"
	w.declare("web", "volumes: [{name: f, hostPath: {path: DIR/file, type: File}}]\ncontainers:\n- "+box("one", "sleep", mount)+"\n- "+box("two", "sleep", mount))
	was := w.running("web")
	write(file+".new", "new\n")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	w.ok("restart", "web/two")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was.box("two").ID })
	for container, want := range map[string]string{"one": "old\n", "two": "new\n"} {
		if got := w.ok("exec", "web/"+container, "--", "/w", "read", "/f"); got != want {
			t.Errorf("%s reads %q, want %q", container, got, want)
		}
	}
}

// A FIFO of the host's is refused at once: nobody waits for ever.
func TestHostFIFO(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes: [{name: h, hostPath: {path: DIR/h, type: DirectoryOrCreate}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: h, mountPath: /h}]"))
	w.running("web")
	if err := syscall.Mkfifo(filepath.Join(w.dir, "h", "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, does := range []string{"read /h/fifo", "write /h/fifo x"} {
		if r := w.run(append([]string{"exec", "web", "--", "/w"}, strings.Fields(does)...)...); r.code != 1 || !strings.Contains(r.err, "operation not permitted") {
			t.Errorf("%s: %+v", does, r)
		}
	}
}

// Whatever is changed about how containers mount a volume, it is done, and plan
// says to whom before; and the volume stays one for all of them.
func TestMountsAreChanged(t *testing.T) {
	w := newWorld(t)
	volume := filepath.Join(w.dir, "h")
	if err := errors.Join(os.Mkdir(volume, 0o755), os.WriteFile(filepath.Join(volume, "lock"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	w.start()
	const readOnly = ", readOnly: true"
	spec := func(kind, mounts string) string {
		return "volumes: [{name: h, hostPath: {path: DIR/h, type: " + kind + "}}]\ncontainers:\n- " +
			box("one", "sleep", "volumeMounts: [{name: h, mountPath: /h"+readOnly+"}]") + "\n- " + box("two", "sleep", "volumeMounts: ["+mounts+"]")
	}
	at := func(path, more string) string { return "{name: h, mountPath: " + path + more + "}" }
	w.declare("web", spec("Directory", at("/h", readOnly)))
	now := w.running("web")
	for _, c := range []struct {
		what, kind, mounts string
		anew               string // whom the change makes anew
		why                string // plan says
		path               string // where two has the volume then, if it has
		written            string // what becomes of a write there
	}{
		{"to be written by one that did not", "Directory", at("/h", ""), "sandbox", `volume \"h\" was served to be read only`, "/h", "written"},
		{"to be read only again", "Directory", at("/h", readOnly), "container", "readOnly", "/h", "read-only"},
		{"to be written again", "Directory", at("/h", ""), "container", "readOnly", "/h", "written"},
		{"elsewhere", "Directory", at("/i", ""), "container", "mountPath", "/i", "written"},
		{"twice", "Directory", at("/i", readOnly) + ", " + at("/h", ""), "container", "volumeMounts", "/h", "written"},
		{"not at all", "Directory", "", "container", "volumeMounts", "", ""},
		{"again", "Directory", at("/h", readOnly), "container", "volumeMounts", "/h", "read-only"},
		{"as another type", "DirectoryOrCreate", at("/h", readOnly), "sandbox", "hostPath.type", "/h", "read-only"},
	} {
		was, path := now, filepath.Join(w.dir, "new.yaml")
		if err := os.WriteFile(path, []byte(w.document("web", spec(c.kind, c.mounts))), 0o644); err != nil {
			t.Fatal(err)
		}
		if out := w.ok("plan", path, "-o", "json"); !strings.Contains(out, `"class": "`+c.anew+`"`) || !strings.Contains(out, c.why) {
			t.Errorf("%s: plan does not tell of a change of the %s, for %s: %s", c.what, c.anew, c.why, out)
		}
		w.declare("web", spec(c.kind, c.mounts))
		now = w.wait("web", c.what, func(s sandbox) bool {
			return running(s) && s.Status.SpecHash != was.Status.SpecHash && s.box("two").ID+fmt.Sprint(s.Status.SandboxPID) != was.box("two").ID+fmt.Sprint(was.Status.SandboxPID)
		})
		if anew := now.Status.SandboxPID != was.Status.SandboxPID; anew != (c.anew == "sandbox") {
			t.Errorf("%s: the sandbox was made anew: %v", c.what, anew)
		}
		if out := w.ok("exec", "web/two", "--", "/w", "try-write", "/h/x"); c.path == "" && !strings.Contains(out, "denied") {
			t.Errorf("%s: %s", c.what, out)
		}
		if c.path == "" {
			continue
		}
		if out := w.ok("exec", "web/two", "--", "/w", "try-write", c.path+"/x"); !strings.Contains(out, c.written) {
			t.Errorf("%s: a write ends with %q, want %q", c.what, out, c.written)
		}
		held := w.session("exec", "web/one", "--", "/w", "lock", "flock", "/h/lock", "then", "sleep")
		held.expect("locked /h/lock")
		if out := w.ok("exec", "web/two", "--", "/w", "lock", "flock", c.path+"/lock"); !strings.Contains(out, "busy") {
			t.Errorf("%s: the volume is two: %q", c.what, out)
		}
		held.signal(syscall.SIGTERM)
		held.ends(0)
	}
}

// What the host does in a hostPath shows inside at once, also where a container has
// looked at it, has it open or mapped; and the other way round.
func TestHostAndContainerMeet(t *testing.T) {
	w := newWorld(t)
	volume := filepath.Join(w.dir, "h")
	at := func(name string) string { return filepath.Join(volume, name) }
	done := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) { t.Helper(); done(os.WriteFile(at(name), []byte(text), 0o644)) }
	done(os.Mkdir(volume, 0o755), os.Mkdir(at("dir"), 0o755))
	write("page", strings.Repeat(".", 4096))
	write("f", "one\n")
	write("dir/x", "x\n")
	w.start()
	w.declare("web", "volumes: [{name: h, hostPath: {path: DIR/h}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: h, mountPath: /h}]"))
	w.running("web")
	reads := func(what, name, want string) {
		t.Helper()
		r := w.run("exec", "web", "--", "/w", "read", "/h/"+name)
		if got := r.out; r.code == 0 && got != want || r.code != 0 && want != "" {
			t.Errorf("%s: %s is %q, want %q: %s", what, name, got, want, r.err)
		}
	}
	reads("at first", "f", "one\n")
	reads("at first", "dir/x", "x\n")
	f, err := os.OpenFile(at("f"), os.O_APPEND|os.O_WRONLY, 0)
	done(err)
	_, err = f.WriteString("two\n")
	done(err, f.Close())
	reads("appended to", "f", "one\ntwo\n")
	done(os.Truncate(at("f"), 4))
	reads("truncated", "f", "one\n")
	write("next", "next\n")
	done(os.Rename(at("next"), at("f")))
	reads("replaced", "f", "next\n")
	done(os.Rename(at("dir"), at("moved")), os.Mkdir(at("dir"), 0o755))
	write("dir/x", "another\n")
	reads("with another folder", "dir/x", "another\n")
	reads("moved", "moved/x", "x\n")
	done(os.RemoveAll(at("dir")))
	reads("removed", "dir/x", "")
	done(os.Chmod(at("f"), 0))
	reads("that only root may read", "f", "next\n")

	s := w.session("exec", "web", "--", "/w", "feel", "/h/page")
	s.expect("feeling /h/page")
	page, err := os.OpenFile(at("page"), os.O_RDWR, 0)
	done(err)
	defer page.Close()
	_, err = page.WriteAt([]byte("x"), 0)
	done(err)
	s.expect("felt /h/page")
	s.ends(0)
	w.ok("exec", "web", "--", "/w", "poke", "/h/page", "then", "write", "/h/own", "own", "then", "remove", "/h/f")
	var first [1]byte
	_, err = page.ReadAt(first[:], 0)
	own, ownErr := os.ReadFile(at("own"))
	if _, gone := os.Lstat(at("f")); err != nil || first[0] != 'x'+1 || ownErr != nil || string(own) != "own\n" || !os.IsNotExist(gone) {
		t.Errorf("what the container did: the page begins with %q (%v), own is %q (%v), f: %v", first, err, own, ownErr, gone)
	}
}
