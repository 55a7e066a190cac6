package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is the CPU time that a process has used so far, in the kernel's
// own resolution rather than /proc's hundredths of a second.
func processCPU(pid int) (time.Duration, error) {
	const perProcess, scheduler = 0, 2 // clock_getcpuclockid(3)'s encoding
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcess|scheduler), &t); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// spent is the daemon's CPU time and that of all that it has put into cgroups:
// its sentries, gofers and keepers.
func (o *ours) spent(string) (time.Duration, error) {
	daemon, err := processCPU(o.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	inside, err := o.tree.cpu("")
	if errors.Is(err, errNotCounted) { // before the first sandbox
		err = nil
	}
	return daemon + inside, err
}

// spent is the CPU time of all commands so far, and of what runs of a container.
func (r *bare) spent(name string) (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &u); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	sum := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	pids, err := r.tree.pids(name)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		d, err := processCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// pss is the memory of a process in MB, pages shared with n others counted as
// one n-th.
func pss(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d: no Pss in smaps_rollup", pid)
}

func argv0(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ := strings.Cut(string(b), "\x00")
	return name, err
}

func descendants(pid int) ([]int, error) {
	all, err := children(pid)
	if err != nil {
		return nil, err
	}
	for _, child := range all {
		below, err := descendants(child)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// children lists those of all threads of a process.
func children(pid int) ([]int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) {
			return nil, err // the other two: the thread has ended
		}
		for field := range strings.FieldsSeq(string(b)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// childrenCPU is the CPU time of a process's children that it has waited for,
// and of theirs.
func childrenCPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; fields 16 and 17 (from 1)
	// are cutime and cstime in hundredths of a second.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	var ticks int64
	for i, field := range strings.Fields(rest) {
		if i == 13 || i == 14 {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// endOrphans kills what is left of all that the benchmark started, which by
// now should be nothing. Whatever lost its parent is this process's child.
func endOrphans(ctx context.Context) error {
	var all []int
	for {
		left, err := descendants(os.Getpid())
		if err != nil {
			return err
		}
		if len(left) == 0 {
			break
		}
		// One that has ended and waits for the reaper shows for a moment.
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("processes %v do not end: %w", left, err)
		}
		for _, pid := range left {
			if name, err := argv0(pid); err == nil && name != "" {
				all = append(all, pid)
				_ = unix.Kill(pid, unix.SIGKILL) // it may have ended since
			}
		}
	}
	if len(all) > 0 {
		slices.Sort(all)
		return fmt.Errorf("processes %v were left behind and have been killed", slices.Compact(all))
	}
	return nil
}
