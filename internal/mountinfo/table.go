package mountinfo

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Table is the mounts of one namespace for who asks often: they are read again
// only after the kernel has said that they have changed. The zero value is of the
// namespace of the thread that asks first. It may be used by many goroutines.
type Table struct {
	mu     sync.Mutex
	file   *os.File // nil: not open
	mounts []Mount
}

// Read is what the function Read does; fresh says that the mounts are not those of
// the last time, or may not be. Nobody may change what it returns.
func (t *Table) Read() (mounts []Mount, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil && !changed(t.file) {
		return t.mounts, false, nil
	}
	if t.mounts, err = t.read(); err != nil {
		t.close()
		return nil, true, err
	}
	return t.mounts, true, nil
}

// read needs t.mu. What is mounted while it reads is told of afterwards.
func (t *Table) read() ([]Mount, error) {
	if t.file == nil {
		// Not with os.Open: the runtime would poll it, and the kernel tells of a
		// change once.
		fd, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: own, Err: err}
		}
		t.file = os.NewFile(uintptr(fd), own)
	} else if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(t.file)
	if err != nil {
		return nil, err
	}
	return parse(string(b))
}

// changed says whether the mounts have changed since it was asked last, or since
// the file was opened; also where nobody knows.
func changed(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	return n != 0 || err != nil
}

// Close lets go of the kernel's table. It may be read again.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

func (t *Table) close() {
	if t.file != nil {
		t.file.Close()
	}
	t.file, t.mounts = nil, nil
}

// watchTime is the least time between two calls of Watch's: what is mounted meanwhile is
// told of together.
const watchTime = time.Second

// Watch calls changed after something was mounted or unmounted in the namespace of
// the thread that calls it, until ctx is done.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: own, Err: err}
	}
	defer unix.Close(fd)
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	defer unix.Close(end)
	stop := context.AfterFunc(ctx, func() { _, _ = unix.Write(end, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	defer func() {
		if !stop() {
			// It has begun: the descriptor is not to be another's by then.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(end), Events: unix.POLLIN}}, -1)
		}
	}()
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(end), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if fds[0].Revents == 0 {
			continue
		}
		changed()
		select {
		case <-ctx.Done():
		case <-time.After(watchTime):
		}
	}
	return nil
}
