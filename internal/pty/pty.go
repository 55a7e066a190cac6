// Package pty makes terminals. It has no state and may be used from many
// goroutines.
package pty

import (
	"os"

	"golang.org/x/sys/unix"
)

// Open makes a terminal. The master can be read with a deadline; the slave
// waits, and is nobody's controlling terminal.
func Open() (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(m), "terminal")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, os.NewSyscallError("unlocking it", err)
	}
	if slave, err = Slave(m); err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// Slave opens the other end of a master. It goes through the master: a name
// would be of whatever is mounted at /dev/pts.
func Slave(master int) (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, os.NewSyscallError("opening its other end", errno)
	}
	return os.NewFile(fd, "terminal"), nil
}
