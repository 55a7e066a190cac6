package main

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// host is what a fault may depend on.
type host struct {
	Kernel  string            `json:"kernel"`
	Build   string            `json:"build"`
	Arch    string            `json:"arch"`
	OS      string            `json:"os"`
	CPUs    int               `json:"cpus"`
	Memory  uint64            `json:"memoryBytes"`
	Free    uint64            `json:"freeBytes"`
	Uptime  int64             `json:"uptimeSeconds"`
	Cgroups string            `json:"cgroups"`
	LSM     string            `json:"lsm"`
	Limits  map[string]string `json:"sysctl"`
	UID     int               `json:"uid"` // who has gathered this
}

// sysctls are what sandboxes run into.
var sysctls = []string{"fs/file-max", "fs/inotify/max_user_instances", "fs/inotify/max_user_watches", "kernel/pid_max", "kernel/threads-max",
	"kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns", "user/max_user_namespaces", "vm/max_map_count",
	"vm/overcommit_memory", "vm/swappiness"}

func hostFacts() host {
	h := host{Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Cgroups: cgroupKind(), UID: os.Geteuid(), Limits: map[string]string{}}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		h.Kernel, h.Build = unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Version[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.Memory, h.Free, h.Uptime = info.Totalram*uint64(info.Unit), info.Freeram*uint64(info.Unit), info.Uptime
	}
	for line := range strings.Lines(content("/etc/os-release")) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			h.OS = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	h.LSM = content("/sys/kernel/security/lsm")
	for _, s := range sysctls {
		if v := content("/proc/sys/" + s); v != "" {
			h.Limits[strings.ReplaceAll(s, "/", ".")] = v
		}
	}
	return h
}

// content is what a small file holds; nothing where it can't be read.
func content(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// cgroupKind tells the generations of cgroups apart.
func cgroupKind() string {
	v2 := func(path string) bool {
		var st unix.Statfs_t
		return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
	}
	switch {
	case v2("/sys/fs/cgroup"):
		return "v2"
	case v2("/sys/fs/cgroup/unified"):
		return "v1 (hybrid)"
	}
	return "v1, or none"
}
