package gvisor

import (
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/infra"
	"sandboxer/internal/sentry"
)

// infraSpec describes the infra container, and with it the sandbox: its user
// namespace, host name and network.
func infraSpec(id, hostname string, hostNetwork bool) (*specs.Spec, error) {
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: hostname,
		Root:     &specs.Root{Path: "/", Readonly: true},
		Process: &specs.Process{
			Args:            []string{infra.Command},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		}},
		Annotations: map[string]string{
			specutils.ContainerdContainerTypeAnnotation: specutils.ContainerdContainerTypeSandbox,
			specutils.ContainerdSandboxIDAnnotation:     id,
			specutils.ContainerdContainerNameAnnotation: sentry.InfraName,
		},
	}
	if hostNetwork {
		// The host's network belongs to the host's user namespace, and so must
		// the sentry that is to configure sockets in it.
		return spec, nil
	}
	// Directfs lets the sentry open files itself. A user namespace of its own,
	// in which every ID means itself, keeps its capabilities off the host.
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	var err error
	if spec.Linux.UIDMappings, err = identityMapping("/proc/self/uid_map"); err != nil {
		return nil, err
	}
	spec.Linux.GIDMappings, err = identityMapping("/proc/self/gid_map")
	return spec, err
}

func identityMapping(path string) ([]specs.LinuxIDMapping, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var maps []specs.LinuxIDMapping
	for line := range strings.Lines(string(b)) {
		var inside, outside, size uint32
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		maps = append(maps, specs.LinuxIDMapping{ContainerID: inside, HostID: inside, Size: size})
	}
	return maps, nil
}
