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

// io sums up what the processes of the cgroup have read from storage and
// written to it, in bytes. What a child did counts for its parent once that has
// waited for it; what another process did that has ended counts no more.
//
// The processes tell it, and not the controllers: v1's does not know whose the
// writes are that the kernel defers, which is nearly all.
func (c *Cgroup) io() (read, written uint64, err error) {
	pids, err := c.Procs()
	if err != nil {
		return 0, 0, err
	}
	dirs := make(map[int]int, len(pids))
	defer func() {
		for _, dir := range dirs {
			unix.Close(dir)
		}
	}()
	for _, pid := range pids {
		dir, err := open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY)
		if gone(err) {
			continue // it has ended
		}
		if err != nil {
			return 0, 0, err
		}
		dirs[pid] = dir
	}
	// A directory stays with its process. One whose pid is still in the cgroup
	// is that process's, or answers no more.
	if pids, err = c.Procs(); err != nil {
		return 0, 0, err
	}
	for pid, dir := range dirs {
		if !slices.Contains(pids, pid) {
			continue
		}
		r, w, err := processIO(dir)
		if gone(err) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("process %d: %w", pid, err)
		}
		read, written = read+r, written+w
	}
	return read, written, nil
}

// processIO reads the counters of the process that has this /proc directory.
func processIO(dir int) (read, written uint64, err error) {
	data, err := readFile(filepath.Join("/proc/self/fd", strconv.Itoa(dir), "io"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		to := map[string]*uint64{"read_bytes": &read, "write_bytes": &written}[name]
		if to == nil {
			continue
		}
		if *to, err = strconv.ParseUint(value, 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return read, written, nil
}
