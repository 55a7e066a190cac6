package actuator

import (
	"context"
	"errors"
	"fmt"

	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
)

// Adopt takes over what an earlier daemon left running: it waits again for the
// ends of sentries, containers and gofers, and carries containers' output on.
// It is called once, before the loop runs, and acts on nothing. Sandboxes that
// can't be taken over are named in the error; the loop deals with them.
func (a *Actuator) Adopt() error {
	names, err := a.c.Records.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := a.adopt(name); err != nil {
			errs = append(errs, fmt.Errorf("taking over sandbox %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Actuator) adopt(name string) error {
	loaded, err := a.c.Records.Load(name)
	if err != nil || loaded.Record == nil || loaded.Record.Sentry.PID == 0 {
		return err
	}
	alive, err := loaded.Record.Sentry.Liveness()
	if err != nil || alive != observed.Alive {
		return err
	}
	errs := []error{a.watchSentry(*loaded.Record)}
	sentry := gvisor.Sentry{Socket: loaded.Record.ControlSocket, Timeout: callTimeout}
	for _, c := range loaded.Containers {
		if c.State == observed.Running {
			errs = append(errs, a.c.Logs.Adopt(c.Sandbox, c.Name, c.ID), a.watch(sentry, c))
		}
	}
	return errors.Join(errs...)
}

// Probe asks the sentry what its containers do; see observed.Prober.
func (a *Actuator) Probe(ctx context.Context, rec observed.Record, containerIDs []string) (map[string]observed.ContainerState, error) {
	sentry := gvisor.Sentry{Socket: rec.ControlSocket}
	states := map[string]observed.ContainerState{}
	// Where there is no container the infra container is asked about, so that
	// there is always an answer that shows that the sentry lives.
	if len(containerIDs) == 0 {
		_, err := sentry.State(ctx, rec.Name)
		return states, err
	}
	for _, id := range containerIDs {
		state, err := sentry.State(ctx, id)
		if err != nil {
			return nil, err
		}
		switch state {
		case boot.RuntimeStateCreating:
			states[id] = observed.Creating
		case boot.RuntimeStateRunning:
			states[id] = observed.Running
		case boot.RuntimeStateStopped:
			states[id] = observed.Stopped
		}
	}
	return states, nil
}
