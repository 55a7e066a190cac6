package gvisor

import (
	"context"
	"errors"
	"strings"
	"time"

	"gvisor.dev/gvisor/runsc/boot"
)

// Usage is what a container's processes use.
type Usage struct {
	// CPU is what those that live have used, and their children that they have
	// waited for. gVisor counts in hundredths of a second.
	CPU time.Duration
	// Tasks counts threads and processes.
	Tasks int64
	// MemoryBytes is as Memory counts it.
	MemoryBytes int64
	// StorageBytes is what is in its writable layer, StorageLimitBytes the
	// bound in force; 0: none.
	StorageBytes, StorageLimitBytes int64
}

// Usage asks what containers use, by ID. One that is not known, or in which
// nothing runs, is left out.
func (s Sentry) Usage(ctx context.Context, ids []string) (map[string]Usage, error) {
	used := make(map[string]Usage, len(ids))
	for _, id := range ids {
		var out boot.EventOut
		err := s.call(ctx, boot.ContMgrEvent, &id, nil, &out)
		if errors.Is(err, ErrUnknownContainer) || errors.Is(err, ErrNoProcess) {
			continue
		}
		if err != nil {
			return nil, err
		}
		used[id] = Usage{CPU: time.Duration(atLeastNone(out.ContainerUsage[id])), Tasks: atLeastNone(out.Event.Data.Pids.Current)}
	}
	if len(used) == 0 {
		return used, nil
	}
	memory, err := s.Memory(ctx, ids)
	if err != nil {
		return used, err
	}
	layers, err := s.Storage(ctx)
	if errors.Is(err, ErrNotThere) {
		err = nil
	}
	for id, u := range used {
		layer := layers[containerName(id)]
		u.MemoryBytes, u.StorageBytes, u.StorageLimitBytes = memory[id], atLeastNone(layer.Bytes), atLeastNone(layer.Bound.Bytes)
		used[id] = u
	}
	return used, err
}

// containerName is the name in an ID, which is SANDBOX.CONTAINER.INSTANCE: none
// of them has a dot.
func containerName(id string) string {
	_, rest, _ := strings.Cut(id, ".")
	name, _, _ := strings.Cut(rest, ".")
	return name
}
