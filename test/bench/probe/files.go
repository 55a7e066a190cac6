package main

import (
	"path/filepath"
	"syscall"
)

// operation is one file operation.
type operation func() error

// unasked are operations that do not ask the gofer: on a descriptor that is
// open, and on a path in a volume that is a directory, where gVisor's directfs
// has the sentry do them itself.
func unasked(dir string) ([]operation, error) {
	path := filepath.Join(dir, "unasked")
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 4096)
	var st syscall.Stat_t
	return []operation{
		func() error { _, err := syscall.Pwrite(fd, b, 0); return err },
		func() error { _, err := syscall.Pread(fd, b, 0); return err },
		func() error { return openAndClose(path, syscall.O_RDWR) },
		func() error { return syscall.Stat(path, &st) },
	}, nil
}

// asking is an operation that asks the gofer: a volume that is one file lies
// in no directory that the sentry has.
func asking(file string) operation {
	return func() error { return openAndClose(file, syscall.O_WRONLY|syscall.O_TRUNC) }
}

func openAndClose(path string, flags int) error {
	fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}
