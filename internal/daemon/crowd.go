package daemon

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sandboxer/internal/crowd"
)

// crowd is what looks after gVisor's fast path.
func (d *daemon) crowd() crowd.Config {
	return crowd.Config{
		Processors: runtime.NumCPU(),
		Host:       new(processors).used,
		All:        d.actuator.AllCPU,
		Sandboxes:  d.actuator.CPU,
		FastPath:   d.actuator.FastPath,
		Failed:     func(err error) { d.c.Log.V(1).Info("looking after the fast path failed", "error", err.Error()) },
	}
}

// processors tells what the host's processors have done.
type processors struct {
	stat *os.File // opened at the first look, and kept
}

// used is the CPU time that they have spent on something since the host was
// started.
func (p *processors) used() (_ time.Duration, err error) {
	if p.stat == nil {
		if p.stat, err = os.Open("/proc/stat"); err != nil {
			return 0, err
		}
	}
	// Raw, for it never waits: a system call that the Go runtime knows of has its
	// monitor thread look after that, fifty times in some milliseconds. Each second
	// it would cost more than all else that an idle daemon does.
	var b [512]byte // more than the first line has
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, p.stat.Fd(), uintptr(unsafe.Pointer(&b)), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, &os.PathError{Op: "read", Path: p.stat.Name(), Err: errno}
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	var ticks int64
	for i, field := range strings.Fields(line) {
		// The name, user, nice, system, idle, iowait, irq, softirq, steal; what
		// guests use is part of user.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", p.stat.Name(), err)
		}
		ticks += n
	}
	const perSecond = 100 // for every architecture
	return time.Duration(ticks) * time.Second / perSecond, nil
}
