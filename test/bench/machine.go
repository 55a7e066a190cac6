package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what figures depend on.
type machine struct {
	Cores  int     `json:"cores"`
	CPU    string  `json:"cpu"`
	Memory float64 `json:"memoryGB"`
	Kernel string  `json:"kernel"`
	Cgroup string  `json:"cgroup"`
	Arch   string  `json:"arch"`
	Go     string  `json:"go"`
	GVisor string  `json:"gvisor"`
}

// String is one line for a document.
func (m machine) String() string {
	kernel, _, _ := strings.Cut(m.Kernel, "-") // the rest is a distribution's
	return fmt.Sprintf("%d cores, %.0f GB, Linux %s, cgroup %s, %s, gVisor %s", m.Cores, m.Memory, kernel, m.Cgroup, m.Go, m.GVisor)
}

func (b *bench) machine(ctx context.Context) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), CPU: cpuModel(), Arch: runtime.GOARCH, Go: runtime.Version()}
	var err error
	if m.GVisor, err = b.goTool(ctx, "list", "-m", "-f", "{{.Version}}", "gvisor.dev/gvisor"); err != nil {
		return m, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, os.NewSyscallError("sysinfo", err)
	}
	m.Memory = float64(info.Totalram) * float64(info.Unit) / 1e9
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, os.NewSyscallError("uname", err)
	}
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	roots, err := hierarchies()
	if m.Cgroup = "v1"; len(roots) == 1 && roots[0] == cgroupRoot {
		m.Cgroup = "v2"
	}
	return m, err
}

// cpuModel is empty where the kernel does not name it.
func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
