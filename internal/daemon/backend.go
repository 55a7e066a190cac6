package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/status"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// The methods of this file implement api.Backend.

// Health says whether everything there is has been looked at once.
func (d *daemon) Health(context.Context) error { return d.startup.err() }

func (d *daemon) Sandboxes() []api.Sandbox { return d.board.List() }

func (d *daemon) Sandbox(name string) (api.Sandbox, error) {
	s, ok := d.board.Get(name)
	if !ok {
		return api.Sandbox{}, fmt.Errorf("sandbox %q: %w", name, api.ErrNotFound)
	}
	return s, nil
}

func (d *daemon) Watch(ctx context.Context, name string, send func(api.Change) error) error {
	return d.board.Watch(ctx, name, send)
}

func (d *daemon) Describe(_ context.Context, name string) (api.Description, error) {
	s, err := d.Sandbox(name)
	if err != nil {
		return api.Description{}, err
	}
	pass, _ := d.passes.get(name)
	return status.Describe(s, pass, d.events.List(name)), nil
}

func (d *daemon) Events(sandbox string) []events.Event { return d.events.List(sandbox) }

func (d *daemon) FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error {
	return d.events.Follow(ctx, sandbox, send)
}

func (d *daemon) Logs(ctx context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	if !o.Follow {
		return d.logs.Read(ctx, sandbox, container, o, w)
	}
	until := make(chan struct{})
	o.Until = until
	watching, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		// It fails when the container has ended for good, or ctx is done.
		_ = d.board.Watch(watching, sandbox, func(c api.Change) error {
			if pass, _ := d.passes.get(sandbox); !c.Deleted && !status.Over(pass, container) {
				return nil
			}
			close(until)
			return errOver
		})
	})
	defer wg.Wait()
	defer cancel()
	return d.logs.Read(ctx, sandbox, container, o, w)
}

var errOver = errors.New("it has ended for good")

// Restart implements api.Backend.
func (d *daemon) Restart(ctx context.Context, name string, containers []string, gofers bool) (time.Time, error) {
	s, held := d.source.Declared(name)
	if s == nil || held || s.Spec.State != desired.Running && s.Spec.State != desired.Paused {
		return time.Time{}, fmt.Errorf("%w: nothing of sandbox %q is declared to run; its declared state says what is", api.ErrInvalid, name)
	}
	others := slices.DeleteFunc(slices.Clone(containers), func(container string) bool {
		return slices.ContainsFunc(s.Init, func(c desired.Container) bool { return c.Name == container })
	})
	now, ask := time.Now().UTC(), reconcile.Restart
	switch init := len(containers) - len(others); {
	case gofers:
		ask, others = reconcile.RestartGofers, containers
	case init > 0 && len(others) == 0:
		return time.Time{}, fmt.Errorf("%w: an init container runs when its sandbox is made: restart %s as a whole", api.ErrInvalid, name)
	case init > 0:
		ask = reconcile.Renew
	}
	return now, d.loop.Ask(ctx, name, ask(others, now))
}

func (d *daemon) ConfirmDeletions(_ context.Context, names []string) (api.Confirmation, error) {
	confirmed, others := d.directory.ConfirmDeletions(names...)
	return api.Confirmation{Confirmed: confirmed, NotHeld: others}, nil
}

// Plan looks at every sandbox that is declared or exists and says what its
// next actions would be.
func (d *daemon) Plan(ctx context.Context, paths []string) (api.Plan, error) {
	set, now := d.directory.Set(), map[string]*desired.Sandbox{}
	if set != nil {
		now = set.Sandboxes
	}
	plan := api.Plan{Actions: []api.Action{}}
	if len(paths) > 0 {
		check := d.answers.Scan(scanPatience)
		for _, p := range paths {
			err := check(p, false)
			if err == nil {
				_, err = os.Stat(p)
			}
			if err != nil {
				return api.Plan{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
			}
		}
		set = desired.ReadDir(paths, check)
		for _, p := range set.Problems {
			plan.Problems = append(plan.Problems, p.String())
		}
	}
	names, err := d.Names(ctx)
	if err != nil {
		return api.Plan{}, err
	}
	names = append(names, slices.Collect(maps.Keys(set.Sandboxes))...)
	slices.Sort(names)
	names = slices.Compact(names)
	looks := make([]observed.Sandbox, len(names))
	blind := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { looks[i], blind[i] = d.looker.Look(ctx, name) })
	}
	wg.Wait()
	for i, name := range names {
		in := reconcile.Input{Now: time.Now(), Name: name, Held: set.Hold(name) != ""}
		if s := set.Sandboxes[name]; s != nil {
			in.Desired = reconcile.Declare(s)
			in.Dependencies = reconcile.Dependencies(in.Desired, func(name string) bool { return set.Sandboxes[name] != nil }, d.dependency)
		}
		in.Observed = looks[i]
		in.Memory, err = d.memories.Load(name)
		if err = errors.Join(blind[i], err); err != nil {
			plan.Problems = append(plan.Problems, fmt.Sprintf("sandbox %q: how it stands can't be told: %v", name, err))
			continue
		}
		r := reconcile.Plan(in)
		plan.Actions = append(plan.Actions, status.Updates(now[name], set.Sandboxes[name], r.Actions)...)
		plan.Actions = append(plan.Actions, status.Actions(r.Actions)...)
		for _, c := range r.Conditions {
			if c.Type == reconcile.SourceReplaced {
				plan.Notes = append(plan.Notes, fmt.Sprintf("%s: %s", name, c.Message))
			}
		}
	}
	return plan, nil
}
