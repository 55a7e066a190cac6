package gofer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

const (
	// settleTime bounds how long the sentry is looked at. It reads an answer,
	// and comes to wait for one, within microseconds.
	settleTime = 5 * time.Second
	// busyTime is how long a sentry whose threads run is looked at: one that
	// is on its way to wait for an answer gets there.
	busyTime = 2 * time.Second
	// looks is how often in a row, a millisecond apart, no thread may be found
	// that is on its way.
	looks = 5
)

// answered says whether the sentry has the answer to the request that waits
// first in a socket whose gofer ended while it answered. A sentry asks on a
// socket only once the last answer has come, so it has not got this one exactly
// while one of its threads polls its end for input, or is on its way there. If
// it has asked for something else meanwhile, false is said, too: two requests
// wait then, which shows that the first was answered.
func answered(ctx context.Context, kept *os.File, end uint64, sentry observed.Process) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	// First whatever has been sent must have been read.
	for {
		unread, err := queued(kept, unix.TIOCOUTQ)
		if err != nil {
			return false, err
		}
		if unread == 0 {
			break
		}
		if err := rest(ctx); err != nil {
			return false, fmt.Errorf("the sentry does not read: %w", err)
		}
	}
	// What comes into an empty socket later was not answered.
	if waiting, err := queued(kept, unix.TIOCINQ); waiting == 0 || err != nil {
		return false, err
	}
	since := time.Now()
	for quiet := 0; quiet < looks; {
		a, err := look(sentry, end)
		switch {
		case err != nil || a == polling:
			return false, err
		case a == stopped, a == running && time.Since(since) < busyTime:
			quiet = 0
		default:
			quiet++
		}
		if err := rest(ctx); err != nil {
			return false, fmt.Errorf("the sentry does not get on: %w", err)
		}
	}
	return true, nil
}

func rest(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// queued is how many bytes are in one of a socket's queues.
func queued(f *os.File, request int) (n int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), uint(request)) }) != nil {
		return 0, os.ErrClosed // nothing else has it fail
	}
	return n, os.NewSyscallError("ioctl", err)
}

// activity is what the threads of a sentry do, seen from one of its sockets.
// The most telling one counts.
type activity int

const (
	idle    activity = iota
	running          // one runs, or wants to
	stopped          // it was stopped, or one was where it may be on its way to poll
	polling          // one polls the socket for input
)

// look says what the threads of p do, seen from the socket with that inode
// number.
func look(p observed.Process, inode uint64) (activity, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return idle, err
	}
	defer dir.Close()
	proc := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
	sockets, err := socketsOf(proc)
	fds := sockets[inode]
	if err != nil || len(fds) == 0 {
		return idle, err
	}
	most := idle
	if halted, err := p.Stopped(); err != nil {
		return idle, err
	} else if halted {
		most = stopped
	}
	calls, err := systemCalls(proc)
	for _, call := range calls {
		most = max(most, does(p.PID, call, fds))
	}
	return most, err
}

// systemCalls is what /proc says of the system calls of a process's threads.
func systemCalls(proc string) (calls []string, err error) {
	tasks, err := os.ReadDir(proc + "/task")
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		b, err := os.ReadFile(proc + "/task/" + t.Name() + "/syscall")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, err
		}
		calls = append(calls, string(b))
	}
	return calls, nil
}

// Works says whether a gofer does anything but wait to be asked.
func Works(p observed.Process) (bool, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return false, err
	}
	defer dir.Close()
	calls, err := systemCalls("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	return slices.ContainsFunc(calls, works), err
}

// works says of a thread's system call whether it is one that does something.
func works(call string) bool {
	number, err := strconv.Atoi(strings.Fields(call + " ?")[0])
	return err != nil || !slices.Contains([]int{unix.SYS_PPOLL, unix.SYS_EPOLL_PWAIT, unix.SYS_FUTEX, unix.SYS_NANOSLEEP}, number)
}

// does reads what /proc says about a thread's system call.
func does(pid int, call string, fds []int32) activity {
	var number int
	var array, count uint64
	n, _ := fmt.Sscanf(call, "%d 0x%x 0x%x", &number, &array, &count)
	switch {
	case n == 0:
		return running
	case number == -1, number == unix.SYS_SENDMSG, number == unix.SYS_RECVMSG:
		return stopped
	case n == 3 && number == unix.SYS_PPOLL && count > 0 && count <= maxPoll && polled(pid, array, count, fds):
		return polling
	}
	return idle
}

// maxPoll is more descriptors than gVisor polls at once.
const maxPoll = 64

// polled reads a thread's poll set and says whether one of fds is waited for
// with input in it.
func polled(pid int, array, count uint64, fds []int32) bool {
	const size = 8 // of struct pollfd: fd, events, revents
	buf := make([]byte, count*size)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	remote := []unix.RemoteIovec{{Base: uintptr(array), Len: len(buf)}}
	if n, err := unix.ProcessVMReadv(pid, local, remote, 0); err != nil || n != len(buf) {
		return false
	}
	for b := buf; len(b) >= size; b = b[size:] {
		fd := int32(binary.NativeEndian.Uint32(b))
		if events := binary.NativeEndian.Uint16(b[4:]); slices.Contains(fds, fd) && events&unix.POLLIN != 0 {
			return true
		}
	}
	return false
}
