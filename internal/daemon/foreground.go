package daemon

import (
	"context"
	"errors"
	"fmt"

	"sandboxer/actuator"
	"sandboxer/internal/api"
)

// Foreground is what the daemon of a sandbox that somebody runs has to know.
// Before Run returns, without an error, nothing is left of the sandbox.
type Foreground struct {
	actuator.Foreground
	// Hurry is closed when nothing has time to end any more; required.
	Hurry <-chan struct{}
	// Seen is told of every change of the sandbox; required. An error ends Run.
	Seen func(api.Change) error
}

var errRemoved = errors.New("it is removed")

// removeAll stops what runs and leaves nothing of it.
func (d *daemon) removeAll(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-d.c.Foreground.Hurry:
			d.source.hurry()
			d.loop.PokeAll()
		case <-done:
		}
	}()
	if err := d.stopAll(ctx); err != nil {
		return err
	}
	d.source.removeAll()
	d.loop.PokeAll()
	ctx, cancel := context.WithTimeout(ctx, exitMargin)
	defer cancel()
	for _, s := range d.board.List() {
		err := d.board.Watch(ctx, s.Name, func(c api.Change) error {
			if c.Deleted {
				return errRemoved
			}
			return nil
		})
		if !errors.Is(err, errRemoved) {
			return fmt.Errorf("removing sandbox %q: %w", s.Name, err)
		}
	}
	return nil
}
