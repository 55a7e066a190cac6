package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the directories at which cgroup file systems are mounted.
func hierarchies() ([]string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &s); err != nil {
		return nil, fmt.Errorf("looking at %s: %w", cgroupRoot, err)
	}
	if s.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() { // links are second names of controllers mounted together
			dirs = append(dirs, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return dirs, nil
}

// tree is a cgroup of the benchmark's own with everything below it, in all
// hierarchies.
type tree struct {
	name string
	dirs []string
}

func newTree(name string) (tree, error) {
	roots, err := hierarchies()
	t := tree{name: name}
	for _, r := range roots {
		t.dirs = append(t.dirs, filepath.Join(r, name))
	}
	return t, err
}

// below are the directories of a cgroup in the tree.
func (t tree) below(name string) []string {
	dirs := make([]string, len(t.dirs))
	for i, d := range t.dirs {
		dirs[i] = filepath.Join(d, name)
	}
	return dirs
}

// pids lists the processes of the tree, or those of one cgroup in it.
func (t tree) pids(name string) ([]int, error) {
	var pids []int
	for _, dir := range t.below(name) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return ignoreGone(err)
			}
			b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for line := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(line); err == nil && pid != 0 {
					pids = append(pids, pid)
				}
			}
			return ignoreGone(err)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

var errNotCounted = errors.New("nothing counts its CPU time")

// cpu is what all processes of the tree have used, ended ones included.
func (t tree) cpu(name string) (time.Duration, error) {
	for _, dir := range t.below(name) {
		b, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
		if err == nil {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			return time.Duration(ns), err
		}
		b, err = os.ReadFile(filepath.Join(dir, "cpu.stat"))
		if rest, ok := strings.CutPrefix(string(b), "usage_usec "); err == nil && ok {
			line, _, _ := strings.Cut(rest, "\n")
			us, err := strconv.ParseInt(line, 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("cgroup %s: %w", filepath.Join(t.name, name), errNotCounted)
}

// remove kills what is left in the tree and removes it. It is for the end,
// when all should be gone, and for failures.
func (t tree) remove(ctx context.Context) error {
	for {
		pids, err := t.pids("")
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if len(pids) == 0 {
			break
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("processes %v of cgroup %s do not end: %w", pids, t.name, err)
		}
	}
	var errs []error
	for _, top := range t.dirs {
		var dirs []string
		errs = append(errs, filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return ignoreGone(err)
		}))
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, ignoreGone(os.Remove(dir)))
		}
	}
	return errors.Join(errs...)
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
