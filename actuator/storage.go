package actuator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/sentry"
)

// How many files a writable layer may hold: each takes memory of the sentry's,
// which belongs to no container.
const (
	memoryPerFile = 8 << 10
	filesMin      = 16 << 10
	filesMax      = 1 << 20
)

// storage bounds a container's writable layer.
func storage(c *desired.Container) (bound sentry.Storage) {
	bound.Files = filesMax
	if m := c.MemoryLimit(); m != 0 {
		bound.Files = uint64(min(max(m/memoryPerFile, filesMin), filesMax))
	}
	if s := c.Resources.Limits.EphemeralStorage; s != nil {
		bound.Bytes = uint64(s.Value())
	}
	return bound
}

// layerSize is what gVisor puts after "size=" in the options of the file system
// that a layer is, if anything. An earlier version's sentry knows no bound of files.
func layerSize(c *desired.Container, bounded bool) string {
	bound := storage(c)
	switch {
	case !bounded && bound.Bytes == 0:
		return ""
	case !bounded:
		return fmt.Sprint(bound.Bytes)
	case bound.Bytes == 0:
		bound.Bytes = math.MaxInt64 &^ uint64(os.Getpagesize()-1) // what is without a bound for gVisor, too
	}
	return fmt.Sprintf("%d,nr_inodes=%d", bound.Bytes, bound.Files)
}

// limitStorage tells a sentry how much each layer that it has may hold. Those
// that are made later bring that along. One of an earlier version can't be told:
// its containers get their bounds when they are started anew.
func (a *Actuator) limitStorage(ctx context.Context, s gvisor.Sentry, d *desired.Sandbox) (told bool, err error) {
	all := map[string]sentry.Storage{}
	for _, c := range slices.Concat(d.Spec.InitContainers, d.Spec.Containers) {
		all[c.Name] = storage(&c)
	}
	err = s.LimitStorage(ctx, all)
	if errors.Is(err, gvisor.ErrNotThere) {
		return false, nil
	}
	return err == nil, err
}
