package cgroup

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what a cgroup says of its processes' memory, in bytes.
type Memory struct {
	// Usage is in use now, page cache included; Peak the most that ever was, 0
	// where the kernel does not say (v2 before Linux 5.19).
	Usage, Peak int64
	// Limit is the most that may be; 0: no limit. Full says that it, or v2's
	// memory.high, is all but reached: what grows from here on takes the place
	// of cache, and Usage does not show it.
	Limit int64
	Full  bool
	// Kills counts the processes that the kernel has killed for memory since
	// the cgroup was made, for want of the cgroup's or of the host's.
	Kills uint64
}

// Memory reads a cgroup's memory by path. All is zero where there is no such
// cgroup, and where the host has no memory controller.
func (h *Host) Memory(name string) (Memory, error) {
	if !h.has("memory") {
		return Memory{}, nil
	}
	m, err := h.memory(name)
	if gone(err) || errors.Is(err, ErrNotFound) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, fmt.Errorf("reading the memory of cgroup %s: %w", name, err)
	}
	return m, nil
}

func (h *Host) memory(name string) (Memory, error) {
	c, err := h.Load(name)
	if err != nil {
		return Memory{}, err
	}
	files := []string{"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.max_usage_in_bytes"}
	if h.mode == V2 {
		files = []string{"memory.current", "memory.max", "memory.peak", "memory.high"}
	}
	var values [4]int64
	for i, f := range files {
		values[i], err = readBytes(filepath.Join(h.dir("memory", name), f))
		if err != nil && (f != "memory.peak" || !gone(err)) {
			return Memory{}, err
		}
	}
	m := Memory{Usage: values[0], Limit: values[1], Peak: values[2]}
	for _, most := range []int64{m.Limit, values[3]} {
		m.Full = m.Full || most != 0 && m.Usage >= most-nearly
	}
	m.Kills, err = c.OOMKills()
	return m, err
}

// nearly is how far below its limit a cgroup is full, in bytes: it is charged
// in batches, per CPU.
const nearly = 8 << 20

// readBytes reads a file with a number of bytes. No limit, which is "max" on v2
// and on v1 a number that is more than any memory, reads as 0.
func readBytes(path string) (int64, error) {
	data, err := readFile(path)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(data))
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if n >= math.MaxInt64>>12<<12 {
		n = 0
	}
	return int64(n), err
}
