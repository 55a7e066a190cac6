package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

// checkpointTime is what writing a checkpoint may take.
const checkpointTime = 10 * time.Minute

// Checkpoint writes a checkpoint of a running sandbox, while the loop leaves
// that alone. What was begun is finished also when nobody waits for it any
// more.
func (d *daemon) Checkpoint(ctx context.Context, name, path string) (api.Checkpoint, error) {
	began := time.Now()
	err := d.loop.Exclusively(ctx, name, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointTime)
		defer cancel()
		declared, _ := d.source.Declared(name)
		if declared == nil {
			return errors.New("nothing declares it any more")
		}
		if err := d.prober.Rest(ctx, name); err != nil {
			return err
		}
		return d.actuator.Checkpoint(ctx, name, path, declared)
	})
	d.loop.Poke(name) // probes go on after a look
	e := events.Event{Sandbox: name, Type: events.Normal, Reason: "Checkpointed", Action: "checkpoint",
		Message: "a checkpoint was asked for: " + path, Took: time.Since(began)}
	if err != nil {
		e.Type, e.Reason, e.Message = events.Warning, "ActionFailed", fmt.Sprintf("%s: %v", e.Message, err)
		d.events.Append(e)
		return api.Checkpoint{}, fmt.Errorf("no checkpoint of sandbox %q: %w", name, err)
	}
	d.events.Append(e)
	size, err := sizeOf(path)
	return api.Checkpoint{Sandbox: name, Path: path, Bytes: size}, err
}

func sizeOf(dir string) (size int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, err
}
