package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tty is the terminal that a command in a sandbox gets, and ours beside it.
type tty struct {
	master *os.File
	ours   *os.File      // where the command's input is typed; nil: no terminal of ours
	before *unix.Termios // how ours was
}

// terminalPair makes the one file of a command that has a terminal.
func terminalPair(interactive bool) (*stdio, error) {
	master, slave, err := openPair()
	if err != nil {
		return nil, fmt.Errorf("making a terminal for the command: %w", err)
	}
	s := &stdio{give: []*os.File{slave}, tty: &tty{master: master}}
	s.out = []*carrier{{from: master, to: os.Stdout, done: make(chan struct{})}}
	if interactive {
		s.in = os.Stdin
	}
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if terminal(f) {
			s.tty.ours = f
			break
		}
	}
	if !s.tty.resize() {
		err = s.tty.setSize(&unix.Winsize{Row: 24, Col: 80})
	}
	return s, err
}

// openPair makes a terminal. The master can be read with a deadline.
func openPair() (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(m), "terminal")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, os.NewSyscallError("unlocking it", err)
	}
	// Through the master: a name would be of whatever is mounted at /dev/pts.
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		master.Close()
		return nil, nil, os.NewSyscallError("opening its other end", errno)
	}
	return master, os.NewFile(fd, "terminal"), nil
}

// control runs an ioctl on the command's terminal.
func (t *tty) control(do func(fd int) error) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(fd uintptr) { err = do(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (t *tty) setSize(size *unix.Winsize) error {
	return t.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
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
func (t *tty) start(in *os.File, send func(unix.Signal)) error {
	if terminal(in) {
		before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
		if err != nil {
			return err
		}
		raw := *before
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag &^= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw); err != nil {
			return err
		}
		t.ours, t.before = in, before
	}
	go t.carry(in, send)
	return nil
}

// carry writes what is read to the command's terminal. The kernel makes
// signals of some characters for the processes of a terminal's session, of
// which it knows none: they are in the sandbox.
func (t *tty) carry(in *os.File, send func(unix.Signal)) {
	b := make([]byte, 4096)
	for {
		n, err := in.Read(b)
		if n > 0 {
			sig := t.typed(b[:n])
			if _, err := t.master.Write(b[:n]); err != nil {
				return
			}
			if sig != 0 {
				send(sig)
			}
		}
		if err != nil {
			_, _ = t.master.Write([]byte{4}) // Ctrl-D: the end of what is typed
			return
		}
	}
}

// typed is the signal that the last of the characters stands for that stand
// for one, with the terminal as its programs have set it; 0: none.
func (t *tty) typed(b []byte) unix.Signal {
	var mode *unix.Termios
	err := t.control(func(fd int) (err error) {
		mode, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err != nil || mode.Lflag&unix.ISIG == 0 {
		return 0
	}
	last, sig := -1, unix.Signal(0)
	for at, s := range map[int]unix.Signal{unix.VINTR: unix.SIGINT, unix.VQUIT: unix.SIGQUIT, unix.VSUSP: unix.SIGTSTP} {
		if i := bytes.LastIndexByte(b, mode.Cc[at]); i > last && mode.Cc[at] != 0 {
			last, sig = i, s
		}
	}
	return sig
}

// close gives our terminal back as it was.
func (t *tty) close() {
	if t.before != nil {
		_ = unix.IoctlSetTermios(int(t.ours.Fd()), unix.TCSETS, t.before) // it may be gone
	}
	t.master.Close()
}
