package test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// silentFS is a FUSE file system of one folder, with a file of each name that
// anybody asks for, which all have one content. Once it is silent it answers
// nobody, like a server that is gone.
type silentFS struct {
	path    string
	content string
	fuse    *os.File

	mu     sync.Mutex
	silent bool
	after  map[uint32]int // how many requests of a kind are answered, and no more
	owed   [][]byte       // what was asked meanwhile
}

// mountSilent mounts one in the world's directory, until the test is over.
func (w *world) mountSilent(at, content string) *silentFS {
	w.t.Helper()
	w.shows(silentMounts)
	fs := &silentFS{path: filepath.Join(w.dir, at), content: content}
	if err := os.MkdirAll(fs.path, 0o755); err != nil {
		w.t.Fatal(err)
	}
	// Not by the poller: what is read is read by a thread that can be left.
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	fs.fuse = os.NewFile(uintptr(fd), "fuse")
	if err := syscall.Mount("silent", fs.path, "fuse.silent", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)); err != nil {
		w.t.Fatal(err)
	}
	go fs.serve()
	w.t.Cleanup(fs.abort)
	return fs
}

// fallSilent has nobody be answered any more.
func (fs *silentFS) fallSilent() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.silent = true
}

// fallSilentAfter has nobody's requests of a kind be answered any more once so many
// were.
func (fs *silentFS) fallSilentAfter(op uint32, requests int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.after = map[uint32]int{op: requests}
}

// resume answers again, also what was asked meanwhile.
func (fs *silentFS) resume() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.silent, fs.after = false, nil
	for _, request := range fs.owed {
		fs.answer(request)
	}
	fs.owed = nil
}

// abort has everybody who waits for an answer get an error.
func (fs *silentFS) abort() {
	_ = syscall.Unmount(fs.path, syscall.MNT_FORCE|syscall.MNT_DETACH)
}

// The requests that are served.
const (
	fuseLookup, fuseForget, fuseGetattr, fuseMkdir        = 1, 2, 3, 9
	fuseUnlink, fuseRename, fuseStatfs                    = 10, 12, 17
	fuseOpen, fuseRead, fuseWrite, fuseRelease, fuseFlush = 14, 15, 16, 18, 25
	fuseInit, fuseOpendir, fuseReaddir, fuseReleasedir    = 26, 27, 28, 29
	fuseCreate, fuseInterrupt, fuseBatchForget            = 35, 36, 42
)

func (fs *silentFS) serve() {
	buf := make([]byte, 1<<20)
	for {
		n, err := syscall.Read(int(fs.fuse.Fd()), buf)
		if err == syscall.ENODEV {
			fs.fuse.Close()
			return
		}
		if err != nil || n < 40 {
			continue
		}
		fs.mu.Lock()
		op := binary.LittleEndian.Uint32(buf[4:])
		left, counted := fs.after[op]
		if counted {
			fs.after[op] = max(left-1, 0)
		}
		if fs.silent || counted && left == 0 {
			fs.owed = append(fs.owed, slices.Clone(buf[:n]))
		} else {
			fs.answer(buf[:n])
		}
		fs.mu.Unlock()
	}
}

// attr describes the folder, which is node 1, or the file.
func (fs *silentFS) attr(node uint64) []byte {
	le, b := binary.LittleEndian, make([]byte, 88)
	le.PutUint64(b, node)
	le.PutUint64(b[8:], uint64(len(fs.content)))
	mode := uint32(syscall.S_IFREG | 0o755)
	if node == 1 {
		mode = syscall.S_IFDIR | 0o755
	}
	le.PutUint32(b[60:], mode)
	le.PutUint32(b[64:], 1)
	le.PutUint32(b[80:], 4096)
	return b
}

func (fs *silentFS) answer(request []byte) {
	le := binary.LittleEndian
	op, unique, node := le.Uint32(request[4:]), le.Uint64(request[8:]), le.Uint64(request[16:])
	var out []byte
	errno := int32(0)
	switch op {
	case fuseForget, fuseInterrupt, fuseBatchForget:
		return
	case fuseInit:
		out = make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 4096)
	case fuseLookup:
		if request[40] == '.' {
			errno = -int32(syscall.ENOENT)
			break
		}
		entry := make([]byte, 40)
		le.PutUint64(entry, 2)
		out = slices.Concat(entry, fs.attr(2))
	case fuseGetattr:
		out = append(make([]byte, 16), fs.attr(node)...)
	case fuseOpen, fuseOpendir:
		out = make([]byte, 16)
	case fuseStatfs:
		out = make([]byte, 80)
		le.PutUint32(out[40:], 4096) // of a block
		le.PutUint32(out[44:], 255)  // of a name
	case fuseRead:
		if le.Uint64(request[48:]) == 0 {
			out = []byte(fs.content)
		}
	case fuseCreate:
		entry := make([]byte, 40)
		le.PutUint64(entry, 2)
		le.PutUint64(entry[16:], 3600) // what it is called is not asked again, in seconds
		out = slices.Concat(entry, fs.attr(2), make([]byte, 16))
	case fuseWrite:
		out = slices.Concat(request[56:60], make([]byte, 4)) // all of it
	case fuseUnlink, fuseRename, fuseFlush, fuseReaddir, fuseRelease, fuseReleasedir:
	default:
		errno = -int32(syscall.ENOSYS)
	}
	head := make([]byte, 16)
	le.PutUint32(head, uint32(16+len(out)))
	le.PutUint32(head[4:], uint32(errno))
	le.PutUint64(head[8:], unique)
	_, _ = syscall.Write(int(fs.fuse.Fd()), slices.Concat(head, out)) // to somebody who may be gone
}

// overlay mounts one in the world's directory that shows another one, until the test is
// over.
func (w *world) overlay(at, lower string) {
	w.t.Helper()
	at, lower = filepath.Join(w.dir, at), filepath.Join(w.dir, lower)
	none := lower + ".none" // it takes two where nothing is written to
	for _, dir := range []string{at, none} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := syscall.Mount("overlay", at, "overlay", 0, "lowerdir="+lower+":"+none); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
}

// endsSoon holds a daemon that something hangs of to its end, and starts the
// next one.
func (w *world) endsSoon(sig syscall.Signal) {
	w.t.Helper()
	began := time.Now()
	if err := w.daemon.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-w.daemon.ended:
	case <-time.After(patience):
		w.t.Fatalf("%s does not end the daemon", sig)
	}
	// Five seconds, and what a loaded machine takes beyond: less than an action has.
	if took := time.Since(began); took > 25*time.Second {
		w.t.Errorf("%s: it ended after %s", sig, took)
	}
	w.start()
}

// toldSilent waits until an event of each sandbox says that something does not
// answer.
func (w *world) toldSilent(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if !w.until(func() bool {
			return w.run("get", name).code == 0 && slices.ContainsFunc(w.events(name, "ActionFailed", "HookFailed"), func(e event) bool { return strings.Contains(e.Message, "does not answer") })
		}) {
			w.t.Errorf("of %s nothing is told:\n%s", name, w.run("events", name).out)
		}
	}
}

// A host path that does not answer fails the sandbox that needs it, whatever it
// needs it for, and says so; others go on, the daemon can be ended and killed, and
// the next one takes over.
func TestSilentPath(t *testing.T) {
	w := newWorld(t)
	fs := w.mountSilent("silent", "value")
	w.configure("allowBundleHooks: true\n")
	w.start()
	w.declare("before", app("sleep", "volumes: [{name: v, hostPath: {path: DIR/silent}}]"))
	w.running("before")
	bundle := func(name string, change func(config map[string]any)) string {
		return "containers: [{name: app, bundle: " + w.bundle(name, change) + "}]"
	}
	kinds := map[string]string{
		"variable": "containers:\n- " + box("app", "sleep", "env: [{name: E, valueFrom: {file: DIR/silent/value}}]"),
		"volume":   "volumes: [{name: v, hostPath: {path: DIR/silent/v}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"),
		"made":     "volumes: [{name: v, hostPath: {path: DIR/silent/v, type: DirectoryOrCreate}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"),
		"link":     "volumes: [{name: v, hostPath: {path: DIR/link/v}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"),
		"root":     "containers: [{name: app, rootfs: {path: DIR/silent/root}, command: [/w]}]",
		"bundle":   "containers: [{name: app, bundle: DIR/silent/bundle}]",
		"config":   bundle("linked", func(map[string]any) {}),
		"bundled":  bundle("bundled", func(c map[string]any) { c["root"] = map[string]any{"path": w.dir + "/silent/root"} }),
		"mounted": bundle("mounted", func(c map[string]any) {
			c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/v", "type": "bind", "source": w.dir + "/silent/v", "options": []string{"rbind"}})
		}),
		"hooked": bundle("hooked", func(c map[string]any) {
			c["hooks"] = map[string]any{"createRuntime": []any{map[string]any{"path": w.dir + "/silent/hook"}}}
		}),
		"pidfile":  "containers:\n- " + box("app", "sleep", "pidFile: DIR/silent/pid"),
		"userlog":  "containers:\n- " + box("app", "sleep", "userLog: DIR/silent/log"),
		"console":  "containers:\n- " + box("app", "sleep", "terminal: true", "consoleSocket: DIR/silent/socket"),
		"hook":     "containers:\n- " + box("app", "sleep", "hooks: {prestart: [{path: DIR/silent/hook}]}"),
		"script":   "containers:\n- " + box("app", "sleep", "hooks: {prestart: [{path: DIR/script}]}"),
		"restored": "restoreFrom: DIR/silent/checkpoint\n" + app("sleep"),
	}
	kinds["stacked"] = "volumes: [{name: v, hostPath: {path: DIR/over/value}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]")
	w.overlay("over", "silent")
	for link, to := range map[string]string{"link": "silent", "linked/config.json": "../silent/config.json"} {
		_ = os.Remove(filepath.Join(w.dir, link))
		if err := os.Symlink(to, filepath.Join(w.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "script"), []byte("#!"+w.dir+"/silent/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	fs.fallSilent()
	for name, spec := range kinds {
		w.declare(name, spec)
	}
	w.declare("late", app("sleep"))
	w.running("late")
	w.toldSilent(slices.Collect(maps.Keys(kinds))...)
	for _, args := range [][]string{{"checkpoint", "late", "--image-path", w.dir + "/silent/to"}, {"plan", w.dir + "/silent"}, {"validate", w.dir + "/link"},
		{"validate", w.manifests}, {"run", w.dir + "/silent/run.yaml"}} {
		if got := w.run(args...); got.code == 0 || !strings.Contains(got.out+got.err, "does not answer") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	w.endsSoon(syscall.SIGTERM)
	w.declare("later", app("sleep"))
	w.running("later")
	w.endsSoon(syscall.SIGKILL)
	for name := range kinds {
		w.undeclare(name)
	}
	for name := range kinds {
		w.gone(name)
	}
}

// A file system that answers, and then no more, or reads and no writes, holds up its
// own sandbox and neither others nor the daemon's end.
func TestSilentMeanwhile(t *testing.T) {
	w := newWorld(t)
	specs := map[string]string{}
	silent := func(name string, op uint32, requests int, spec string) {
		w.mountSilent(name, "value").fallSilentAfter(op, requests)
		specs[name] = strings.ReplaceAll("restartBackoff: {initial: 1h, max: 1h}\n"+spec, "HERE", "DIR/"+name)
	}
	for n := range 6 { // what is read for one container
		silent(fmt.Sprint("value", n), fuseRead, n, "containers:\n- "+box("app", "sleep", "env: [{name: V, valueFrom: {file: HERE/v}}]"))
	}
	volume := "volumes: [{name: v, hostPath: {path: HERE/.new, type: TYPE}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]")
	silent("made", fuseMkdir, 0, strings.ReplaceAll(volume, "TYPE", "DirectoryOrCreate"))
	silent("file", fuseCreate, 0, strings.ReplaceAll(volume, "TYPE", "FileOrCreate"))
	silent("logged", fuseCreate, 0, "containers:\n- "+box("app", "sleep", "userLog: HERE/.log"))
	silent("pid", fuseCreate, 0, "containers:\n- "+box("app", "sleep", "pidFile: HERE/pid"))
	silent("written", fuseWrite, 0, "containers:\n- "+box("app", "sleep", "pidFile: HERE/pid"))
	w.start()
	var names []string
	for name, spec := range specs {
		w.declare(name, spec)
		if name != "value5" {
			names = append(names, name)
		}
	}
	w.toldSilent(names...)
	w.declare("late", app("sleep"))
	was := w.running("late")
	w.endsSoon(syscall.SIGTERM)
	w.same(was, w.running("late"), "app")
	w.endsSoon(syscall.SIGKILL)
	w.same(was, w.running("late"), "app")
	w.endsSoon(syscall.SIGTERM)
	for name := range specs {
		w.undeclare(name)
	}
	for name := range specs {
		w.gone(name)
	}
}

// A volume that begins to hang holds up its own sandbox: not others, not the
// daemon's end, and not that of the sandbox once it answers or is given up.
func TestSilentVolume(t *testing.T) {
	w := newWorld(t)
	fs := w.mountSilent("silent", "value")
	w.start()
	w.declare("held", "volumes: [{name: v, hostPath: {path: DIR/silent}}]\ncontainers:\n- "+
		box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]", "pidFile: DIR/silent/held"))
	was := w.running("held")
	w.ok("exec", "held", "--", "/w", "read", "/v/one")
	fs.fallSilent()
	w.session("exec", "held", "--", "/w", "read", "/v/another")
	w.declare("late", app("sleep"))
	w.running("late")
	w.endsSoon(syscall.SIGTERM)
	w.same(was, w.running("held"), "app")
	w.endsSoon(syscall.SIGKILL)
	w.same(was, w.running("held"), "app")
	w.undeclare("held")
	w.undeclare("late")
	w.gone("late")
	w.endsSoon(syscall.SIGTERM)
	fs.abort()
	w.gone("held")
}

// A manifest directory that does not answer, a link in another one that leads
// there, and a file that is mounted from there hold up no other manifest, and what
// was declared there goes on. Nor does a daemon's own directory hold up containers
// that it is to be kept from.
func TestSilentManifests(t *testing.T) {
	w := newWorld(t)
	fs := w.mountSilent("around/silent", "value")
	w.flags = append(w.flags, "--manifests", fs.path)
	w.start()
	w.declare("before", app("sleep"))
	was := w.running("before")
	mounted := filepath.Join(w.manifests, "mounted.yaml")
	if err := os.WriteFile(mounted, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !w.until(func() bool { return strings.Contains(w.ok("get", "-o", "json"), mounted) }) { // the scan is over
		t.Fatalf("nothing is told of %s:\n%s", mounted, w.ok("get", "-o", "json"))
	}
	if err := syscall.Mount(filepath.Join(fs.path, "m.yaml"), mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
	fs.fallSilent()
	if err := os.Symlink(filepath.Join(fs.path, "m.yaml"), filepath.Join(w.manifests, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	w.declare("late", "volumes: [{name: v, hostPath: {path: DIR/around}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("late")
	if got := w.run("exec", "late", "--", "/w", "read", "/v/silent/m.yaml"); got.code == 0 || !strings.Contains(got.err, "no such file") {
		t.Errorf("a container sees what is the daemon's: %+v", got)
	}
	for _, shown := range []string{fs.path, mounted, "link.yaml"} {
		told := func() bool {
			out := w.ok("get", "-o", "json")
			return strings.Contains(out, shown) && strings.Contains(out, "does not answer")
		}
		if !w.until(told) {
			t.Errorf("nothing is told of %s:\n%s", shown, w.ok("get", "-o", "json"))
		}
	}
	w.same(was, w.running("before"), "app")
	w.endsSoon(syscall.SIGTERM)
	w.same(was, w.running("before"), "app")
	w.endsSoon(syscall.SIGKILL)
	w.declare("later", app("sleep"))
	w.running("later")
	// Once it answers it is read again, without anybody asking for it.
	fs.resume()
	if !w.until(func() bool { return !strings.Contains(w.ok("get", "-o", "json"), "does not answer") }) {
		t.Errorf("what answers again is not looked at:\n%s", w.ok("get", "-o", "json"))
	}
}

// A configuration file that does not answer fails the daemon's start, and says
// why.
func TestSilentConfig(t *testing.T) {
	w := newWorld(t)
	fs := w.mountSilent("silent", "{}")
	fs.fallSilent()
	got := w.command(w.program(append(w.arguments(), "--config", filepath.Join(fs.path, "config.yaml"))...))
	if got.code == 0 || !strings.Contains(got.err, "does not answer") {
		t.Errorf("got %+v", got)
	}
}
