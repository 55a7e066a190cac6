package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Where a container finds things.
const (
	probePath = "/bin/probe"
	markPath  = "/mark"
	dirPath   = "/dir"  // a volume that is a directory
	filePath  = "/file" // and one that is a file
)

// prepareRoot makes the root file system that all containers share. It is
// mounted read-only, so it has every mount point.
func prepareRoot(dir, probe string) error {
	for _, sub := range []string{"bin", "proc", "dev", "sys", markPath, dirPath} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, filePath), nil, 0o644); err != nil {
		return err
	}
	b, err := os.ReadFile(probe)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, probePath), b, 0o755)
}

// bundle writes the OCI bundle of one container, whose probe is told command,
// and returns its directory. cgroup matters to runsc only: the daemon has its
// own. What works on files gets volumes to do so.
func (b *bench) bundle(name, command, cgroup string) (string, error) {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"} // as "runsc spec" has it
	spec := specs.Spec{
		Version:  specs.Version,
		Hostname: name,
		Root:     &specs.Root{Path: b.rootfs, Readonly: true},
		Process: &specs.Process{
			Args:         []string{probePath, command, filepath.Join(markPath, name)},
			Env:          []string{"PATH=/bin"},
			Cwd:          "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: slices.Clone(caps)},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: markPath, Type: "bind", Source: b.marks.dir, Options: []string{"rbind", "rw"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: cgroup,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
			},
		},
	}
	if slices.Contains([]string{"stalls", "rounds", "speed", "busy"}, command) {
		v, err := b.volumes(name)
		if err != nil {
			return "", err
		}
		spec.Mounts = append(spec.Mounts, v...)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.work, "bundles", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// volumes makes a container's directory and its file.
func (b *bench) volumes(name string) ([]specs.Mount, error) {
	dir, file := b.volume(name), b.volume(name)+".file"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return []specs.Mount{
		{Destination: dirPath, Type: "bind", Source: dir, Options: []string{"rbind", "rw"}},
		{Destination: filePath, Type: "bind", Source: file, Options: []string{"rbind", "rw"}},
	}, os.WriteFile(file, nil, 0o644)
}

// volume is where a container's directory is on the host.
func (b *bench) volume(name string) string { return filepath.Join(b.work, "volumes", name) }
