package goferbin

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sandboxer/internal/memfd"
)

// Open returns the gofer's program as a file in memory that can be executed
// for as long as it is open, or nil where there is none.
func Open() (*os.File, error) {
	if len(program) == 0 {
		return nil, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("unpacking the gofer: %w", err)
	}
	f, err := memfd.Program("sandboxer-gofer", z)
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

// aboveDonated is above every number that a gofer is given a descriptor as: it
// is executed by the number of its program, which must still mean the program
// when all others have been put in place.
const aboveDonated = 900
