package gvisor

import (
	"context"
	"errors"
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
		used[id] = Usage{CPU: time.Duration(out.ContainerUsage[id]), Tasks: int64(out.Event.Data.Pids.Current)}
	}
	if len(used) == 0 {
		return used, nil
	}
	memory, err := s.Memory(ctx, ids)
	for id, u := range used {
		u.MemoryBytes = memory[id]
		used[id] = u
	}
	return used, err
}
