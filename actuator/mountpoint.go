package actuator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/hostpath"
)

// noMountPoint says of a container that could not be started what of its root
// is in the way of a mount, which the sentry's words hide: it gives the call that
// failed. It is asked after that, since what earlier mounts bring may be part of
// the way.
func (b *bundle) noMountPoint(cause error) error {
	for _, m := range b.spec.Mounts {
		if !strings.Contains(cause.Error(), "creating mount point "+strconv.Quote(m.Destination)) {
			continue
		}
		if why := hostpath.InTheWay(b.mounts[0].tree.File, hostpath.Place{At: m.Destination, File: b.mountsFile(m.Destination),
			ReadOnly: b.spec.Root.Readonly}); why != "" {
			return fmt.Errorf("there is no place for the mount at %s: in the root %s, %s: %w", m.Destination, b.root, why, cause)
		}
	}
	return cause
}

// mountsFile says whether what is mounted at a path is a file.
func (b *bundle) mountsFile(at string) bool {
	i := 0
	for _, m := range b.spec.Mounts {
		source := slices.IndexFunc(b.volumes, func(v volumeMount) bool { return v.mount.Destination == m.Destination })
		switch here := m.Destination == at; {
		case source >= 0 && here:
			return isFile(b.volumes[source].served)
		case source < 0 && specutils.IsGoferMount(m):
			if i++; here && i < len(b.mounts) { // the first is the root
				return isFile(b.mounts[i])
			}
		}
	}
	return false
}

func isFile(s served) bool {
	if s.tree.File == nil {
		return false
	}
	info, err := s.tree.File.Stat()
	return err == nil && !info.IsDir()
}
