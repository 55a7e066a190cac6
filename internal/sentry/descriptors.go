package sentry

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// What the sentry keeps free at most of the descriptors that it may have, where a
// quarter of them is more: for commands from outside, gofers that replace others,
// and all folders of a long path at once.
const descriptorsKept = 8192

// limitDescriptors has system calls fail with ENFILE that could take the last of
// the host's files that the sentry may have open. The applications' own limits
// are each process's, and gVisor answers what it can't open in more than one way.
func limitDescriptors() {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		panic("sentry: the limit of open files can't be read: " + err.Error()) // unreachable: it is this process's own
	}
	d := &descriptors{bound: int64(limit.Cur - min(limit.Cur/4, descriptorsKept))}
	// After these more of the host's files may be open, for as long as the
	// application likes.
	inFront(d.guard,
		"open", "openat", "openat2", "creat", "execve", "execveat", "chdir", "fchdir", "chroot",
		"inotify_add_watch", "socket", "connect", "accept", "accept4", "bind", "mount", "open_tree", "move_mount")
}

// inFront puts something in front of system calls, by name.
func inFront(of func(kernel.SyscallFn) kernel.SyscallFn, names ...string) {
	for _, table := range kernel.SyscallTables() {
		for number, call := range table.Table {
			if slices.Contains(names, call.Name) {
				call.Fn = of(call.Fn)
				table.Table[number] = call
			}
		}
		table.Init()
	}
}

// descriptorsEach is how many descriptors a system call is taken to need, with the
// folders on the way that nobody has open yet.
const descriptorsEach = 16

type descriptors struct {
	bound int64
	// calls may go by before it is asked again how many are in use.
	calls atomic.Int64
}

// guard is a system call that fails where as many descriptors are in use.
func (d *descriptors) guard(call kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if d.calls.Add(-1) < 0 && d.used() {
			return 0, nil, linuxerr.ENFILE
		}
		return call(t, sysno, args)
	}
}

// used reports whether the bound is reached.
func (d *descriptors) used() bool {
	// The kernel gives the lowest number that is free: all below are in use.
	fd, err := unix.Dup(unix.Stdin)
	if err == nil {
		_ = unix.Close(fd)
	}
	if err == unix.EMFILE || err == nil && int64(fd) >= d.bound {
		return true
	}
	d.calls.Store((d.bound - int64(fd)) / descriptorsEach)
	return false
}
