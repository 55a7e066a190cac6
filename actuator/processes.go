package actuator

import (
	"context"
	"errors"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
)

// Processes lists what runs in a sandbox's containers, by container name. A
// *StateError says that the sandbox does not run.
func (a *Actuator) Processes(ctx context.Context, sandbox string) (map[string][]gvisor.Process, error) {
	w, err := a.alive(sandbox, "list the processes of")
	if err != nil {
		return nil, err
	}
	sentry := gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}
	found := map[string][]gvisor.Process{}
	for _, c := range w.containers {
		if c.State != observed.Running {
			continue
		}
		list, err := sentry.Processes(ctx, c.ID)
		if errors.Is(err, gvisor.ErrUnknownContainer) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[c.Name] = list
	}
	return found, nil
}

// alive gives the records of a sandbox that is up, frozen or not, or says which
// state is in the way of an action.
func (a *Actuator) alive(sandbox, action string) (work, error) {
	loaded, err := a.c.Records.Load(sandbox)
	if err != nil {
		return work{}, err
	}
	w := work{rec: loaded.Record, containers: loaded.Containers, broken: loaded.BrokenContainers, servers: loaded.Servers}
	w.Sandbox = sandbox
	state := observed.SandboxState("absent")
	if w.rec != nil {
		state = w.rec.State
	}
	switch state {
	case observed.SandboxUp, observed.SandboxPausing, observed.SandboxPaused, observed.SandboxResuming:
		return w, nil
	}
	return w, &StateError{ID: "sandbox " + sandbox, State: string(state), Action: action}
}
