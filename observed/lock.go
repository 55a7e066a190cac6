package observed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock makes the calling process the only daemon on a state or data directory,
// which is created (mode 0700) when needed. It fails at once, with an error that
// wraps ErrLocked and names the holder, where another has it. The lock ends
// with unlock or with the process, whichever comes first; the file stays, as
// removing it could leave two holders.
func Lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return LockAt(LockFile(dir), dir)
}

// LockAt is Lock for a file that is created when needed; of says what it locks.
func LockAt(path, of string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", of, err)
	}
	if err := hold(f, of); err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// LockFile is the file in a state or data directory that is locked.
func LockFile(stateDir string) string { return filepath.Join(stateDir, "lock") }

// Locked says who has the lock of a file, and "" where nobody has it.
func Locked(path string) (holder string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Who looks at the same time is in nobody's way.
	if err := patiently(f, unix.LOCK_SH); errors.Is(err, unix.EWOULDBLOCK) {
		return holderOf(f), nil
	} else if err != nil {
		return "", fmt.Errorf("looking at the lock %s: %w", path, err)
	}
	return "", nil
}

// patiently locks a file. A child that the last holder was starting when it was
// killed has the lock until its program is executed, and who asks Locked for a
// moment.
func patiently(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	for try := 0; errors.Is(err, unix.EWOULDBLOCK) && try < 100; try++ {
		time.Sleep(10 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	}
	return err
}

func hold(f *os.File, of string) error {
	err := patiently(f, unix.LOCK_EX)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s is held by %s", ErrLocked, of, holderOf(f))
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", of, err)
	}
	// The pid is for people to read; nothing is ever signalled by it.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", of, err)
	}
	return nil
}

func holderOf(f *os.File) string {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || convErr != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}
