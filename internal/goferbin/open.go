package goferbin

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Open returns the gofer's program as a sealed file in memory that can be
// executed for as long as it is open, or nil where there is none.
func Open() (*os.File, error) {
	if len(program) == 0 {
		return nil, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("unpacking the gofer: %w", err)
	}
	fd, err := unix.MemfdCreate("sandboxer-gofer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "sandboxer-gofer")
	if _, err := io.Copy(f, z); err != nil {
		f.Close()
		return nil, fmt.Errorf("unpacking the gofer: %w", err)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	// A file that is open for writing can't be executed: go on with one that
	// is not.
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	f.Close()
	return read, err
}
