package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holder is a sandbox with the folder DIR/v as its volume, which opens, enters and maps what it
// can of directories in it before these are anybody's.
type holder struct {
	*world
	dirs  []string
	kept  []string // which show as read-only: what was opened below one stays
	tries int
}

// hold makes directories in the volume, and the sandbox.
func (w *world) hold(dirs ...string) *holder {
	w.t.Helper()
	h := &holder{world: w, dirs: dirs}
	for _, dir := range dirs {
		if err := os.MkdirAll(h.at(dir, "sub"), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	h.clean()
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- {name: app, rootfs: {path: DIR/root}, command: [/attacker, hold, /v, "+
		strings.Join(dirs, ", ")+"], securityContext: {capabilities: {add: [ALL]}}, volumeMounts: [{name: v, mountPath: /v}]}")
	w.running("web")
	h.appears("holding")
	return h
}

func (h *holder) at(dir, name string) string { return filepath.Join(h.dir, "v", dir, name) }

func (h *holder) appears(name string) string {
	h.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(h.at(name, "")); err == nil {
			return string(b)
		}
	}
	h.t.Fatalf("%s does not appear", name)
	return ""
}

// attack has the sandbox try all that it has, and returns what worked, by directory;
// what it wrote counts also where it does not know.
func (h *holder) attack() map[string][]string {
	h.t.Helper()
	if err := os.WriteFile(h.at(fmt.Sprint("order-", h.tries), ""), nil, 0o644); err != nil {
		h.t.Fatal(err)
	}
	said := h.appears(fmt.Sprint("said-", h.tries))
	h.tries++
	worked := map[string][]string{}
	for line := range strings.Lines(said) {
		what, dir, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "WORKED "), " in ")
		if !ok {
			h.t.Fatalf("the attacker says %q", line)
		}
		worked[dir] = append(worked[dir], what)
	}
	for _, dir := range h.dirs {
		_ = filepath.WalkDir(h.at(dir, ""), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := e.Info(); err == nil && info.Mode().Perm() == 0o701 {
				worked[dir] = append(worked[dir], "the mode of "+path)
			}
			var b []byte
			if e.Type().IsRegular() { // daemons have pipes, too
				b, _ = os.ReadFile(path)
			}
			if strings.Contains(e.Name(), "planted") || strings.Contains(string(b), "planted") {
				worked[dir] = append(worked[dir], "the host has "+path)
			}
			return nil
		})
	}
	return worked
}

// clean undoes what an attack did before a directory was anybody's.
func (h *holder) clean() {
	h.t.Helper()
	for _, dir := range h.dirs {
		for _, name := range []string{"planted-dir", "planted-path", "planted-sub", "planted-up", "planted-cwd", "sub/planted-sub"} {
			if err := os.RemoveAll(h.at(dir, name)); err != nil {
				h.t.Fatal(err)
			}
		}
		if err := os.Chmod(h.at(dir, ""), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(h.at(dir, "held.yaml"), []byte(strings.Repeat("# nothing\n", 20)), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
}

// ways is in how many the attacker reaches a directory that is nobody's, at least.
const ways = 8

// reaches holds an attack to what it is to reach, and nothing of the others.
func (h *holder) reaches(when string, dirs ...string) {
	h.t.Helper()
	worked := h.attack()
	for _, dir := range dirs {
		if len(worked[dir]) < ways {
			h.t.Errorf("%s, in %s only this worked: %q", when, dir, worked[dir])
		}
		delete(worked, dir)
	}
	for _, dir := range h.kept {
		worked[dir] = slices.DeleteFunc(worked[dir], func(what string) bool {
			return !strings.Contains(what, "the mode of") && !strings.HasPrefix(what, "making") || what == "making planted-sub"
		})
		if len(worked[dir]) == 0 {
			delete(worked, dir)
		}
	}
	for dir, what := range worked {
		h.t.Errorf("%s, in %s: %q", when, dir, what)
	}
	h.cleanOf(dirs)
}

// empty removes what is in a manifests' directory: it may be a container's, and is a
// problem.
func (h *holder) empty(dir string) {
	h.t.Helper()
	entries, err := os.ReadDir(h.at(dir, ""))
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(h.at(dir, e.Name())))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *holder) cleanOf(dirs []string) {
	h.t.Helper()
	of := *h
	of.dirs = dirs
	of.clean()
}

// What a container has open, has entered or has mapped of a directory is taken from it
// when that becomes a daemon's: another one's, that of a run, or of its own daemon that
// is started anew with another directory, and one's whose daemon does not run. The
// folder of a daemon's program can't be changed any more.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	w.attacker()
	w.state = filepath.Join(w.dir, `s[t]*?\`) // which would be another one as a pattern
	w.socket = filepath.Join(w.state, "sandboxer.sock")
	second, third, fourth := w.beside("v/second"), w.beside("v/third"), w.beside("v/fourth")
	w.start()
	h := w.hold("second/m", "second/s", "second/d", "second/bin", "third/s", "third/d", "fourth/m", "fourth/s", "fourth/d", "later/m")
	pid := w.running("web").Status.SandboxPID
	h.reaches("at first", h.dirs...)
	program, err := os.ReadFile(sandboxer)
	if err != nil {
		t.Fatal(err)
	}
	second.binary, h.kept = h.at("second/bin", "sandboxer"), []string{"second/bin"}
	if err := os.WriteFile(second.binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	second.start()
	h.reaches("a second daemon", "third/s", "third/d", "fourth/m", "fourth/s", "fourth/d", "later/m")

	mark := filepath.Join(w.dir, "mark")
	if err := os.Mkdir(mark, 0o755); err != nil {
		t.Fatal(err)
	}
	run := w.program(third.runs(w.manifest("job", "volumes: [{name: m, hostPath: {path: DIR/mark}}]\ncontainers:\n"+
		"- {name: app, rootfs: {path: DIR/root}, command: [/attacker, hold, /m], volumeMounts: [{name: m, mountPath: /m}]}"))...)
	out, err := os.Create(filepath.Join(w.dir, "run.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	run.Stdout, run.Stderr = out, out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill() }) // it may have ended
	h.appears("../mark/holding")
	h.reaches("a run", "fourth/m", "fourth/s", "fourth/d", "later/m")
	if err := os.WriteFile(filepath.Join(mark, "end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		b, _ := os.ReadFile(out.Name())
		t.Errorf("the run: %v: %s", err, b)
	}

	w.kill()
	fourth.start()
	h.reaches("while its daemon is dead", "later/m")
	w.flags = append(w.flags, "--manifests", h.at("later/m", ""))
	w.start()
	h.reaches("its own daemon's")
	if now := w.running("web").Status.SandboxPID; now != pid {
		t.Errorf("the sandbox was made anew")
	}
	w.restart()
	h.reaches("and still")
	h.empty("later/m")
}

// What a sandbox that is frozen does not let go of is told at once, and taken from it
// when it goes on.
func TestHeldByFrozen(t *testing.T) {
	w := newWorld(t, "--resync", "200ms")
	w.attacker()
	w.start()
	h := w.hold("later/m")
	h.reaches("at first", h.dirs...)
	web := w.running("web")
	w.kill()
	freeze(t, web, true)
	w.flags = append(w.flags, "--manifests", h.at("later/m", ""))
	w.begin()
	if !poll(func() bool { return w.logged("its cgroup is frozen") }) {
		t.Fatal("it is not told of")
	}
	freeze(t, web, false)
	w.awaitReady()
	for deadline := time.Now().Add(patience); len(h.attack()) > 0; h.clean() {
		if time.Now().After(deadline) {
			t.Fatal("it is never taken")
		}
	}
	h.empty("later/m")
}

// refusedBecause is a daemon that does not start, and says why.
func (w *world) refusedBecause(words ...string) {
	w.t.Helper()
	began := time.Now()
	r := w.run(w.arguments()...)
	for _, word := range words {
		if r.code != 1 || !strings.Contains(r.err, word) || strings.Count(r.err, "\n") > 1 {
			w.t.Errorf("it does not say %q in one line: %+v", word, r)
		}
	}
	if took := time.Since(began); took > patience {
		w.t.Errorf("it took %v", took)
	}
}

// A daemon refuses a directory that a sandbox is inside of, and a configuration file
// whose folder a sandbox has as its volume.
func TestDirectoryAroundVolume(t *testing.T) {
	w := start(t)
	second := w.beside("v/second")
	if err := os.MkdirAll(filepath.Join(second.data, "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.declare("web", "volumes: [{name: v, hostPath: {path: "+second.data+"/inner}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	second.makeConfig()
	etc := filepath.Dir(second.config())
	w.declare("etc", "volumes: [{name: v, hostPath: {path: "+etc+"}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("etc")
	w.running("web")
	second.refusedBecause(`sandbox "web" of the daemon on `+w.state, second.data+"/inner is inside the data directory "+second.data, "end that sandbox, or choose another directory")
	w.undeclare("web")
	w.gone("web")
	second.refusedBecause(`sandbox "etc" of the daemon on `+w.state, etc+" is the folder of the configuration file "+second.config(), "end that sandbox")
	w.undeclare("etc")
	w.gone("etc")
	second.start()
}

// Nothing is made where a container's link leads, of what a daemon is given for itself,
// while the sandbox runs and when it is gone.
func TestOwnByLinks(t *testing.T) {
	w := start(t)
	second := w.beside("second")
	real, link := filepath.Join(w.dir, "real"), filepath.Join(w.dir, "v", "x")
	if err := errors.Join(os.Mkdir(real, 0o755), os.Mkdir(filepath.Dir(link), 0o755)); err != nil {
		t.Fatal(err)
	}
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	for _, could := range []string{"can write", "could write until"} {
		for _, flag := range []string{"--state-dir", "--data-dir", "--socket", "--manifests"} {
			second.flags = []string{flag, filepath.Join(link, "y")}
			second.refusedBecause(flag+" "+link, link+" is a symbolic link", `sandbox "web" `+could)
		}
		if made, err := os.ReadDir(real); err != nil || len(made) > 0 {
			t.Errorf("made: %v, %v", made, err)
		}
		if could == "can write" {
			w.undeclare("web")
			w.gone("web")
		}
	}
}

// A daemon starts again whatever its own sandbox is in: frozen, of a container that
// shows the daemon's directories and another one that does not.
func TestStartsAroundItsOwnSandbox(t *testing.T) {
	w := newWorld(t)
	inner := w.beside("v/inner")
	inner.start()
	volume := "volumes: [{name: v, hostPath: {path: " + filepath.Join(w.dir, "v") + "}}]\ncontainers:\n- " +
		box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]") + "\n- " + box("aid", "sleep")
	inner.declare("web", volume)
	was := inner.running("web")
	inner.declare("web", "state: Paused\n"+volume)
	inner.wait("web", "paused", phase("Paused"))
	inner.restart()
	inner.declare("web", volume)
	now := inner.running("web")
	for _, name := range []string{"app", "aid"} {
		inner.same(was, now, name)
	}
	for _, own := range []string{inner.state, inner.data} {
		path := strings.TrimPrefix(own, w.dir)
		if r := inner.run("exec", "web/app", "--", "/w", "list", path); r.code != 0 || r.out != "entries 0\n" {
			t.Errorf("%s shows: %+v", path, r)
		}
	}
}

// What a container may have left in a directory before that became a daemon's is not
// obeyed until somebody has vouched for it: in a manifests' directory, also one that was
// put in its place or mounted in it, in a data directory, and as a configuration file.
func TestPlanted(t *testing.T) {
	w := newWorld(t)
	second, third, fourth := w.beside("second"), w.beside("third"), w.beside("v/fourth")
	second.manifests, third.data = filepath.Join(w.dir, "v/in/m"), filepath.Join(w.dir, "v/third")
	if err := os.MkdirAll(second.manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	vouch := func(path string) {
		t.Helper()
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(name string) {
		t.Helper()
		path := filepath.Join(second.manifests, name+".yaml")
		if !poll(func() bool { return second.logged(path + " is refused: it was changed last at ") }) {
			t.Fatalf("%s is not refused: %s", path, second.log())
		}
		if s, _ := second.get(name); len(s.Status.Containers) > 0 {
			t.Errorf("%s runs", name)
		}
	}

	second.declare("first", "containers:\n- "+box("app", "sleep"))
	second.start()
	refused("first")
	vouch(filepath.Join(second.manifests, "first.yaml"))
	second.running("first")
	second.declare("own", "containers:\n- "+box("app", "sleep"))
	second.running("own")

	other := filepath.Join(w.dir, "v/in/other")
	for _, name := range []string{"first", "own"} {
		b, err := os.ReadFile(filepath.Join(second.manifests, name+".yaml"))
		if err := errors.Join(err, os.MkdirAll(other, 0o755), os.WriteFile(filepath.Join(other, name+".yaml"), b, 0o644)); err != nil {
			t.Fatal(err)
		}
		another := strings.ReplaceAll(string(b), name, "another")
		if err := os.WriteFile(filepath.Join(other, "another.yaml"), []byte(another), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Rename(second.manifests, second.manifests+".old"), os.Rename(other, second.manifests)); err != nil {
		t.Fatal(err)
	}
	refused("another")
	second.running("first")
	if !poll(func() bool {
		vouch(filepath.Join(second.manifests, "another.yaml"))
		s, _ := second.get("another")
		return s.Status.Phase == "Running"
	}) {
		t.Fatal("it is never obeyed")
	}
	second.names["another"] = true

	elsewhere := filepath.Join(w.dir, "v/elsewhere.yaml")
	mounted := filepath.Join(second.manifests, "mounted.yaml")
	if err := errors.Join(os.WriteFile(elsewhere, []byte(second.document("mounted", app("sleep"))), 0o644), os.WriteFile(mounted, nil, 0o644),
		unix.Mount(elsewhere, mounted, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(mounted, unix.MNT_DETACH); err != nil { // a daemon may be reading it
			t.Error(err)
		}
	}()
	second.put("poke.txt", "")
	refused("mounted")

	if err := os.MkdirAll(filepath.Join(third.data, "manifests"), 0o755); err != nil {
		t.Fatal(err)
	}
	third.refusedBecause("may not be the daemon's own", third.data+"/manifests", "choose another directory")
	vouch(fourth.config()) // which may be a container's doing
	fourth.refusedBecause(fourth.config() + " is refused")
}
