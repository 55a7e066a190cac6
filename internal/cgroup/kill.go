package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to every process in the cgroup and in those nested in it,
// frozen ones too, and waits until none is left or ctx is done (an error that
// wraps ErrBusy and ctx's). A cgroup that does not exist has none. It fails
// with ErrSelf, and kills nothing, where the caller is in it.
func (c *Cgroup) Kill(ctx context.Context) error {
	var last []int
	for {
		pids, _, err := c.host.Procs(c.name)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if slices.Contains(pids, os.Getpid()) {
			return fmt.Errorf("killing cgroup %s: %w", c.name, ErrSelf)
		}
		if err := c.killPass(ctx, pids); err != nil {
			return fmt.Errorf("killing cgroup %s: %w", c.name, err)
		}
		// All that were waited for have ended, so the same list again means
		// that the kernel has not taken them off it yet.
		if slices.Equal(pids, last) {
			if err := pause(ctx, time.Millisecond); err != nil {
				return fmt.Errorf("killing cgroup %s: processes %v: %w: %w", c.name, pids, ErrBusy, err)
			}
		}
		last = pids
	}
}

// killPass kills once what is in the cgroup and waits for the end of it.
func (c *Cgroup) killPass(ctx context.Context, pids []int) error {
	held, err := c.hold(pids)
	if err != nil {
		return err
	}
	defer held.close()
	atomic, err := c.killAtOnce()
	if err != nil {
		return err
	}
	if !atomic {
		for _, pid := range pids { // the first ones are sentries, whose end takes longest
			fd, ok := held[pid]
			if !ok {
				continue
			}
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("signalling process %d: %w", pid, err)
			}
		}
		if err := c.thaw(); err != nil {
			return err
		}
	}
	return held.wait(ctx)
}

// killAtOnce uses cgroup.kill, which no fork can outrun; v2 has it since
// Linux 5.14, v1 never.
func (c *Cgroup) killAtOnce() (bool, error) {
	if c.host.mode != V2 {
		return false, nil
	}
	err := writeFile(filepath.Join(c.host.dir("", c.name), "cgroup.kill"), "1")
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

// thaw lets processes that a runtime froze through v1's freezer meet their
// SIGKILL. (v2's freezer lets SIGKILL through.)
func (c *Cgroup) thaw() error {
	if c.host.mode != V1 || !c.host.has("freezer") {
		return nil
	}
	dirs, err := subtree(c.host.dir("freezer", c.name))
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := writeFile(filepath.Join(dir, "freezer.state"), "THAWED"); err != nil && !gone(err) {
			return fmt.Errorf("thawing: %w", err)
		}
	}
	return nil
}

// Frozen says whether the kernel's freezer holds what is in the cgroup.
// ErrNotFound where the cgroup is gone.
func (c *Cgroup) Frozen() (bool, error) {
	file, says := filepath.Join(c.host.dir("", c.name), "cgroup.events"), "frozen 1"
	// Version 1 says FREEZING before FROZEN.
	if c.host.mode == V1 {
		if !c.host.has("freezer") {
			return false, nil
		}
		file, says = filepath.Join(c.host.dir("freezer", c.name), "freezer.state"), "FR"
	}
	data, err := readFile(file)
	if gone(err) {
		err = fmt.Errorf("looking whether cgroup %s is frozen: %w", c.name, ErrNotFound)
	}
	return strings.Contains(string(data), says), err
}

// pidfds are held processes by pid.
type pidfds map[int]int

func (p pidfds) close() {
	for _, fd := range p {
		unix.Close(fd)
	}
}

// hold opens pidfds of those of the processes that are proved to be in the
// cgroup: a pid that is listed again after its pidfd was opened belongs, if
// the pidfd's process still lives, to that very process; if it doesn't live,
// a signal through the pidfd reaches nobody.
func (c *Cgroup) hold(pids []int) (pidfds, error) {
	held := pidfds{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			held.close()
			return nil, fmt.Errorf("opening process %d: %w", pid, err)
		}
		held[pid] = fd
	}
	again, err := c.listed(held)
	if err != nil {
		held.close()
		return nil, err
	}
	for pid, fd := range held {
		if !slices.Contains(again, pid) {
			unix.Close(fd)
			delete(held, pid)
		}
	}
	return held, nil
}

// listed are the processes of the cgroup; only those of the hierarchy that is
// joined first where they are all that are held, as they mostly are.
func (c *Cgroup) listed(held pidfds) ([]int, error) {
	pids, _, err := c.host.Started(c.name)
	if err != nil {
		return nil, err
	}
	for pid := range held {
		if !slices.Contains(pids, pid) {
			pids, _, err = c.host.Procs(c.name)
			break
		}
	}
	return pids, err
}

// wait returns when all held processes have ended, or ctx is done.
func (p pidfds) wait(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// Only a full counter could refuse, and then poll wakes as well.
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !stop() {
			<-woken // it must not write to a number that is somebody else's by then
		}
		unix.Close(wake)
	}()
	left := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	for _, fd := range p {
		left = append(left, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for len(left) > 1 {
		if _, err := unix.Poll(left, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if left[0].Revents != 0 {
			return fmt.Errorf("%d processes have not ended: %w: %w", len(left)-1, ErrBusy, context.Cause(ctx))
		}
		left = slices.DeleteFunc(left, func(f unix.PollFd) bool { return f.Revents != 0 })
	}
	return nil
}

// pause waits for a moment, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
