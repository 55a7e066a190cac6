package serve

import (
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// SocketPair returns the sentry's and the gofer's end of one connection. A
// whole request of any size fits into it, since a gofer takes none out before
// it has been answered, and so does an answer, which is sent at once or not at
// all. It needs CAP_NET_ADMIN.
func SocketPair() (sentry, gofer *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	sentry = os.NewFile(uintptr(fds[0]), "lisafs, sentry's end")
	gofer = os.NewFile(uintptr(fds[1]), "lisafs, gofer's end")
	// The kernel counts its own overhead, too: twice the size is plenty.
	size := 2 * (headerSize + int(lisafs.MaxMessageSize()))
	for _, fd := range fds {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size); err != nil {
			sentry.Close()
			gofer.Close()
			return nil, nil, os.NewSyscallError("setsockopt", err)
		}
	}
	return sentry, gofer, nil
}
