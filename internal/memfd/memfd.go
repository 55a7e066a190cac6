// Package memfd makes files in memory, to be given to other processes.
// It has no state and may be used from many goroutines.
package memfd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Data returns a file that reads content from its start and that nobody can
// change or execute. The caller closes it. name shows in /proc only.
func Data(name string, content []byte) (*os.File, error) {
	return create(name, unix.MFD_NOEXEC_SEAL, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Program returns a file with what is read from content that can be executed
// as /proc/self/fd/N while it is open, and that nobody can change. The caller
// closes it.
func Program(name string, content io.Reader) (*os.File, error) {
	f, err := create(name, unix.MFD_EXEC, func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, aboveDonated)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// aboveDonated is above every number under which a child is given a
// descriptor: a program is executed by its number, which must still mean it
// when all the others have been put in place.
const aboveDonated = 900

// Shared returns an empty file that everybody who has it can write. The caller
// closes it.
func Shared(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func create(name string, kind int, fill func(io.Writer) error) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|kind)
	if errors.Is(err, unix.EINVAL) {
		// Kernels before 6.3 know neither kind; their files can be executed.
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := fill(f); err != nil {
		return nil, fmt.Errorf("filling %s: %w", name, err)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// A file that somebody has open for writing can't be executed, and one that
	// was written reads on from its end: what is given away is opened anew.
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}
