package actuator

import (
	"context"
	"errors"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/cgroup"
	"sandboxer/observed"
)

// Usage is what a sandbox uses.
type Usage struct {
	cgroup.Usage // of all its processes on the host: sentry, gofers and keepers
	At           time.Time
	// Containers are those that run, by name.
	Containers map[string]ContainerUsage
}

// ContainerUsage is what a container's instance uses.
type ContainerUsage struct {
	ID string
	gvisor.Usage
}

// Usage reads what a sandbox uses. A *StateError says that it does not run.
func (a *Actuator) Usage(ctx context.Context, sandbox string) (Usage, error) {
	const action = "measure"
	w, err := a.alive(sandbox, action)
	if err != nil {
		return Usage{}, err
	}
	cg, err := a.c.Cgroups.Load(w.rec.Cgroup)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{At: time.Now(), Containers: map[string]ContainerUsage{}}
	switch u.Usage, err = cg.Usage(); {
	case errors.Is(err, cgroup.ErrNotFound): // it has ended since
		return Usage{}, &StateError{ID: "sandbox " + sandbox, State: "absent", Action: action}
	case err != nil:
		return Usage{}, err
	}
	var ids []string
	for _, c := range w.containers {
		if c.State == observed.Running {
			ids = append(ids, c.ID)
		}
	}
	used, err := (gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}).Usage(ctx, ids)
	if err != nil {
		return Usage{}, err
	}
	for _, c := range w.containers {
		if of, ok := used[c.ID]; ok {
			u.Containers[c.Name] = ContainerUsage{c.ID, of}
		}
	}
	return u, nil
}
