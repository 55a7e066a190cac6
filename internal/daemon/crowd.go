package daemon

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sandboxer/internal/crowd"
)

// crowd is what looks after gVisor's fast path.
func (d *daemon) crowd() crowd.Config {
	return crowd.Config{
		Processors: runtime.NumCPU(),
		Host:       hostCPU,
		Sandboxes:  d.actuator.CPU,
		FastPath:   d.actuator.FastPath,
		Failed:     func(err error) { d.c.Log.V(1).Info("looking after the fast path failed", "error", err.Error()) },
	}
}

// hostCPU is the CPU time that the host's processors have spent on something
// since it was started.
func hostCPU() (time.Duration, error) {
	const path = "/proc/stat"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var ticks int64
	for i, field := range strings.Fields(line) {
		// The name, user, nice, system, idle, iowait, irq, softirq, steal; what
		// guests use is part of user.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, err)
		}
		ticks += n
	}
	const perSecond = 100 // for every architecture
	return time.Duration(ticks) * time.Second / perSecond, nil
}
