package cgroup

import (
	"errors"
	"fmt"
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
	return h.procs(name, false)
}

// Started is Procs for who looks often: it asks one hierarchy only, the one that
// Start joins first. Who was moved out of that since is not listed.
func (h *Host) Started(name string) (pids []int, exists bool, err error) {
	return h.procs(name, true)
}

func (h *Host) procs(name string, once bool) (pids []int, exists bool, err error) {
	if err := checkName(name); err != nil {
		return nil, false, err
	}
	for _, top := range h.dirs(name) {
		if once && exists {
			break
		}
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
