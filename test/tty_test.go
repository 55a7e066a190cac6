package test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// atTerminal starts a command of the client at a terminal of its own, whose
// other end the test holds.
func (w *world) atTerminal(rows, columns uint16, args ...string) (*session, *os.File) {
	w.t.Helper()
	s := &session{w: w, cmd: w.program(args...)}
	s.cmd.Env = append(os.Environ(), "SANDBOXER_SOCKET="+w.socket, "TERM=vt52")
	// Not blocking, so that closing it does, whoever reads it.
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	master := os.NewFile(uintptr(m), "terminal")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		w.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		w.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	setSize(w.t, master, rows, columns)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = s.cmd.Start()
	slave.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	s.read(master)
	w.t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait(); master.Close() })
	return s, master
}

func setSize(t *testing.T, terminal *os.File, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// mode is how a terminal is set.
func mode(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// atRawTerminal is atTerminal once the client has taken the terminal over: what is
// typed before that, the terminal echoes itself.
func (w *world) atRawTerminal(rows, columns uint16, args ...string) (*session, *os.File) {
	w.t.Helper()
	s, master := w.atTerminal(rows, columns, args...)
	if !poll(func() bool { return mode(w.t, master).Lflag&unix.ECHO == 0 }) {
		w.t.Fatal("the client doesn't take its terminal over")
	}
	return s, master
}

// A command with a terminal gets one of its own that behaves like the
// caller's, and the caller's is afterwards as it was before.
func TestExecTerminal(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")

	s, master := w.atTerminal(33, 99, "exec", "-it", "web", "--", "/w", "resizes")
	s.expect("terminal 33 99")
	setSize(t, master, 44, 111)
	s.expect("terminal 44 111")
	fmt.Fprint(master, "\x03")
	s.expect("ended by interrupt")
	s.ends(0)
	before := mode(t, master) // as every new terminal's; the next one is at work at once

	s, master = w.atTerminal(24, 80, "exec", "-it", "web", "--", "/w", "print", "on", "then", "signals")
	s.expect("waiting")
	if !poll(func() bool { return mode(t, master) != before }) {
		t.Error("the caller's terminal still does the work of the command's")
	}
	fmt.Fprint(master, "\x03")
	s.expect("got interrupt")
	fmt.Fprint(master, "\x1c")
	s.expect("got quit")
	// From outside as well.
	s.signal(syscall.SIGTERM)
	s.expect("got terminated")
	w.restart()
	fmt.Fprint(master, "\x03")
	s.expect("got interrupt")
	// The sandbox ends under it.
	w.undeclare("web")
	s.ends(128 + 9)
	if after := mode(t, master); after != before {
		t.Errorf("the caller's terminal was left as %+v", after)
	}

	w.gone("web")
	w.declare("web", app("sleep"))
	w.running("web")
	s, master = w.atRawTerminal(24, 80, "exec", "-it", "web", "--", "/w", "copy", "then", "exit", "9")
	fmt.Fprint(master, "typed\n")
	s.expect("typed") // the echo
	s.expect("typed")
	fmt.Fprint(master, "\x04")
	s.ends(9)
	if after := mode(t, master); after != before {
		t.Errorf("the caller's terminal was left as %+v", after)
	}
	if s, _ = w.atTerminal(24, 80, "exec", "-it", "web", "--", "/nothing"); s != nil {
		s.expect("no such file or directory")
		s.ends(127)
	}

	// The hang-up of the caller's terminal ends what a terminal's hang-up ends.
	s, master = w.atTerminal(24, 80, "exec", "-it", "web", "--", "/w", "print", "on", "then", "sleep")
	s.expect("on")
	master.Close()
	s.ends(128 + 1)

	// What the command leaves behind with its terminal holds up nobody.
	s, _ = w.atTerminal(24, 80, "exec", "-it", "web", "--", "/w", "waits", "then", "leave", "then", "print", "left")
	s.expect("waits true true true")
	s.expect("left")
	s.ends(0)

	// Without a terminal of the caller's there is one for the command.
	r := w.run("exec", "-t", "web", "--", "/w", "terminal", "then", "env")
	if !strings.Contains(r.out, "terminal 24 80\r\n") {
		t.Errorf("without a terminal: %+v", r)
	}
	s, _ = w.atTerminal(24, 80, "exec", "-t", "web", "--", "/w", "env")
	s.expect("env TERM=vt52")
	s.ends(0)
}
