package gofer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// bequeath gives a gofer that takes over the sockets that its container has
// bound. The sentry has each of them, too: they are looked for there by the
// inode numbers that the last gofer noted when it made them. What the sentry
// has closed is left out.
func (s *Successor) bequeath(sentry observed.Process) error {
	var inodes []uint64
	for _, j := range s.kept.Journals {
		bound, err := serve.BoundSockets(j)
		if err != nil {
			return err
		}
		for _, b := range bound {
			inodes = append(inodes, b.Inode)
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	sockets, err := take(sentry, inodes)
	defer closeFiles(sockets)
	if err != nil {
		return fmt.Errorf("taking the sockets that the container has bound: %w", err)
	}
	for some := range slices.Chunk(sockets, serve.MaxFDs) {
		fds := make([]int, len(some))
		for i, f := range some {
			fds[i] = int(f.Fd())
		}
		if err := unix.Sendmsg(int(s.takeOver.Fd()), []byte{serve.Socket}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
			return fmt.Errorf("the gofer of %s: %w", s.id, err)
		}
	}
	return nil
}

// take duplicates sockets that a process has open, those that it has.
func take(p observed.Process, inodes []uint64) (sockets []*os.File, err error) {
	pidfd, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer pidfd.Close()
	dir, err := p.OpenDir()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	open, err := socketsOf("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	if err != nil {
		return nil, err
	}
	for _, inode := range inodes {
		for _, number := range open[inode] {
			fd, err := unix.PidfdGetfd(int(pidfd.Fd()), int(number), 0)
			if errors.Is(err, unix.EBADF) {
				continue // closed by now
			}
			if err != nil {
				return sockets, os.NewSyscallError("pidfd_getfd", err)
			}
			if !isBound(fd, inode) {
				unix.Close(fd)
				continue
			}
			sockets = append(sockets, os.NewFile(uintptr(fd), "bound socket"))
			break
		}
	}
	return sockets, nil
}

// isBound says whether a descriptor is what a gofer has bound: the socket with
// that inode number, which is found under the name that it has in a gofer. No
// other socket that a sentry has, like that which it is controlled by, is.
func isBound(fd int, inode uint64) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != inode {
		return false
	}
	name, err := unix.Getsockname(fd)
	unixName, ok := name.(*unix.SockaddrUnix)
	// In gofers of earlier versions the path began at their root.
	return err == nil && ok && strings.HasPrefix(strings.TrimPrefix(unixName.Name, "/"), serve.FDPath+"/")
}

// socketsOf are the numbers under which the process behind proc has sockets
// open, by their inode numbers.
func socketsOf(proc string) (map[uint64][]int32, error) {
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return nil, err
	}
	sockets := map[uint64][]int32{}
	for _, e := range entries {
		var inode uint64
		link, err := os.Readlink(proc + "/fd/" + e.Name())
		if n, _ := fmt.Sscanf(link, "socket:[%d]", &inode); err != nil || n != 1 {
			continue // closed by now, or no socket
		}
		if fd, err := strconv.ParseInt(e.Name(), 10, 32); err == nil {
			sockets[inode] = append(sockets[inode], int32(fd))
		}
	}
	return sockets, nil
}
