package actuator

import (
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/oci"
)

// envMax is the most that is read of a variable's file, in bytes, as much as
// Linux takes.
const envMax = 128 << 10

// readBundle reads the specification of an OCI bundle without what is the
// sandbox's.
func (a *Actuator) readBundle(paths hostpath.Resolver, c *desired.Container, hostname string) (*specs.Spec, error) {
	if err := a.outOfReach(filepath.Join(c.Bundle, "config.json")); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	paths.Found = a.openedOrder
	spec, err := oci.Read(paths, c.Bundle, oci.Manifest{Container: c, Hostname: hostname, Hooks: a.c.AllowBundleHooks})
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	// The sentry has a cgroup file system of its own, which it can mount only
	// once per sandbox.
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" || m.Type == "cgroup2" })
	if spec.Process.Capabilities == nil {
		spec.Process.Capabilities = capabilities(nil)
	}
	// Namespaces, cgroups and devices are the sandbox's.
	kept := &specs.Linux{}
	if spec.Linux != nil {
		kept.Seccomp = spec.Linux.Seccomp
	}
	spec.Linux = kept
	return spec, nil
}
