package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"sandboxer/internal/pty"
)

// tty is the terminal that a command in a sandbox gets, and ours beside it.
type tty struct {
	master *os.File
	slave  *os.File      // the command's, held open
	ours   *os.File      // where the command's input is typed; nil: no terminal of ours
	before *unix.Termios // how ours was
}

// terminalPair makes the one file of a command that has a terminal.
func terminalPair(interactive bool) (*stdio, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("making a terminal for the command: %w", err)
	}
	own, err := unix.FcntlInt(slave.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &stdio{give: []*os.File{slave}, tty: &tty{master: master, slave: os.NewFile(uintptr(own), "terminal")}}
	s.out = []*carrier{{from: master, to: os.Stdout, done: make(chan struct{})}}
	if interactive {
		s.in = os.Stdin
	}
	s.tty.ours = ourTerminal()
	if !s.tty.resize() {
		err = s.tty.setSize(&unix.Winsize{Row: 24, Col: 80})
	}
	return s, err
}

// ourTerminal is the first of the usual files that is one; nil: none is.
func ourTerminal() *os.File {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if terminal(f) {
			return f
		}
	}
	return nil
}

func (t *tty) setSize(size *unix.Winsize) error {
	return unix.IoctlSetWinsize(int(t.slave.Fd()), unix.TIOCSWINSZ, size)
}

// resize gives the command's terminal the size of ours.
func (t *tty) resize() bool {
	if t.ours == nil {
		return false
	}
	size, err := unix.IoctlGetWinsize(int(t.ours.Fd()), unix.TIOCGWINSZ)
	return err == nil && t.setSize(size) == nil
}

// start has the command's terminal get what is typed, as it is typed.
func (t *tty) start(in *os.File, send func(unix.Signal)) {
	t.takeOver(in)
	go t.carry(in, send)
}

// takeOver has a terminal of ours, if in is one, do nothing by itself.
func (t *tty) takeOver(in *os.File) {
	// One that has hung up meanwhile has no mode any more.
	if before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS); err == nil {
		raw := *before
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw) == nil {
			t.ours, t.before = in, before
		}
	}
}

// carry writes what is read to the command's terminal. The kernel would make
// signals of some characters for the processes of a terminal's session, of
// which it knows none, since they are in the sandbox. So those characters don't
// go there: what the terminal would do is done here, but for dropping output.
func (t *tty) carry(in io.Reader, send func(unix.Signal)) {
	b := make([]byte, 4096)
	for {
		n, err := in.Read(b)
		for rest := b[:n]; len(rest) > 0; {
			at, sig := t.typed(rest)
			if _, err := t.master.Write(rest[:at]); err != nil {
				return
			}
			if sig == 0 {
				break
			}
			t.interrupt(rest[at])
			send(sig)
			rest = rest[at+1:]
		}
		if err != nil {
			_, _ = t.master.Write([]byte{4}) // Ctrl-D: the end of what is typed
			return
		}
	}
}

// typed finds the first character that stands for a signal, with the terminal
// as its programs have set it; where there is none, sig is 0 and at the end.
func (t *tty) typed(b []byte) (at int, sig unix.Signal) {
	at = len(b)
	mode := t.mode()
	if mode.Lflag&unix.ISIG == 0 {
		return at, 0
	}
	for i, s := range map[int]unix.Signal{unix.VINTR: unix.SIGINT, unix.VQUIT: unix.SIGQUIT, unix.VSUSP: unix.SIGTSTP} {
		if first := bytes.IndexByte(b, mode.Cc[i]); mode.Cc[i] != 0 && first >= 0 && first < at {
			at, sig = first, s
		}
	}
	return at, sig
}

// interrupt shows a character that stands for a signal, and drops what was
// typed before it and not read yet.
func (t *tty) interrupt(c byte) {
	mode := t.mode()
	if mode.Lflag&unix.NOFLSH == 0 {
		_ = unix.IoctlSetInt(int(t.slave.Fd()), unix.TCFLSH, unix.TCIFLUSH)
	}
	if mode.Lflag&(unix.ECHO|unix.ECHOCTL) == unix.ECHO|unix.ECHOCTL {
		_, _ = os.Stdout.Write([]byte{'^', c ^ 0x40})
	}
}

// mode is how the command's terminal is set.
func (t *tty) mode() unix.Termios {
	mode, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		return unix.Termios{}
	}
	return *mode
}

// close gives our terminal back as it was.
func (t *tty) close() {
	if t.before != nil {
		_ = unix.IoctlSetTermios(int(t.ours.Fd()), unix.TCSETS, t.before) // it may be gone
	}
	t.master.Close()
	t.slave.Close()
}
