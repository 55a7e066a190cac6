package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who attaches sees what the container writes from then on, is heard, and gets
// its exit code; the log has it all.
func TestAttach(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+box("app", "print early then hear then exit-on-term 7 then copy", "stdin: true"))
	w.running("web")
	w.said("web", "early")
	s := w.attached("web")
	other := w.attached("web/app")
	s.expect("web/app is heard") // the same output
	s.heard()
	other.expect("got user defined signal 1")
	fmt.Fprintln(other.in, "two")
	s.expect("two")
	// Who leaves brings nothing to an end.
	other.in.Close()
	other.signal(syscall.SIGHUP)
	other.ends(0)
	if !strings.Contains(other.complaints(), "detached from web/app") {
		t.Errorf("it says %q", other.complaints())
	}
	s.in.Close()
	again := w.attached("web")
	fmt.Fprintln(again.in, "three")
	again.expect("three")
	s.expect("three")
	s.signal(syscall.SIGTERM)
	s.ends(7)
	again.ends(7)
	w.wait("web", "over", phase("Failed"))
	if out := w.ok("logs", "web"); out != "early\nweb is heard\nweb/app is heard\ngot user defined signal 1\ntwo\nweb is heard\nthree\n" {
		t.Errorf("the log is %q", out)
	}
	if out := strings.Join(strings.Fields(w.ok("events", "web")), " "); !strings.Contains(out, `SIGTERM for container "app" came through attach of uid 0`) ||
		!strings.Contains(out, "a user sent SIGTERM to its first process") || strings.Contains(out, "SIGHUP") {
		t.Errorf("the events are\n%s", out)
	}
	if r := w.run("attach", "web"); r.code != 1 || !strings.Contains(r.err, "does not run: it is stopped (Error, exit code 7)") {
		t.Errorf("after the end: %+v", r)
	}
}

// attached attaches to a container that says again what it hears, and makes sure
// that it is.
func (w *world) attached(name string) *session {
	w.t.Helper()
	s := w.session("attach", name)
	fmt.Fprintln(s.in, name, "is heard")
	s.expect(name + " is heard")
	return s
}

// Streams are kept apart, and what is said last comes. Who reads too slowly is
// told so, and holds up nobody.
func TestAttachOutput(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+box("app", "exit-on-term 3 then tick 0.1"))
	w.running("web")
	s := w.session("attach", "web", "--sig-proxy=false")
	<-s.lines // it is attached
	s.signal(syscall.SIGTERM)
	s.ends(0)
	s = w.session("attach", "web")
	<-s.lines
	w.undeclare("web")
	s.ends(3)
	w.gone("web")

	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+box("app", "repeat then hold then flood 20000 then complain last then exit 3", "stdin: true"))
	w.running("web")
	s = w.session("attach", "web")
	fmt.Fprintln(s.in, "on")
	s.expect("on")
	fmt.Fprintln(s.in, "go")
	for range 20000 {
		<-s.lines
	}
	s.ends(3)
	if s.complaints() != "last\n" {
		t.Errorf("on stderr it wrote %.200q", s.complaints())
	}
	w.undeclare("web")
	w.gone("web")

	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+box("app", "repeat then hold then flood 300000 then exit 3", "stdin: true"))
	w.running("web")
	s = w.session("attach", "web")
	fmt.Fprintln(s.in, "on")
	s.expect("on")
	s.signal(syscall.SIGSTOP)
	fmt.Fprintln(w.session("attach", "web").in, "go")
	w.wait("web", "over", phase("Failed"))
	s.signal(syscall.SIGCONT)
	for range s.lines {
		continue
	}
	s.ends(1)
	if !strings.Contains(s.complaints(), "not read fast enough") {
		t.Errorf("it says %q", s.complaints())
	}
}

// A daemon that goes takes attached clients off, with a word, and the container
// goes on.
func TestAttachOverARestart(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "hear then copy", "stdin: true")+"\n- "+box("shell", "hear then copy", "stdin: true", "terminal: true"))
	was := w.running("web")
	s := w.attached("web/app")
	term, master := w.atRawTerminal(24, 80, "attach", "web/shell")
	fmt.Fprint(master, "typed\n")
	term.expect("typed")
	term.expect("typed")
	w.kill()
	s.ends(1)
	if !strings.Contains(s.complaints(), "the daemon went away; web/app goes on") {
		t.Errorf("it says %q", s.complaints())
	}
	term.expect("attach again when the daemon is back")
	term.ends(1)
	w.start()
	if now := w.running("web"); now.box("app").ID != was.box("app").ID || now.box("shell").ID != was.box("shell").ID {
		t.Errorf("they were made anew: %+v", now.Status.Containers)
	}
	w.attached("web/app")
	term, master = w.atRawTerminal(24, 80, "attach", "web/shell")
	fmt.Fprint(master, "more\n")
	term.expect("more")
	term.expect("more")
	fmt.Fprint(master, "\x10\x11")
	term.ends(0)
	if out := w.ok("logs", "web/shell"); out != "typed\r\ntyped\r\nmore\r\nmore\r\n" {
		t.Errorf("the log is %q", out)
	}
}

// A container's terminal behaves like one, for who attaches and in the log.
func TestTerminal(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "terminal then env then resizes", "terminal: true", "stdin: true")+
		"\n- "+box("dumb", "terminal then env then resizes", "terminal: true", "env: [{name: TERM, value: dumb}]"))
	w.running("web")
	w.said("web/app", "terminal 24 80")
	w.said("web/app", "env TERM=xterm")
	w.said("web/dumb", "env TERM=dumb")

	s, master := w.atTerminal(33, 99, "version")
	s.ends(0)
	before := mode(t, master) // as every new terminal's
	s, master = w.atTerminal(33, 99, "attach", "web/app")
	s.expect("terminal 33 99")
	setSize(t, master, 44, 111)
	s.expect("terminal 44 111")
	// The keys leave it, and it goes on.
	fmt.Fprint(master, "a\x10")
	fmt.Fprint(master, "\x11")
	s.expect("detached from web/app, which goes on")
	s.ends(0)
	if after := mode(t, master); after != before {
		t.Errorf("the caller's terminal was left as %+v", after)
	}
	s, master = w.atTerminal(20, 70, "attach", "web/app", "--detach-keys", "ctrl-x")
	s.expect("terminal 20 70")
	fmt.Fprint(master, "\x18")
	s.ends(0)
	s, master = w.atTerminal(21, 71, "attach", "web/app")
	s.expect("terminal 21 71")
	fmt.Fprint(master, "\x03")
	s.expect("ended by interrupt")
	s.ends(0)
	if r := w.run("attach", "web/app", "--detach-keys", "ctrl-"); r.code != 2 {
		t.Errorf("no keys: %+v", r)
	}
	// The keeper holds it too: daemon and gofer may go.
	id := w.running("web").box("dumb").ID
	w.restart()
	if now := w.running("web"); now.box("dumb").ID != id {
		t.Error("it was made anew")
	}
	s, _ = w.atTerminal(25, 81, "attach", "web/dumb")
	s.expect("terminal 25 81")
	s.signal(syscall.SIGTERM)
	s.expect("ended by terminated")
	s.ends(0)
}

// A console socket gets the terminal, whenever the container is started.
func TestConsoleSocket(t *testing.T) {
	w := start(t)
	path := filepath.Join(w.dir, "console")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.declare("web", "restartBackoff: {initial: 10ms}\ncontainers:\n- "+box("app", "terminal then copy then exit 4", "terminal: true", "consoleSocket: DIR/console"))
	for range 2 {
		master := receiveMaster(t, l)
		said := make([]byte, 4096)
		_ = master.SetReadDeadline(time.Now().Add(patience))
		n, err := io.ReadAtLeast(master, said, len("terminal 24 80\r\n"))
		if err != nil || string(said[:n]) != "terminal 24 80\r\n" {
			t.Errorf("from the terminal came %q, %v", said[:n], err)
		}
		fmt.Fprint(master, "\x04") // the end: it is run again
		master.Close()
	}
	w.wait("web", "run again", func(s sandbox) bool { return s.box("app").RestartCount > 0 })
	if out := w.ok("logs", "web"); out != "" {
		t.Errorf("the log is %q", out)
	}
	l.Close()
	w.declare("job", "restartPolicy: Never\ncontainers:\n- "+box("app", "sleep", "terminal: true", "consoleSocket: DIR/nobody"))
	s := w.wait("job", "failed", phase("Failed"))
	if c := s.box("app"); c.Reason != "StartError" || !strings.Contains(s.Status.Message, "consoleSocket: ") {
		t.Errorf("without a socket: %+v", s.Status)
	}
}

// A console socket where a container can write gets no terminal of another sandbox's.
func TestConsoleSocketOfContainers(t *testing.T) {
	w := start(t)
	folder := filepath.Join(w.dir, "shared")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(folder, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.declare("writer", "volumes: [{name: v, hostPath: {path: DIR/shared}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("writer")
	w.declare("job", "restartPolicy: Never\ncontainers:\n- "+box("app", "sleep", "terminal: true", "consoleSocket: DIR/shared/console"))
	s := w.wait("job", "failed", func(s sandbox) bool { return phase("Failed")(s) || running(s) })
	if c := s.box("app"); c.Reason != "StartError" || !strings.Contains(s.Status.Message, "shared/console is refused") {
		t.Errorf("it has the terminal: %+v", s.Status)
	}
}

func receiveMaster(t *testing.T, l net.Listener) *os.File {
	t.Helper()
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b, oob := make([]byte, 64), make([]byte, 64)
	n, oobn, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(b, oob)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "master")
}

// A pid file holds the sandbox's pid while the container is there.
func TestPIDFile(t *testing.T) {
	w := start(t)
	path := filepath.Join(w.dir, "pid")
	pid := func() string { b, _ := os.ReadFile(path); return string(b) }
	spec := func(command string) string {
		return "restartPolicy: Never\ncontainers:\n- " + box("app", command, "pidFile: DIR/pid") + "\n- " + box("side", "sleep")
	}
	w.declare("web", spec("sleep"))
	s := w.running("web")
	if want := fmt.Sprint(s.Status.SandboxPID); pid() != want {
		t.Errorf("it holds %q, not %s", pid(), want)
	}
	// It is there as long as the container, ended or not, and over a restart.
	w.declare("web", spec("exit 1"))
	w.wait("web", "changed", func(s sandbox) bool { c := s.box("app"); return c.ID == "web.app.2" && c.State == "stopped" })
	w.restart()
	if want := fmt.Sprint(w.running("web").Status.SandboxPID); pid() != want {
		t.Errorf("after the container's end it holds %q, not %s", pid(), want)
	}
	w.declare("web", "state: Stopped\n"+spec("exit 1"))
	w.wait("web", "stopped", phase("Stopped"))
	if got := pid(); got != "" {
		t.Errorf("it is left, with %q", got)
	}
	// One that is somebody else's by then is let alone.
	w.declare("web", spec("sleep"))
	w.running("web")
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.undeclare("web")
	w.gone("web")
	if pid() != "1" {
		t.Errorf("another's file now holds %q", pid())
	}
}

// What gVisor does not have shows in the user log.
func TestUserLog(t *testing.T) {
	w := start(t)
	path := filepath.Join(w.dir, "user.log")
	w.declare("web", "restartPolicy: Never\ncontainers:\n- "+box("app", "unheard-of", "userLog: DIR/user.log"))
	w.wait("web", "over", phase("Succeeded"))
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), "Unsupported syscall") {
		t.Errorf("it holds %q, %v", b, err)
	}
	for line := range strings.Lines(string(b)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// A user log that logrotate has renamed, or somebody removed, is begun anew, under
// whatever daemon and after a restore. Each such system call is told of once.
func TestUserLogIsRotated(t *testing.T) {
	w := start(t, "--resync", "300ms")
	path := filepath.Join(w.dir, "logs", "user.log")
	spec := func(more ...string) string {
		return strings.Join(append(more, "containers:", "- "+box("app", "sleep", "userLog: DIR/logs/user.log")), "\n")
	}
	told := func(when, number string) {
		t.Helper()
		w.ok("exec", "web", "--", "/w", "unheard-of", number)
		if b, err := os.ReadFile(path); err != nil || strings.Count(string(b), "Unsupported syscall") != 1 {
			t.Errorf("%s, the log holds %q, %v", when, b, err)
		}
	}
	// It is begun anew as soon as the event says so.
	anew := func(when string, n int) {
		t.Helper()
		if !w.until(func() bool { return len(w.events("web", "UserLogReopened")) == n }) {
			t.Fatalf("%s, it was not begun anew: %s", when, w.ok("events", "web"))
		}
	}
	w.declare("web", spec())
	was := w.running("web")
	told("at first", "122")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	anew("renamed", 1)
	told("renamed", "123")
	w.kill()
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	w.start()
	anew("removed with its folder", 2)
	told("removed with its folder", "136")
	w.same(was, w.running("web"), "app")
	w.declare("web", spec("state: Suspended"))
	w.suspended("web")
	w.declare("web", spec())
	w.running("web")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	anew("removed after a restore", 3)
	told("removed after a restore", "139")
}

// Stdin is there again when a sandbox comes back from the disk. One with a
// terminal is left as it was.
func TestSuspendAttached(t *testing.T) {
	w := start(t)
	spec := "containers:\n- " + box("app", "copy", "stdin: true", "pidFile: DIR/pid")
	w.declare("web", spec)
	w.running("web")
	s := w.attached("web")
	w.declare("web", "state: Suspended\n"+spec)
	w.wait("web", "suspended", phase("Suspended"))
	s.ends(128 + 9)
	if _, err := os.Stat(filepath.Join(w.dir, "pid")); !os.IsNotExist(err) {
		t.Errorf("the pid file: %v", err)
	}
	w.declare("web", spec)
	now := w.running("web")
	if b, _ := os.ReadFile(filepath.Join(w.dir, "pid")); string(b) != fmt.Sprint(now.Status.SandboxPID) {
		t.Errorf("the pid file holds %q", b)
	}
	w.attached("web")

	w.declare("shell", "state: Suspended\ncontainers:\n- "+box("app", "sleep", "terminal: true"))
	left := w.wait("shell", "left alone", func(s sandbox) bool { return s.has("Unsupported") })
	if c, _ := left.condition("Unsupported"); !strings.Contains(c.Message, "terminal of container") {
		t.Errorf("the condition is %+v", c)
	}
}
