package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take. It is far longer than anything
// takes, so that a loaded machine does not fail a test;
// SANDBOXER_TEST_PATIENCE sets another for those who look for a fault.
var patience = patienceOr(90 * time.Second)

func patienceOr(otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SANDBOXER_TEST_PATIENCE")); err == nil {
		return d
	}
	return otherwise
}

// world is a daemon with everything that it works on.
type world struct {
	t         *testing.T
	dir       string // of all that follows
	manifests string
	state     string
	data      string
	socket    string
	parent    string // cgroup
	flags     []string
	binary    string   // the program, of daemon and client
	around    []string // the command that starts the daemon's; nil: none
	daemon    *daemon  // nil until start
	mounted   string   // what the test itself has mounted and cleanUp unmounts

	mu    *sync.Mutex
	names map[string]bool // of all sandboxes that were ever declared; below mu
}

// daemon is one run of the program.
type daemon struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed after it was reaped
	notify *net.UnixConn // what it tells systemd
}

var worlds atomic.Int64

// number is another one for each world, all of the same length: what is asked for by
// the beginning of one's name, such as its cgroups, is nothing of another's.
func number() string { return fmt.Sprint(1000 + worlds.Add(1)) }

// newWorld makes a world whose daemon does not run yet. The test runs beside
// others from here on. Flags come after the harness's own and overrule them.
func newWorld(t *testing.T, flags ...string) *world {
	t.Helper()
	t.Parallel()
	n := number()
	dir := filepath.Join(base, n)
	w := &world{
		t: t, dir: dir, flags: flags, binary: sandboxer, mu: &sync.Mutex{}, names: map[string]bool{},
		manifests: filepath.Join(dir, "m"),
		state:     filepath.Join(dir, "s"),
		data:      filepath.Join(dir, "d"),
		socket:    filepath.Join(dir, "s", "sandboxer.sock"),
		parent:    parents + n,
	}
	if err := os.MkdirAll(w.manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theHost.leave(dir) }) // after all is unmounted
	t.Cleanup(w.finish)
	return w
}

// rooms keep two kinds of tests apart: one kind at a time, as many of it as there are.
type rooms struct {
	mu    sync.Mutex
	freed chan struct{} // closed, and another one, once nobody is in
	kind  string
	in    map[string]bool // by their worlds' directories
}

// theHost is for what shows in the root of the host: a container that has that for its
// own shows all that is mounted there, and is not started where something of it does
// not answer.
var theHost = rooms{freed: make(chan struct{}), in: map[string]bool{}}

// shows has a world be of one of those kinds from here on.
func (w *world) shows(kind string) {
	w.t.Helper()
	r := &theHost
	r.mu.Lock()
	for len(r.in) > 0 && r.kind != kind {
		freed := r.freed
		r.mu.Unlock()
		<-freed
		r.mu.Lock()
	}
	r.kind, r.in[w.dir] = kind, true
	r.mu.Unlock()
}

// leave undoes shows, if need be.
func (r *rooms) leave(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.in, dir); len(r.in) == 0 {
		close(r.freed)
		r.freed = make(chan struct{})
	}
}

// The kinds.
const (
	hostRoot     = "the host's root is a container's"
	silentMounts = "what is mounted does not answer"
)

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	other := *w
	other.t = t
	return &other
}

// start makes a world with a daemon that runs.
func start(t *testing.T, flags ...string) *world {
	t.Helper()
	w := newWorld(t, flags...)
	w.start()
	return w
}

// arguments are the daemon's. A resync that never comes within a test shows
// that events are enough; a short one alone shows that it is.
func (w *world) arguments() []string {
	w.makeConfig()
	args := []string{"daemon", "--manifests", w.manifests, "--state-dir", w.state, "--data-dir", w.data,
		"--cgroup-parent", w.parent, "--config", w.config(),
		"--settle", "100ms", "--deletion-guard", "1", "--log-level", "debug", "--resync", "1h"}
	args = append(args, w.flags...)
	if resyncOnly {
		args = append(args, "--resync-only", "--resync", "200ms")
	}
	return args
}

// makeConfig makes the configuration file, which says nothing, unless the test
// has made one.
func (w *world) makeConfig() {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.config()), 0o755); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.OpenFile(w.config(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	f.Close()
}

// config is the configuration file: in a folder of its own, as the world's may be a
// volume.
func (w *world) config() string { return filepath.Join(w.dir, "etc", "config.yaml") }

// start runs the daemon until it says that it is ready.
func (w *world) start() {
	w.t.Helper()
	w.begin()
	w.awaitReady()
}

// begin runs the daemon. It must be followed by awaitReady.
func (w *world) begin() {
	w.t.Helper()
	notify := filepath.Join(w.dir, "notify")
	_ = os.Remove(notify)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := os.OpenFile(w.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	line := slices.Concat(w.around, []string{w.binary}, w.arguments())
	d := &daemon{cmd: exec.Command(line[0], line[1:]...), ended: make(chan struct{}), notify: conn}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// Descriptors that whoever starts the daemon forgot to close: they must not
	// reach gofers or sentries.
	d.cmd.ExtraFiles = slices.Repeat([]*os.File{log}, 64)
	d.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify)
	if err := d.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.daemon = d
	go func() {
		_ = d.cmd.Wait() // how it ended is in ProcessState
		close(d.ended)
		conn.Close()
	}()
}

// awaitReady waits until the daemon says that it is ready, as it would to
// systemd.
func (w *world) awaitReady() {
	w.t.Helper()
	conn := w.daemon.notify
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), "READY=1") {
		w.t.Fatalf("the daemon did not become ready: %v, %q\n%s", err, buf[:n], w.log())
	}
}

func (w *world) logFile() string { return filepath.Join(w.dir, "log") }

// log is the end of what the daemons have logged.
func (w *world) log() string {
	b, err := os.ReadFile(w.logFile())
	if err != nil {
		return err.Error()
	}
	const most = 12 << 10
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return string(b)
}

// logged says whether the daemons have logged a text, however much they have logged
// since.
func (w *world) logged(text string) bool {
	w.t.Helper()
	b, err := os.ReadFile(w.logFile())
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Contains(string(b), text)
}

// alive says whether the daemon runs.
func (w *world) alive() bool {
	if w.daemon == nil {
		return false
	}
	select {
	case <-w.daemon.ended:
		return false
	default:
		return true
	}
}

// kill ends the daemon as a crash would, wherever it is.
func (w *world) kill() {
	w.t.Helper()
	if err := w.daemon.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Fatal(err)
	}
	<-w.daemon.ended
}

// stop ends the daemon as systemd would.
func (w *world) stop() {
	w.t.Helper()
	w.end(syscall.SIGTERM)
}

// end ends the daemon by a signal that it heeds.
func (w *world) end(sig syscall.Signal) {
	w.t.Helper()
	if err := w.daemon.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-w.daemon.ended:
	case <-time.After(patience):
		w.kill()
		w.t.Fatalf("the daemon did not end on %s\n%s", sig, w.log())
	}
	if code := w.daemon.cmd.ProcessState.ExitCode(); code != 0 {
		w.t.Fatalf("the daemon ended with %d on %s\n%s", code, sig, w.log())
	}
}

// restart crashes the daemon and starts it again.
func (w *world) restart() {
	w.t.Helper()
	w.kill()
	w.start()
}

// finish takes everything away and looks for what is left. After a failure it
// only cleans up and shows what the daemon had to say.
func (w *world) finish() {
	defer w.cleanUp()
	if w.t.Failed() {
		w.t.Logf("the daemon's log:\n%s", w.log())
		return
	}
	if w.daemon == nil && len(w.names) == 0 {
		return
	}
	if !w.alive() {
		w.start()
	}
	w.clear()
	w.checkNothingLeft()
	w.stopInOrder()
	w.checkNoTrace()
	if w.t.Failed() {
		w.t.Logf("the daemon's log:\n%s", w.log())
	}
}

// stopInOrder stops the daemon. One that gives up on what is under way, as it may where
// that takes long, leaves the rest to the next one.
func (w *world) stopInOrder() {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; w.start() {
		before, err := os.Stat(w.logFile())
		if err != nil {
			w.t.Fatal(err)
		}
		w.stop()
		said, err := os.ReadFile(w.logFile())
		if err != nil {
			w.t.Fatal(err)
		}
		if !strings.Contains(string(said[min(int(before.Size()), len(said)):]), "ending with something under way") || time.Now().After(deadline) {
			return
		}
	}
}

// cleanUp works without the daemon, whatever state all is in.
func (w *world) cleanUp() {
	if w.alive() {
		_ = w.daemon.cmd.Process.Kill()
		<-w.daemon.ended
	}
	prefix := w.parent + "/"
	killCgroups(prefix)
	removeCgroups(prefix)
	removeCgroups(w.parent)
	for _, m := range mountsBelow(w.dir) {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}

// checkNothingLeft holds the daemon, which has no manifests any more, to what
// the manifests' page promises: nothing is left.
func (w *world) checkNothingLeft() {
	w.t.Helper()
	for _, pid := range processesIn(w.parent + "/") {
		w.t.Errorf("a process is left: %s", describe(pid))
	}
	for _, dir := range cgroupDirs(w.parent + "/") {
		w.t.Errorf("a cgroup is left: %s", dir)
	}
	for _, m := range mountsBelow(w.dir) {
		if m != w.mounted {
			w.t.Errorf("a mount is left: %s", m)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.names {
		var left []string
		// The store of accepted manifests follows behind.
		if !poll(func() bool {
			left = append(namedAfter(w.state, name), namedAfter(w.data, name)...)
			return len(left) == 0
		}) {
			w.t.Errorf("files are left: %q", left)
		}
	}
}

// checkNoTrace holds a daemon that has ended to its own clean-up.
func (w *world) checkNoTrace() {
	w.t.Helper()
	if _, err := os.Lstat(w.socket); !os.IsNotExist(err) {
		w.t.Errorf("the socket is left: %v", err)
	}
	for _, dir := range cgroupDirs(w.parent) {
		if filepath.Base(dir) == strings.TrimPrefix(w.parent, "/") {
			w.t.Errorf("the parent of all cgroups is left: %s", dir)
		}
	}
}
