package logs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// drainedEvery is how often a pipe that is being emptied is looked at.
const drainedEvery = time.Millisecond

// Drained waits until an instance's pipes are empty. The instance must be
// frozen: whoever writes on is waited for until ctx is done.
func (l *Logs) Drained(ctx context.Context, sandbox, container, id string) error {
	paths, err := l.fifos(sandbox, container, id)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := drained(ctx, path); err != nil {
			return &os.PathError{Op: "empty", Path: path, Err: err}
		}
	}
	return nil
}

func drained(ctx context.Context, path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if n == 0 || err != nil {
			return err
		}
		select {
		case <-time.After(drainedEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
