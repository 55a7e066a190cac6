package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Limits of a cgroup. The zero value limits nothing.
type Limits struct {
	// MemoryBytes is the most memory that all processes together may use, in
	// bytes; 0: no limit. Swap does not extend it.
	MemoryBytes int64
	// MemoryHighBytes is where v2 begins to take back, to slow those who want
	// more, and to tell (Alarms); 0: nowhere. v1 has nothing like it.
	MemoryHighBytes int64
	// CPUQuota is the most CPU time per time, in cores; 0: no limit. Less than
	// a hundredth of a core counts as a hundredth, the least the kernel grants.
	CPUQuota float64
	// Tasks is the most threads, of all processes together; 0: no limit, and
	// none where the host does not count them. Who asks for more gets EAGAIN.
	Tasks int64
}

// The kernel's default period, and the shortest quota it takes, in µs.
const (
	cpuPeriod   = 100_000
	cpuQuotaMin = 1_000
)

func (l Limits) check(h *Host) error {
	switch {
	case l.MemoryBytes < 0 || l.MemoryHighBytes < 0:
		return fmt.Errorf("memory limit of %d bytes, high at %d, is negative", l.MemoryBytes, l.MemoryHighBytes)
	case !(l.CPUQuota >= 0) || math.IsInf(l.CPUQuota, 1):
		return fmt.Errorf("CPU quota of %v cores is not a number of cores", l.CPUQuota)
	case l.MemoryBytes > 0 && !h.has("memory"):
		return fmt.Errorf("limiting memory: no memory controller: %w", ErrUnsupported)
	case l.CPUQuota > 0 && !h.has("cpu"):
		return fmt.Errorf("limiting CPU: no cpu controller: %w", ErrUnsupported)
	}
	return nil
}

// quota is the limit in µs of CPU time per period; ok is false for no limit.
func (l Limits) quota() (us int64, ok bool) {
	if l.CPUQuota == 0 {
		return 0, false
	}
	q := math.Round(l.CPUQuota * cpuPeriod)
	return int64(min(max(q, cpuQuotaMin), math.MaxInt32)), true
}

// Set puts limits in force in place, in either direction; no process is
// touched. A memory limit below what is in use and can't be reclaimed is
// refused with ErrBusy and leaves the old one in force. ErrNotFound where the
// cgroup is gone.
func (c *Cgroup) Set(l Limits) error {
	if err := l.check(c.host); err != nil {
		return fmt.Errorf("limiting cgroup %s: %w", c.name, err)
	}
	// The library makes directories that are missing: a Set that comes too
	// late must not bring half a cgroup back.
	for _, dir := range c.host.dirs(c.name) {
		if _, err := os.Lstat(dir); gone(err) {
			return fmt.Errorf("limiting cgroup %s: %w", c.name, ErrNotFound)
		} else if err != nil {
			return fmt.Errorf("limiting cgroup %s: %w", c.name, err)
		}
	}
	set := c.setV1
	if c.host.mode == V2 {
		set = c.setV2
	}
	if err := errors.Join(set(l), c.setTasks(l)); err != nil {
		return fmt.Errorf("limiting cgroup %s: %w", c.name, err)
	}
	return nil
}

func (c *Cgroup) setV1(l Limits) error {
	control, err := cgroup1.Load(cgroup1.StaticPath(c.name), cgroup1.WithHierarchy(c.host.hierarchy))
	if err != nil {
		return err
	}
	if c.host.has("memory") {
		if err := c.setMemoryV1(control, l.MemoryBytes); err != nil {
			return err
		}
	}
	if c.host.has("cpu") {
		quota, ok := l.quota()
		if !ok {
			quota = -1
		}
		cpu := &specs.LinuxCPU{Period: new(uint64(cpuPeriod)), Quota: &quota}
		if err := control.Update(&specs.LinuxResources{CPU: cpu}); err != nil {
			return fmt.Errorf("setting the CPU quota to %d µs in %d: %w", quota, cpuPeriod, err)
		}
	}
	return nil
}

// tasksMax is the most that the kernel takes for a limit of tasks.
const tasksMax = 4 << 20

// setTasks limits tasks, which is the same with v1 and v2. The library can't take
// a limit away with v1.
func (c *Cgroup) setTasks(l Limits) error {
	if !c.host.has("pids") {
		return nil
	}
	limit := "max"
	if l.Tasks > 0 && l.Tasks <= tasksMax {
		limit = strconv.FormatInt(l.Tasks, 10)
	}
	err := writeFile(filepath.Join(c.host.dir("pids", c.name), "pids.max"), limit)
	if gone(err) && limit == "max" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("setting the limit of tasks to %s: %w", limit, err)
	}
	return nil
}

// setMemoryV1 writes the limits of memory and of memory plus swap, one by one:
// the kernel refuses a state in which the second is the lower one, also for
// the moment between two writes.
func (c *Cgroup) setMemoryV1(control cgroup1.Cgroup, bytes int64) error {
	dir := c.host.dir("memory", c.name)
	now, err := readUint(filepath.Join(dir, "memory.limit_in_bytes"))
	if err != nil {
		return err
	}
	limit := bytes
	if limit == 0 {
		limit = -1
	}
	steps := []*specs.LinuxMemory{{Limit: &limit}}
	if _, err := os.Lstat(filepath.Join(dir, "memory.memsw.limit_in_bytes")); err == nil {
		swap := &specs.LinuxMemory{Swap: &limit}
		if limit < 0 || uint64(limit) > now {
			steps = []*specs.LinuxMemory{swap, steps[0]}
		} else {
			steps = append(steps, swap)
		}
	}
	for _, step := range steps {
		err := control.Update(&specs.LinuxResources{Memory: step})
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("setting the memory limit to %d bytes: more is in use and can't be reclaimed: %w", bytes, ErrBusy)
		}
		if err != nil {
			return fmt.Errorf("setting the memory limit to %d bytes: %w", bytes, err)
		}
	}
	return nil
}

func (c *Cgroup) setV2(l Limits) error {
	dir := c.host.dir("", c.name)
	r := &cgroup2.Resources{}
	if c.host.has("memory") {
		if err := makeRoomV2(dir, l.MemoryBytes); err != nil {
			return err
		}
		// The largest number is what the kernel reads back as "max".
		limit, swap, high := int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64)
		if l.MemoryBytes > 0 {
			limit, swap = l.MemoryBytes, 0
		}
		if l.MemoryHighBytes > 0 {
			high = l.MemoryHighBytes
		}
		r.Memory = &cgroup2.Memory{Max: &limit, High: &high}
		if _, err := os.Lstat(filepath.Join(dir, "memory.swap.max")); err == nil {
			r.Memory.Swap = &swap
		}
	}
	if c.host.has("cpu") {
		var quota *int64
		if q, ok := l.quota(); ok {
			quota = &q
		}
		r.CPU = &cgroup2.CPU{Max: cgroup2.NewCPUMax(quota, new(uint64(cpuPeriod)))}
	}
	control, err := cgroup2.Load(c.name, cgroup2.WithMountpoint(c.host.root))
	if err != nil {
		return err
	}
	return control.Update(r)
}

// makeRoomV2 asks the kernel to reclaim what a lower limit would not leave
// room for, and refuses the limit where it can't: v2, unlike v1, would take it
// and kill.
func makeRoomV2(dir string, limit int64) error {
	if limit == 0 {
		return nil
	}
	current := filepath.Join(dir, "memory.current")
	used, err := readUint(current)
	if err != nil || used <= uint64(limit) {
		return err
	}
	// Missing before Linux 5.19, EAGAIN when less was reclaimed: what counts
	// is what is in use afterwards.
	_ = writeFile(filepath.Join(dir, "memory.reclaim"), strconv.FormatUint(used-uint64(limit), 10))
	if used, err = readUint(current); err != nil {
		return err
	}
	if used > uint64(limit) {
		return fmt.Errorf("setting the memory limit to %d bytes: %d are in use and can't be reclaimed: %w", limit, used, ErrBusy)
	}
	return nil
}

// readUint reads a file with one number. v1 writes "no limit" as a number.
func readUint(path string) (uint64, error) {
	data, err := readFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
}
