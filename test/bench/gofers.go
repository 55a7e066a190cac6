package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sandboxer/internal/api"
)

// gofers follows a sandbox with one container, as the API tells of it.
type gofers struct {
	states chan api.Container
	err    error // why states was closed
	last   api.Container
}

// follow begins to; stop ends it.
func (o *ours) follow(ctx context.Context, name string) (g *gofers, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	g = &gofers{states: make(chan api.Container)}
	go func() {
		defer close(g.states)
		g.err = o.client.Watch(ctx, name, func(c api.Change) error {
			if c.Deleted || len(c.Status.Containers) != 1 {
				return nil
			}
			select {
			case g.states <- c.Status.Containers[0]:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return g, stop
}

// await returns the container once a gofer serves it that had at least so many
// before it.
func (g *gofers) await(ctx context.Context, restarts int) (api.Container, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, errors.New("the gofer was not replaced in time"))
	defer cancel()
	for g.last.GoferPID == nil || g.last.GoferRestarts < restarts {
		select {
		case c, ok := <-g.states:
			if !ok {
				return g.last, fmt.Errorf("following the sandbox: %w", g.err)
			}
			g.last = c
		case <-ctx.Done():
			return g.last, context.Cause(ctx)
		}
	}
	return g.last, nil
}

// keepers lists those of a sandbox.
func (o *ours) keepers(name string) ([]int, error) {
	pids, err := o.tree.pids(name)
	if err != nil {
		return nil, err
	}
	k, err := classify(pids...)
	return slices.Concat(k.keepers...), err
}
