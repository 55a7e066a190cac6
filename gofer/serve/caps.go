package serve

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The capabilities that a gofer needs, in its user namespace only.
const (
	// forFiles are to act on files for any user of its container.
	forFiles uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
		1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	// forSockets are to connect to a host's socket as the container's user.
	forSockets uint64 = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
)

// dropCapabilities leaves every thread of the process with kept and no way to
// gain more. Capabilities belong to threads, so each system call is made on
// all of them; the binary is built without cgo, which would refuse that.
func dropCapabilities(kept uint64) error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept&(1<<c) != 0 {
			continue
		}
		// EINVAL: a capability that this kernel does not know yet.
		if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0); errno != 0 && errno != unix.EINVAL {
			return fmt.Errorf("dropping capability %d from the bounding set: %w", c, errno)
		}
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("clearing ambient capabilities: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		set := uint32(kept >> (32 * i))
		data[i] = unix.CapUserData{Effective: set, Permitted: set}
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("setting capabilities: %w", errno)
	}
	return nil
}
