package test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	w.listening("web")
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
	killAll(append(w.helpers("web", "gofer"), w.helpers("web", "keeper")...))
	w.start()
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != was.Status.SandboxPID })
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
	w.within(10*time.Second, "opening a FIFO of the host's", func() {
		for _, does := range []string{"read /h/fifo", "write /h/fifo x"} {
			if r := w.run(append([]string{"exec", "web", "--", "/w"}, strings.Fields(does)...)...); r.code != 1 || !strings.Contains(r.err, "operation not permitted") {
				t.Errorf("%s: %+v", does, r)
			}
		}
	})
}
