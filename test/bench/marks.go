package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// marks knows when files appeared in one directory.
type marks struct {
	dir  string
	file *os.File

	mu      sync.Mutex
	seen    map[string]time.Time
	changed chan struct{} // closed and replaced at every event
}

// newMarks watches dir until close.
func newMarks(dir string) (*marks, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	m := &marks{
		dir: dir, file: os.NewFile(uintptr(fd), "inotify"),
		seen: map[string]time.Time{}, changed: make(chan struct{}),
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE); err != nil {
		m.file.Close()
		return nil, fmt.Errorf("watching %s: %w", dir, err)
	}
	go m.read()
	return m, nil
}

func (m *marks) close() { m.file.Close() }

// read notes the time of every event until the file is closed.
func (m *marks) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := m.file.Read(buf)
		at := time.Now()
		if err != nil {
			return
		}
		m.mu.Lock()
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			end := unix.SizeofInotifyEvent + int(e.Len)
			name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:end], []byte{0})
			m.seen[string(name)] = at
			b = b[end:]
		}
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
	}
}

// wait returns when the file with that name appeared, which may have been
// before.
func (m *marks) wait(ctx context.Context, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, errors.New("the container's command did not run in time"))
	defer cancel()
	for {
		m.mu.Lock()
		at, ok := m.seen[name]
		changed := m.changed
		m.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for mark %s: %w", name, context.Cause(ctx))
		}
	}
}
