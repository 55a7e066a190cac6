package observed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reaper collects the ended processes that became children of this process
// because their own parent ended (see BecomeSubreaper). Children that this
// process started itself have a waiter each, and are left to it; they must
// therefore all be started through Start.
type Reaper struct {
	// reaped is told of each orphan, stopped of each child that was stopped.
	reaped  func(Process, unix.WaitStatus)
	stopped func(pid int)
	// poke has the capacity 1: pokes carry no data.
	poke chan struct{}

	// mu is held while a child starts and while orphans are reaped, so that a
	// child that ends at once is known before it can be met.
	mu    sync.Mutex
	known map[int]struct{}
}

// NewReaper returns a Reaper. Both functions may be nil and are called from
// Run's goroutine: reaped for each orphan, with its identity and its wait
// status, when it has been reaped, and stopped for each child that a signal has
// stopped, with its pid. They must not block, nor call Start or Wait.
func NewReaper(reaped func(p Process, status unix.WaitStatus), stopped func(pid int)) *Reaper {
	if reaped == nil {
		reaped = func(Process, unix.WaitStatus) {}
	}
	if stopped == nil {
		stopped = func(int) {}
	}
	return &Reaper{reaped: reaped, stopped: stopped, poke: make(chan struct{}, 1), known: map[int]struct{}{}}
}

// BecomeSubreaper makes this process the parent of every descendant that loses
// its own. It lasts until the process ends.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming child subreaper: %w", err)
	}
	return nil
}

// Start starts the command, whose Wait the caller must call through
// Reaper.Wait.
func (r *Reaper) Start(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	r.known[cmd.Process.Pid] = struct{}{}
	return nil
}

// Wait is cmd.Wait for a command that was started by Start.
func (r *Reaper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	delete(r.known, cmd.Process.Pid)
	r.mu.Unlock()
	// An orphan may have been given the same pid since the command was reaped.
	select {
	case r.poke <- struct{}{}:
	default:
	}
	return err
}

// Run reaps orphans whenever a child ends, until ctx is done, and then once
// more; it returns nil then. One Reaper runs in a process.
func (r *Reaper) Run(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	for {
		// The first time round, for those that ended before.
		if err := r.reap(); err != nil {
			return fmt.Errorf("reaping orphans: %w", err)
		}
		select {
		case <-ctx.Done():
			if err := r.reap(); err != nil {
				return fmt.Errorf("reaping orphans: %w", err)
			}
			return nil
		case <-children:
		case <-r.poke:
		}
	}
}

// reap reaps all orphans that have ended, and tells of children that were stopped.
func (r *Reaper) reap() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		pid, err := peek(unix.P_ALL, 0, unix.WSTOPPED)
		if err != nil {
			return err
		}
		if pid == 0 {
			break
		}
		r.stopped(pid)
	}
	for {
		pid, err := peek(unix.P_ALL, 0, ended)
		if err != nil || pid == 0 {
			return err
		}
		if _, ok := r.known[pid]; ok {
			// The kernel would show the same one again until its waiter has
			// been there, and orphans may be behind it.
			return r.reapBehind()
		}
		if err := r.collect(pid); err != nil {
			return err
		}
	}
}

// reapBehind asks for every child by itself.
func (r *Reaper) reapBehind() error {
	pids, err := childPIDs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if _, ok := r.known[pid]; ok {
			continue
		}
		found, err := peek(unix.P_PID, pid, ended)
		if err != nil {
			return err
		}
		if found != 0 {
			if err := r.collect(pid); err != nil {
				return err
			}
		}
	}
	return nil
}

// collect reaps one orphan. Its pid can't be another's: a zombie keeps it. It
// is gone only if a waiter came in between that does not use Start.
func (r *Reaper) collect(pid int) error {
	dir, err := openProc(procRoot, pid)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := readStat(dir)
	unix.Close(dir)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reaping process %d: %w", pid, err)
		}
		r.reaped(Process{PID: pid, StartTime: st.start}, status)
		return nil
	}
}

// ended are the children that have ended, which peek leaves as they are.
const ended = unix.WEXITED | unix.WNOWAIT

// peek returns the pid of a child of which there is such news; 0 where there is
// none.
func peek(idType, id, news int) (int, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(idType, id, &info, news|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return 0, nil
		case err != nil:
			return 0, fmt.Errorf("looking for news of children: %w", err)
		}
		if info.Signo == 0 {
			return 0, nil // there are children, and no news
		}
		// siginfo_t's union begins with si_pid for SIGCHLD; it is aligned
		// like a pointer.
		type childInfo struct {
			_   [3]int32
			_   [0]uintptr
			pid int32
		}
		return int((*childInfo)(unsafe.Pointer(&info)).pid), nil
	}
}

// childPIDs lists the children of all threads of this process.
func childPIDs() ([]int, error) {
	lists, err := filepath.Glob(procRoot + "/self/task/*/children")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has ended, and its children are another's
		}
		if err != nil {
			return nil, err
		}
		for field := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list, err)
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
