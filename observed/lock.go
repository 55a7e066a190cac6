package observed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock makes the calling process the only daemon on a state directory, which
// is created (mode 0700) when needed. It fails at once, with an error that
// wraps ErrLocked and names the holder, where another has it. The lock ends
// with unlock or with the process, whichever comes first; the file stays, as
// removing it could leave two holders.
func Lock(stateDir string) (unlock func() error, err error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(stateDir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := hold(f, stateDir); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

func hold(f *os.File, stateDir string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// A child that the last holder was starting when it was killed has the
	// lock until its program is executed.
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 100; try++ {
		time.Sleep(10 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s is held by %s", ErrLocked, stateDir, holder(f))
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", stateDir, err)
	}
	// The pid is for people to read; nothing is ever signalled by it.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", stateDir, err)
	}
	return nil
}

func holder(f *os.File) string {
	data, err := io.ReadAll(io.LimitReader(f, 32))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || convErr != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}
