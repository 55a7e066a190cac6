package main

import (
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// stdio is what a command in a sandbox reads and writes, seen from here.
//
// A sandbox makes every descriptor that it is given non-blocking, which holds
// for whoever else has the same open file, and it knows no position in a
// regular file. So it gets nothing that this program was given: pipes are
// opened anew, and for all else there is a pipe between, which this program
// carries.
type stdio struct {
	give []*os.File // the sandbox's; given closes our own
	out  []*carrier
	in   *os.File // read for the command; nil: nothing is
	to   *os.File // where that goes, without a terminal
	tty  *tty     // nil: the command has no terminal
}

// pipes makes the three files of a command without a terminal.
func pipes(interactive bool) (s *stdio, err error) {
	s = &stdio{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	stdin, err := s.input(interactive)
	if err != nil {
		return nil, err
	}
	s.give = append(s.give, stdin)
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if len(s.give) == 2 && same(os.Stdout, os.Stderr) {
			s.give = append(s.give, s.give[1]) // what is written to both keeps its order
			break
		}
		end, err := s.output(f)
		if err != nil {
			return nil, err
		}
		s.give = append(s.give, end)
	}
	return s, nil
}

func (s *stdio) input(interactive bool) (*os.File, error) {
	if !interactive {
		return os.Open(os.DevNull)
	}
	if f := again(os.Stdin, os.O_RDONLY); f != nil {
		return f, nil
	}
	r, w, err := os.Pipe()
	s.in, s.to = os.Stdin, w
	return r, err
}

func (s *stdio) output(f *os.File) (*os.File, error) {
	if own := again(f, os.O_WRONLY); own != nil {
		return own, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.out = append(s.out, &carrier{from: r, to: f, done: make(chan struct{})})
	return w, nil
}

// again opens a pipe, or the null device, once more; nil where f is something
// else or can't be opened. Opening does not wait for a pipe's other end.
func again(f *os.File, flags int) *os.File {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return nil
	}
	null := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
	if st.Mode&unix.S_IFMT != unix.S_IFIFO && !null {
		return nil
	}
	own, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	return own
}

// blocking makes what is given such that reads and writes wait: the
// application sees the difference. Ours are other open files.
func (s *stdio) blocking() error {
	for _, f := range s.give {
		if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}

// same says whether two descriptors are of one file.
func same(a, b *os.File) bool {
	x, err := a.Stat()
	y, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// given closes our copies of what the sandbox has by now: who reads the other
// ends must see the command's end.
func (s *stdio) given() {
	for _, f := range s.give {
		f.Close() // one that is there twice is closed already the second time
	}
	s.give = nil
}

// start begins to carry. send sends signals that are typed at a terminal.
func (s *stdio) start(send func(unix.Signal)) {
	switch {
	case s.in == nil:
	case s.tty != nil:
		s.tty.start(s.in, send)
	default:
		go func() {
			_, _ = io.Copy(s.to, s.in) // a command need not read all
			s.to.Close()
		}()
	}
	// After a terminal was taken over: who reads there what it says begins to type.
	for _, c := range s.out {
		go c.run()
	}
}

// finish carries what the command has left.
func (s *stdio) finish() {
	for _, c := range s.out {
		c.finish()
	}
}

// resize has the command's terminal follow ours; false: there is none.
func (s *stdio) resize() bool { return s.tty != nil && s.tty.resize() }

// close gives back the terminal as it was.
func (s *stdio) close() {
	s.given()
	if s.tty != nil {
		s.tty.close()
	}
}

// carrier carries what a command writes.
type carrier struct {
	from, to *os.File
	done     chan struct{}
}

func (c *carrier) run() {
	defer close(c.done)
	defer c.from.Close() // a command whose reader has gone is to know
	if _, err := io.Copy(c.to, c.from); !os.IsTimeout(err) {
		return // the end, or nobody takes it
	}
	// The command has ended. What it started may hold its ends for ever, so
	// only what is there now is waited for.
	conn, err := c.from.SyscallConn()
	if err != nil || c.from.SetReadDeadline(time.Time{}) != nil {
		return
	}
	b := make([]byte, 64<<10)
	for {
		n := 0
		if conn.Read(func(fd uintptr) bool { n, err = unix.Read(int(fd), b); return true }) != nil || err != nil || n <= 0 {
			return
		}
		if _, err := c.to.Write(b[:n]); err != nil {
			return
		}
	}
}

// finish carries what is there, and waits for that.
func (c *carrier) finish() {
	_ = c.from.SetReadDeadline(time.Unix(1, 0)) // it may have ended by itself
	<-c.done
}
