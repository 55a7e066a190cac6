package actuator

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
)

// shmPath is where programs look for memory that they share by name. It is the
// sandbox's, as in a Pod, for each container that does not say otherwise.
const shmPath = "/dev/shm"

// shmMount is that, as far as a specification can say it, and as runtimes have
// it in a Pod.
func shmMount() specs.Mount {
	return specs.Mount{Destination: shmPath, Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "mode=1777", "size=65536k"}}
}

// applyMounts makes room for the manifest's mounts, which go in place of those
// that the specification has there, and adds /dev/shm where nobody has declared
// what is to be there.
func applyMounts(spec *specs.Spec, c *desired.Container) shmOf {
	spec.Mounts = slices.DeleteFunc(slices.Clone(spec.Mounts), func(m specs.Mount) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(v desired.VolumeMount) bool { return filepath.Clean(v.MountPath) == filepath.Clean(m.Destination) })
	})
	declared := slices.ContainsFunc(c.VolumeMounts, func(v desired.VolumeMount) bool { return filepath.Clean(v.MountPath) == shmPath }) ||
		slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
			at := filepath.Clean(m.Destination)
			return at == shmPath || specutils.IsGoferMount(m) && within(at, shmPath)
		})
	if declared {
		return shmDeclared
	}
	spec.Mounts = append(spec.Mounts, shmMount())
	if c.Bundle != "" {
		return shmOfBundle
	}
	return shmOfRootfs
}

// shmOf is whose container's mount at /dev/shm nobody has declared.
type shmOf int

const (
	shmDeclared shmOf = iota
	shmOfRootfs
	shmOfBundle
)

// sharedShm says of a mount that it asks for what the sandbox's /dev/shm is: a
// tmpfs there as tools write it into every bundle. One of another size, or
// without one, is the container's own.
func sharedShm(m specs.Mount) bool {
	if filepath.Clean(m.Destination) != shmPath || m.Type != "tmpfs" {
		return false
	}
	sized := false
	for _, o := range m.Options {
		switch o {
		case "size=64m", "size=64M", "size=65536k", "size=65536K", "size=67108864":
			sized = true
		case "mode=1777", "mode=01777", "uid=0", "gid=0":
		default:
			if strings.Contains(o, "=") {
				return false
			}
		}
	}
	return sized
}

// shareShm has the sandbox make its /dev/shm, if a container is to have it. One
// that an earlier version has made can't.
func shareShm(ctx context.Context, sentry gvisor.Sentry, b *bundle) (shared bool, err error) {
	if !slices.ContainsFunc(b.spec.Mounts, sharedShm) {
		return false, nil
	}
	err = sentry.ShareShm(ctx)
	if errors.Is(err, gvisor.ErrNotThere) {
		return false, nil
	}
	return err == nil, err
}

// placeShm makes a container's mount of the sandbox's /dev/shm what the sandbox
// knows, or, where that has none, what earlier versions gave it: a checkpoint's
// containers must have the mounts that they had.
func (b *bundle) placeShm(shared bool) {
	i := slices.IndexFunc(b.spec.Mounts, sharedShm)
	switch {
	case i < 0:
	case shared:
		m := b.spec.Mounts[i]
		options := slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "rw" || strings.Contains(o, "=") })
		b.spec.Mounts[i] = gvisor.ShareMount(gvisor.ShmKey, m.Destination, slices.Contains(options, "ro"), options...)
	case b.shm == shmOfRootfs:
		b.spec.Mounts[i].Options = []string{"mode=1777"}
	case b.shm == shmOfBundle:
		b.spec.Mounts = slices.Delete(b.spec.Mounts, i, i+1)
	}
}
