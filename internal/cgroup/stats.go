package cgroup

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
)

// Usage is what the processes of a cgroup have used.
type Usage struct {
	// MemoryBytes is in use now, page cache included.
	MemoryBytes int64
	// MemoryPeakBytes is the most that was ever in use; 0: the kernel does
	// not say (v2 before Linux 5.19).
	MemoryPeakBytes int64
	// MemoryLimitBytes is the most that may be; 0: no limit.
	MemoryLimitBytes int64
	// CPU is the time spent on all CPUs together.
	CPU time.Duration
	// Tasks counts threads and processes.
	Tasks int64
	// OOMKills counts the processes that the kernel killed for memory.
	OOMKills uint64
	// ReadBytes came from storage, WrittenBytes go there: page cache is neither.
	// Of processes that have ended only what their parents waited for is in it,
	// so that they can shrink. Zeros where the kernel keeps no such account.
	ReadBytes, WrittenBytes uint64
}

// Usage reads what the cgroup uses; controllers that the host lacks leave
// zeros. ErrNotFound where it is gone.
func (c *Cgroup) Usage() (Usage, error) {
	read := c.usageV1
	if c.host.mode == V2 {
		read = c.usageV2
	}
	u, err := read()
	if err == nil && c.host.has("memory") {
		var m Memory
		m, err = c.host.memory(c.name)
		u.MemoryBytes, u.MemoryPeakBytes, u.MemoryLimitBytes, u.OOMKills = m.Usage, m.Peak, m.Limit, m.Kills
	}
	if err == nil {
		u.ReadBytes, u.WrittenBytes, err = c.io()
	}
	if gone(err) {
		err = ErrNotFound
	}
	if err != nil {
		return Usage{}, fmt.Errorf("reading the usage of cgroup %s: %w", c.name, err)
	}
	return u, nil
}

func (c *Cgroup) usageV1() (Usage, error) {
	if _, err := c.host.Load(c.name); err != nil {
		return Usage{}, err
	}
	control, err := cgroup1.Load(cgroup1.StaticPath(c.name), cgroup1.WithHierarchy(c.host.hierarchy))
	if err != nil {
		return Usage{}, err
	}
	m, err := control.Stat()
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		CPU:   time.Duration(m.GetCPU().GetUsage().GetTotal()),
		Tasks: int64(m.GetPids().GetCurrent()),
	}, nil
}

func (c *Cgroup) usageV2() (Usage, error) {
	control, err := cgroup2.Load(c.name, cgroup2.WithMountpoint(c.host.root))
	if err != nil {
		return Usage{}, err
	}
	m, err := control.Stat()
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		CPU:   time.Duration(m.GetCPU().GetUsageUsec()) * time.Microsecond,
		Tasks: int64(m.GetPids().GetCurrent()),
	}, nil
}

// CPU reads the time that the processes of a cgroup, and of those nested in it,
// have spent on all CPUs together, and nothing else; 0 where the host does not
// count it. ErrNotFound where the cgroup is gone.
func (h *Host) CPU(name string) (time.Duration, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	file, key, unit := filepath.Join(h.dir("", name), "cpu.stat"), "usage_usec ", time.Microsecond
	if h.mode == V1 {
		if !h.has("cpuacct") {
			return 0, nil
		}
		file, key, unit = filepath.Join(h.dir("cpuacct", name), "cpuacct.usage"), "", time.Nanosecond
	}
	data, err := readFile(file)
	if gone(err) {
		err = ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of cgroup %s: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		if n, ok := strings.CutPrefix(line, key); ok {
			used, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return time.Duration(used) * unit, err
		}
	}
	return 0, nil
}

// OOMKills counts the processes of the cgroup, and of those nested in it, that
// the kernel has killed for memory since it was made; 0 where the host has no
// memory controller. ErrNotFound where the cgroup is gone. It reads one file
// in the usual case.
func (c *Cgroup) OOMKills() (uint64, error) {
	if !c.host.has("memory") {
		return 0, nil
	}
	top := c.host.dir("memory", c.name)
	if c.host.mode == V2 {
		return c.oomKills(filepath.Join(top, "memory.events")) // counts nested ones itself
	}
	dirs, err := subtree(top)
	if err != nil {
		return 0, fmt.Errorf("reading OOM kills of cgroup %s: %w", c.name, err)
	}
	if len(dirs) == 0 {
		return 0, fmt.Errorf("reading OOM kills of cgroup %s: %w", c.name, ErrNotFound)
	}
	var sum uint64
	for _, dir := range dirs {
		n, err := c.oomKills(filepath.Join(dir, "memory.oom_control"))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (c *Cgroup) oomKills(file string) (uint64, error) {
	data, err := readFile(file)
	if gone(err) {
		return 0, fmt.Errorf("reading OOM kills of cgroup %s: %w", c.name, ErrNotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("reading OOM kills of cgroup %s: %w", c.name, err)
	}
	for line := range strings.Lines(string(data)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.ParseUint(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, nil // before Linux 4.13
}
