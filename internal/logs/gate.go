package logs

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gate lets a reader wait for a pipe without being woken by each write to it.
// The Go runtime watches a pipe for as long as it is open, and each write that
// a container makes would wake it. It watches an epoll instance here instead,
// in which the pipe is watched only while somebody waits.
type gate struct {
	pipe  int
	epoll int
	file  *os.File // epoll's, so that the runtime waits for it
	conn  syscall.RawConn
}

func newGate(pipe int) (*gate, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watching an output pipe: %w", err)
	}
	g := &gate{pipe: pipe, epoll: fd}
	err = g.control(unix.EPOLL_CTL_ADD, 0)
	if err == nil {
		// os.NewFile hands only non-blocking descriptors to the runtime's poller.
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		g.file = os.NewFile(uintptr(fd), "gate")
		g.conn, err = g.file.SyscallConn()
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watching an output pipe: %w", err)
	}
	return g, nil
}

func (g *gate) control(op int, events uint32) error {
	return unix.EpollCtl(g.epoll, op, g.pipe, &unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(g.pipe)})
}

// wait calls try until it reports true: at once, and each time that the pipe has
// become readable. It returns os.ErrDeadlineExceeded when the time of until is over.
func (g *gate) wait(try func() bool) error {
	var err error
	waitErr := g.conn.Read(func(uintptr) bool {
		// What was told is taken, and the pipe is watched no more.
		var events [1]unix.EpollEvent
		_, _ = unix.EpollWait(g.epoll, events[:], 0)
		if try() {
			return true
		}
		err = g.control(unix.EPOLL_CTL_MOD, unix.EPOLLIN)
		return err != nil
	})
	if waitErr != nil {
		return waitErr
	}
	return err
}

// until sets when wait gives up; zero: never.
func (g *gate) until(t time.Time) { _ = g.file.SetReadDeadline(t) } // a gate that is closed waits no more

func (g *gate) close() { g.file.Close() }
