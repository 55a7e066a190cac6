package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sandboxer/internal/api"
)

// exitMargin is what stopping every sandbox may take beyond the longest grace
// period.
const exitMargin = 10 * time.Second

// errAllStopped ends the watch that stopAll waits in.
var errAllStopped = errors.New("all sandboxes are stopped")

// stopAll has the loop end every sandbox as if each were declared Stopped, and
// waits for that.
func (d *daemon) stopAll(ctx context.Context) error {
	longest := d.source.endAll()
	d.loop.PokeAll()
	ctx, cancel := context.WithTimeout(ctx, longest+exitMargin)
	defer cancel()
	running := map[string]bool{}
	for _, s := range d.board.List() {
		running[s.Name] = true
	}
	if len(running) == 0 {
		return nil
	}
	err := d.board.Watch(ctx, "", func(c api.Change) error {
		running[c.Name] = !c.Deleted && c.Status.Phase != api.Stopped && c.Status.Phase != api.Invalid
		if !running[c.Name] {
			delete(running, c.Name)
		}
		if len(running) == 0 {
			return errAllStopped
		}
		return nil
	})
	if errors.Is(err, errAllStopped) {
		d.actuator.AwaitHooks(ctx)
		return nil
	}
	return fmt.Errorf("stopping every sandbox: %d still run: %w", len(running), err)
}
