package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pipeSize is what a container may write while no daemon reads: the most that
// the kernel gives by default (fs.pipe-max-size).
const pipeSize = 1 << 20

// makeFIFO returns the writer's end. It is opened here and not with os.OpenFile,
// which would make it non-blocking, and that is shared with the container.
func makeFIFO(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("making output pipe %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening output pipe %s: %w", path, err)
	}
	// Best effort: a smaller pipe only holds less while no daemon reads.
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize)
	return os.NewFile(uintptr(fd), path), nil
}

// openFIFOs opens the reading ends, non-blocking.
func openFIFOs(paths []string) ([]int, error) {
	var ends []int
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll(ends)
			return nil, fmt.Errorf("opening output pipe: %w", &os.PathError{Op: "open", Path: p, Err: err})
		}
		ends = append(ends, fd)
	}
	return ends, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (l *Logs) ioDir(sandbox string) string {
	return filepath.Join(l.cfg.StateDir, "sandboxes", sandbox, "io")
}

func (l *Logs) logDir(sandbox string) string {
	return filepath.Join(l.cfg.DataDir, "logs", sandbox)
}

func (l *Logs) fifos(sandbox, container, id string) ([]string, error) {
	if err := errors.Join(checkName(sandbox), checkName(container), checkName(id)); err != nil {
		return nil, err
	}
	base := filepath.Join(l.ioDir(sandbox), id)
	return []string{base + ".out", base + ".err"}, nil
}

// checkName keeps paths inside their folders, whatever a caller passes.
func checkName(s string) error {
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
		return fmt.Errorf("logs: %q can't be part of a file name", s)
	}
	return nil
}

// removeAll removes files; those that are gone already are fine.
func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
