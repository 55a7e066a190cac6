package observed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher tells of ends of processes. It holds one pidfd per process in one
// epoll instance, which the Go runtime polls: watching costs neither a
// goroutine nor a thread per process, and nothing at all while none ends.
type Watcher struct {
	epoll *os.File // a file only so that the runtime waits for it

	mu      sync.Mutex
	closed  bool
	watches map[Process]watch
	byFD    map[int32]Process
}

type watch struct {
	fd    int
	ended func()
}

// NewWatcher returns a Watcher that takes watches at once and tells of ends
// while Run runs. Run must be called, as it also releases the descriptors.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating a watcher: %w", err)
	}
	// os.NewFile hands only non-blocking descriptors to the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("creating a watcher: %w", err)
	}
	return &Watcher{
		epoll:   os.NewFile(uintptr(fd), "watcher"),
		watches: map[Process]watch{},
		byFD:    map[int32]Process{},
	}, nil
}

// Watch has ended called exactly once, from Run's goroutine, when the process
// ends, or soon if it is gone already; it must not block. A process has one
// watch: a second one replaces the first, whose function is then not called.
// An error means that the process is not watched.
func (w *Watcher) Watch(p Process, ended func()) error {
	fd, err := p.open()
	if errors.Is(err, ErrGone) {
		// A descriptor that is readable from the start brings the news the way
		// all others come.
		fd, err = unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err != nil {
		return fmt.Errorf("watching process %d: %w", p.PID, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		unix.Close(fd)
		return fmt.Errorf("watching process %d: %w", p.PID, os.ErrClosed)
	}
	w.drop(p)
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := w.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watching process %d: %w", p.PID, err)
	}
	w.watches[p] = watch{fd, ended}
	w.byFD[int32(fd)] = p
	return nil
}

// Unwatch forgets the process. Its function is not called after Unwatch has
// returned, unless it is being called already.
func (w *Watcher) Unwatch(p Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(p)
}

// Len is how many processes are watched.
func (w *Watcher) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watches)
}

// Liveness is Process.Liveness, at the cost of one call where the process is
// watched: the kernel tells through its pidfd.
func (w *Watcher) Liveness(p Process) (Liveness, error) {
	if alive, ok := w.watched(p); ok {
		return alive, nil
	}
	return p.Liveness()
}

func (w *Watcher) watched(p Process) (alive Liveness, ok bool) {
	w.mu.Lock() // as long as it is held, the number is that of this descriptor
	defer w.mu.Unlock()
	watch, ok := w.watches[p]
	if !ok {
		return None, false
	}
	fds := []unix.PollFd{{Fd: int32(watch.fd), Events: unix.POLLIN}}
	switch n, err := unix.Poll(fds, 0); {
	case err != nil:
		return None, false
	case n > 0:
		return Gone, true
	}
	return Alive, true
}

// drop takes a watch out and returns its function; the caller holds the lock.
func (w *Watcher) drop(p Process) func() {
	old, ok := w.watches[p]
	if !ok {
		return nil
	}
	delete(w.watches, p)
	delete(w.byFD, int32(old.fd))
	unix.Close(old.fd) // which also takes it out of the epoll instance
	return old.ended
}

func (w *Watcher) control(op, fd int, event *unix.EpollEvent) error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var ctlErr error
	if err := raw.Control(func(epoll uintptr) { ctlErr = unix.EpollCtl(int(epoll), op, fd, event) }); err != nil {
		return err
	}
	return ctlErr
}

// Run calls the functions of processes that end, until ctx is done; it then
// releases all descriptors and returns nil. It is called once.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.close()
	stop := context.AfterFunc(ctx, func() {
		// The only way that it fails is that Run has returned.
		_ = w.epoll.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return fmt.Errorf("watching processes: %w", err)
	}
	var events [64]unix.EpollEvent
	for {
		var n int
		var waitErr error
		err := raw.Read(func(epoll uintptr) bool {
			n, waitErr = unix.EpollWait(int(epoll), events[:], 0)
			return n != 0 // 0: the runtime calls again when there is something
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watching processes: %w", err)
		case waitErr != nil && !errors.Is(waitErr, unix.EINTR):
			return fmt.Errorf("watching processes: %w", waitErr)
		}
		for _, e := range events[:max(n, 0)] {
			if ended := w.take(e.Fd); ended != nil {
				ended()
			}
		}
	}
}

// take ends the watch whose descriptor is readable. The number may by now be
// another watch's, if this one was dropped since it was reported: a look at
// the descriptor itself tells.
func (w *Watcher) take(fd int32) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.byFD[fd]
	if !ok || !readable(fd) {
		return nil
	}
	return w.drop(p)
}

func readable(fd int32) bool {
	fds := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
}

func (w *Watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for p := range w.watches {
		w.drop(p)
	}
	w.epoll.Close()
}
