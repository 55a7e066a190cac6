package test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const quick = "restartBackoff: {initial: 200ms, max: 400ms}\n"

// A command that is not there: the runtime's reason shows, and the next try.
func TestCommandNotThere(t *testing.T) {
	w := start(t)
	w.declare("web", "restartBackoff: {initial: 1h, max: 1h}\ncontainers:\n- {name: app, rootfs: {path: ROOT}, command: [/nope]}\n- "+box("other", "sleep"))
	s := w.wait("web", "failed and waiting", func(s sandbox) bool {
		return s.Status.Phase == "Failed" && s.box("app").NextStartAt != nil && s.box("other").State == "running"
	})
	c := s.box("app")
	if s.Status.Reason != "StartError" || !strings.Contains(s.Status.Message, "is not in the root") || !strings.Contains(c.Message, "/nope") {
		t.Errorf("it says %+v", s.Status)
	}
	if until := time.Until(*c.NextStartAt); until < 50*time.Minute || until > 70*time.Minute {
		t.Errorf("the next try is in %s", until)
	}
	// What is corrected need not wait for that.
	w.declare("web", "containers:\n- "+box("app", "sleep")+"\n- "+box("other", "sleep"))
	now := w.running("web")
	if now.Status.SandboxPID != s.Status.SandboxPID || now.box("other").ID != s.box("other").ID {
		t.Errorf("others suffered: %+v", now)
	}
}

// A root file system that is missing is named, and used once it is there.
func TestMissingRoot(t *testing.T) {
	w := start(t)
	w.declare("web", quick+"containers:\n- {name: app, rootfs: {path: DIR/late}, command: [/w, sleep]}")
	s := w.wait("web", "failed", phase("Failed"))
	if want := `container "app" can't be started: rootfs.path: there is no directory ` + filepath.Join(w.dir, "late") + ": make it"; !strings.HasPrefix(s.Status.Message, want) {
		t.Errorf("it says %q", s.Status.Message)
	}
	w.declare("other", app("sleep"))
	w.running("other")
	tmp := filepath.Join(w.dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(rootfs, "w"), filepath.Join(tmp, "w")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(w.dir, "late")); err != nil {
		t.Fatal(err)
	}
	w.running("web")
}

// What is wrong with a root is said alike by validate, plan and the status.
func TestRootsThatAreNone(t *testing.T) {
	w := start(t)
	if err := os.Mkdir(filepath.Join(w.dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ root, command, want string }{
		"missing": {filepath.Join(w.dir, "none"), "/w", "rootfs.path: there is no directory " + filepath.Join(w.dir, "none") + ": make it, with the container's files in it"},
		"file":    {"/etc/passwd", "/w", "rootfs.path: /etc/passwd is not a directory: name the one that the container's files are in"},
		"empty":   {filepath.Join(w.dir, "empty"), "/w", "command[0]: /w is not in the root " + filepath.Join(w.dir, "empty") + ", which is empty: put the container's files there"},
		"without": {rootfs, "/gone", "command[0]: /gone is not in the root " + rootfs + ": name a program that is there, as the container sees it"},
		"outside": {rootfs, rootfs + "/w", "command[0]: " + rootfs + "/w is not in the root " + rootfs + ": write the path as the container sees it, /w"},
	} {
		spec := quick + "restartPolicy: Never\ncontainers:\n- {name: app, rootfs: {path: " + c.root + "}, command: [" + c.command + ", sleep]}"
		file := filepath.Join(t.TempDir(), "m.yaml")
		if err := os.WriteFile(file, []byte(w.document(name, spec)), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := w.run("validate", file); r.code != 1 || !strings.Contains(r.out, "spec.containers[0]."+c.want) {
			t.Errorf("%s: validate says %+v", name, r)
		}
		if r := w.run("plan", file); !strings.Contains(r.out, "Note: "+name+`: it could not be started as things are: container "app": `+c.want) {
			t.Errorf("%s: plan says %+v", name, r)
		}
		w.declare(name, spec)
		if s := w.wait(name, "failed", phase("Failed")); s.Status.Message != `container "app" can't be started: `+c.want {
			t.Errorf("%s: the status says %q", name, s.Status.Message)
		}
	}
}

// What of a root is in the way of a mount is named, with what to do, and so for
// roots with and without a layer; links that lead somewhere are followed.
func TestNoMountPoint(t *testing.T) {
	w := newWorld(t)
	root := ownRoot(t, w)
	for name, to := range map[string]string{"absolute": "/not/there", "relative": "gone", "loop": "loop", "fine": "etc"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	const to = "mount where it is meant to lead, or make a directory of it"
	for name, c := range map[string]struct{ path, want string }{
		"absolute": {"/absolute", "/absolute is a link that leads to nothing: " + to},
		"below":    {"/absolute/x", "/absolute is a link that leads to nothing: " + to},
		"relative": {"/relative/x/y", "/relative is a link that leads to nothing: " + to},
		"loop":     {"/loop", "/loop is a link that leads back to itself: " + to},
		"file":     {"/fine/conf/x", "/fine/conf is no directory: mount elsewhere, or make it one"},
		"fine":     {"/fine/more", ""},
		"onfile":   {"/fine/conf", "/fine/conf is a file, on which no directory can be mounted: mount elsewhere, or make it a directory"},
	} {
		for kind, readOnly := range map[string]string{"rw": "", "ro": ", readOnly: true"} {
			box := kind + "-" + name
			w.declare(box, "volumes: [{name: v, emptyDir: {}}]\ncontainers:\n- {name: app, rootfs: {path: DIR/root"+readOnly+"}, command: [/w, sleep], volumeMounts: [{name: v, mountPath: "+c.path+"}]}")
			if c.want == "" {
				w.running(box)
				continue
			}
			s := w.wait(box, "failed", phase("Failed"))
			want := `container "app" can't be started: there is no place for the mount at ` + c.path + ": in the root " + root + ", " + c.want + ": "
			if s.Status.Reason != "StartError" || !strings.HasPrefix(s.Status.Message, want) {
				t.Errorf("it says %q, not %q", s.Status.Message, want)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, readOnly, want string }{
		"ondir":   {"/fine", "false", "/fine is a directory, on which no file can be mounted: mount elsewhere, or make it a file"},
		"nothing": {"/none/x", "true", "which is read-only, there is no file /none/x: make an empty one, or mount a directory"},
		"made":    {"/none/x", "false", ""},
	} {
		w.declare(name, "volumes: [{name: v, hostPath: {path: DIR/file}}]\ncontainers:\n- {name: app, rootfs: {path: DIR/root, readOnly: "+
			c.readOnly+"}, command: [/w, sleep], volumeMounts: [{name: v, mountPath: "+c.path+"}]}")
		if c.want == "" {
			w.running(name)
			continue
		}
		if s := w.wait(name, "failed", phase("Failed")); !strings.Contains(s.Status.Message, ": in the root "+root+", "+c.want+": ") {
			t.Errorf("it says %q, not %q", s.Status.Message, c.want)
		}
	}
}

// A container that ignores SIGTERM has its grace period and no more.
func TestIgnoresSIGTERM(t *testing.T) {
	w := start(t)
	spec := "terminationGracePeriodSeconds: 1\n" + app("ignore-term then print ready then sleep")
	for _, name := range []string{"stopped", "removed", "paused"} {
		w.declare(name, spec)
	}
	for _, name := range []string{"stopped", "removed", "paused"} {
		w.running(name)
		w.said(name, "ready")
	}
	w.declare("paused", "state: Paused\n"+spec)
	w.wait("paused", "paused", phase("Paused"))
	begin := time.Now()
	w.declare("stopped", "state: Stopped\n"+spec)
	w.undeclare("removed")
	w.undeclare("paused")
	s := w.wait("stopped", "stopped", phase("Stopped"))
	if took := time.Since(begin); took < time.Second {
		t.Errorf("its grace of 1 s was %s", took)
	}
	if c := s.box("app"); !c.exited(137) {
		t.Errorf("it ended with %s, %s", c.exit(), c.Reason)
	}
	w.gone("removed")
	w.gone("paused")
}

// Other stop signals than SIGTERM.
func TestStopSignal(t *testing.T) {
	w := start(t)
	spec := "containers:\n- " + box("app", "exit-on-term 1 then print ready then sleep", "lifecycle: {stopSignal: INT}")
	w.declare("web", spec)
	w.running("web")
	w.said("web", "ready")
	w.declare("web", "state: Stopped\n"+spec)
	s := w.wait("web", "stopped", phase("Stopped"))
	if c := s.box("app"); !c.exited(0) { // of SIGINT, not 1 of SIGTERM
		t.Errorf("it ended with %s", c.exit())
	}
}

// The second daemon on a state directory says so and ends.
func TestTwoDaemons(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	r := w.run(w.arguments()...)
	if r.code != 1 || !strings.Contains(r.err, "another daemon") || !strings.Contains(r.err, w.state) {
		t.Errorf("the second daemon: %+v", r)
	}
	w.undeclare("web")
	w.gone("web") // the first goes on
	_ = was
}

// Whoever is not root is told so.
func TestNotRoot(t *testing.T) {
	w := start(t)
	as := func(args ...string) result {
		cmd := w.program(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return w.command(cmd)
	}
	if r := as("daemon", "--state-dir", "/tmp/none", "--data-dir", "/tmp/none"); r.code != 1 || !strings.Contains(r.err, "root") {
		t.Errorf("the daemon: %+v", r)
	}
	if r := as("get"); r.code != 1 || !strings.Contains(r.err, "root") {
		t.Errorf("get: %+v", r)
	}
	if r := as("version"); r.code != 0 {
		t.Errorf("version: %+v", r)
	}
}

// A full state directory costs only what is new, and only while it is full.
func TestStateDirFull(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(w.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("test", w.state, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	w.mounted = w.state
	w.start()
	w.declare("old", app("sleep"))
	old := w.running("old")
	filler := filepath.Join(w.state, "filler")
	fill(t, filler)
	w.declare("new", quick+app("sleep"))
	w.wait("new", "failed for want of space", and(phase("Failed"), func(s sandbox) bool { return strings.Contains(s.Status.Message, "no space left") }))
	if now := w.running("old"); now.Status.SandboxPID != old.Status.SandboxPID || now.box("app").ID != old.box("app").ID {
		t.Errorf("the old one suffers: %+v", now)
	}
	w.restart()
	if now := w.running("old"); now.Status.SandboxPID != old.Status.SandboxPID || now.box("app").ID != old.box("app").ID {
		t.Errorf("the old one was not taken over: %+v", now)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	w.running("new")
}

// fill fills a file system.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 4096; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
