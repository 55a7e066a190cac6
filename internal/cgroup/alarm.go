package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Alarms tells when cgroups' memory is worth a look. It costs nothing while
// nothing happens: one epoll instance, which the Go runtime polls, holds one
// descriptor per cgroup.
//
// On v1 that is an eventfd with thresholds of use (cgroup.event_control). v2
// has none; there it is memory.events, which changes when the use passes
// memory.high, one of the cgroup's Limits, or meets the limit itself. Both tell
// of kills.
type Alarms struct {
	host  *Host
	epoll *os.File // a file only so that the runtime waits for it

	mu     sync.Mutex
	closed bool
	byName map[string]*alarm
	byFD   map[int32]*alarm
}

// alarm is one cgroup's.
type alarm struct {
	name string
	fd   int
	told func()
}

// NewAlarms returns Alarms that tell while Run runs. Run must be called, as it
// also releases the descriptors.
func NewAlarms(h *Host) (*Alarms, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating alarms: %w", err)
	}
	// os.NewFile hands only non-blocking descriptors to the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("creating alarms: %w", err)
	}
	return &Alarms{host: h, epoll: os.NewFile(uintptr(fd), "alarms"), byName: map[string]*alarm{}, byFD: map[int32]*alarm{}}, nil
}

// Set has told called, from Run's goroutine, whenever the use of the cgroup
// with that path passes so many bytes (v1, upwards or downwards), when it gets
// short of memory, and when the kernel kills in it. told must not block. What
// was set before is replaced. A use that is past the mark already is not told
// of: look after Set. ErrNotFound where there is no such cgroup.
func (a *Alarms) Set(name string, bytes int64, told func()) error {
	if !a.host.has("memory") {
		return nil
	}
	fd, events, err := a.host.watchMemory(name, bytes)
	if gone(err) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("watching the memory of cgroup %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		unix.Close(fd)
		return fmt.Errorf("watching the memory of cgroup %s: %w", name, os.ErrClosed)
	}
	a.drop(name)
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := a.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watching the memory of cgroup %s: %w", name, err)
	}
	w := &alarm{name: name, fd: fd, told: told}
	a.byName[name], a.byFD[int32(fd)] = w, w
	return nil
}

// Clear undoes Set.
func (a *Alarms) Clear(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(name)
}

// Len is how many cgroups are watched.
func (a *Alarms) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byName)
}

// drop needs a.mu.
func (a *Alarms) drop(name string) {
	if w := a.byName[name]; w != nil {
		delete(a.byName, name)
		delete(a.byFD, int32(w.fd))
		unix.Close(w.fd) // which takes it out of the epoll instance, and back from the cgroup
	}
}

// watchMemory opens what becomes ready when the cgroup's memory is worth a
// look, and says for which event.
func (h *Host) watchMemory(name string, bytes int64) (fd int, events uint32, err error) {
	dir := h.dir("memory", name)
	if h.mode == V2 {
		if fd, err = open(filepath.Join(dir, "memory.events"), unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
			return -1, 0, err
		}
		if err := forget(fd); err != nil {
			unix.Close(fd)
			return -1, 0, err
		}
		return fd, unix.EPOLLPRI, nil
	}
	if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return -1, 0, err
	}
	for _, on := range []struct{ file, argument string }{
		{"memory.usage_in_bytes", strconv.FormatInt(bytes, 10)},
		{"memory.oom_control", ""},
		// The kernel takes back: what grows may do so in the place of cache.
		{"memory.pressure_level", "low"},
	} {
		if err := notifyV1(dir, fd, on.file, on.argument); err != nil {
			unix.Close(fd)
			return -1, 0, err
		}
	}
	return fd, unix.EPOLLIN, nil
}

// forget has an open memory.events tell of what happens from here on; a newly
// opened one would tell of what is.
func forget(fd int) error {
	var all [1024]byte
	_, err := unix.Pread(fd, all[:], 0)
	return err
}

// notifyV1 has the eventfd written to on events of a file of a cgroup, until
// the eventfd is closed.
func notifyV1(dir string, eventfd int, file, argument string) error {
	of, err := open(filepath.Join(dir, file), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(of)
	return writeFile(filepath.Join(dir, "cgroup.event_control"), fmt.Sprintf("%d %d %s", eventfd, of, argument))
}

func (a *Alarms) control(op, fd int, event *unix.EpollEvent) error {
	raw, err := a.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var ctlErr error
	if err := raw.Control(func(epoll uintptr) { ctlErr = unix.EpollCtl(int(epoll), op, fd, event) }); err != nil {
		return err
	}
	return ctlErr
}

// Run calls the functions of cgroups whose memory is worth a look, until ctx is
// done; it then releases all descriptors and returns nil. It is called once.
func (a *Alarms) Run(ctx context.Context) error {
	defer a.close()
	stop := context.AfterFunc(ctx, func() {
		// The only way that it fails is that Run has returned.
		_ = a.epoll.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	raw, err := a.epoll.SyscallConn()
	if err != nil {
		return fmt.Errorf("watching memory: %w", err)
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
			return fmt.Errorf("watching memory: %w", err)
		case waitErr != nil && !errors.Is(waitErr, unix.EINTR):
			return fmt.Errorf("watching memory: %w", waitErr)
		}
		for _, e := range events[:max(n, 0)] {
			if told := a.take(e.Fd); told != nil {
				told()
			}
		}
	}
}

// take has a descriptor forget its event, which is what reading does, and
// returns whom to tell. Where the cgroup is gone it is the last time.
func (a *Alarms) take(fd int32) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.byFD[fd]
	if w == nil {
		return nil // dropped since it was reported
	}
	var err error
	if a.host.mode == V2 {
		err = forget(w.fd)
	} else {
		var count [8]byte
		_, err = unix.Read(w.fd, count[:])
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		a.drop(w.name)
	}
	return w.told
}

func (a *Alarms) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for name := range a.byName {
		a.drop(name)
	}
	a.epoll.Close()
}
