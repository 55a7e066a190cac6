package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Procs lists the pids of all processes in the cgroup and in cgroups nested in
// it, sorted, from all hierarchies: a process that is just joining is in some
// only. Zombies are not listed. A pid is a number to look at, never to signal.
// ErrNotFound where the cgroup exists in no hierarchy.
func (c *Cgroup) Procs() ([]int, error) {
	pids, exists, err := c.host.Procs(c.name)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("reading cgroup %s: %w", c.name, ErrNotFound)
	}
	return pids, nil
}

// Procs is Cgroup.Procs by path; exists is false, and no error returned, where
// there is no such cgroup.
func (h *Host) Procs(name string) (pids []int, exists bool, err error) {
	if err := checkName(name); err != nil {
		return nil, false, err
	}
	for _, top := range h.dirs(name) {
		dirs, err := subtree(top)
		if err != nil {
			return nil, false, fmt.Errorf("reading cgroup %s: %w", name, err)
		}
		exists = exists || len(dirs) > 0
		for _, dir := range dirs {
			if pids, err = appendProcs(pids, dir); err != nil {
				return nil, false, fmt.Errorf("reading cgroup %s: %w", name, err)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), exists, nil
}

func appendProcs(pids []int, dir string) ([]int, error) {
	file := filepath.Join(dir, "cgroup.procs")
	data, err := readFile(file)
	if gone(err) {
		return pids, nil
	}
	// A threaded v2 cgroup refuses this file; its processes are listed by the
	// domain above it.
	if errors.Is(err, unix.EOPNOTSUPP) {
		return pids, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		// 0 stands for a process outside of our pid namespace.
		if pid <= 0 {
			return nil, fmt.Errorf("%s: a process of another pid namespace is in it", file)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// EnterFiles opens the files, one per hierarchy, through which a process joins
// the cgroup with all its threads by writing "0" to each. They are to be handed
// to a short-lived child that writes first and does its work afterwards; what
// it then starts is born in the cgroup. The caller closes them. ErrNotFound
// where a hierarchy lacks the cgroup.
func (c *Cgroup) EnterFiles() ([]*os.File, error) {
	var files []*os.File
	for _, dir := range c.host.dirs(c.name) {
		path := filepath.Join(dir, "cgroup.procs")
		fd, err := open(path, unix.O_WRONLY)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			if gone(err) {
				err = ErrNotFound
			}
			return nil, fmt.Errorf("entering cgroup %s: %w", c.name, err)
		}
		files = append(files, os.NewFile(uintptr(fd), path))
	}
	return files, nil
}

// FD opens the cgroup's directory for clone3's CLONE_INTO_CGROUP
// (syscall.SysProcAttr.CgroupFD). ok is false on v1, which has nothing like it.
// The caller closes the file, after the start of the child.
func (c *Cgroup) FD() (dir *os.File, ok bool, err error) {
	if c.host.mode != V2 {
		return nil, false, nil
	}
	path := c.host.dir("", c.name)
	fd, err := open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, false, fmt.Errorf("opening cgroup %s: %w", c.name, err)
	}
	return os.NewFile(uintptr(fd), path), true, nil
}
