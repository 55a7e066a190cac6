package actuator

import (
	"context"
	"errors"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/crowd"
	"sandboxer/observed"
)

// AllCPU is the CPU time that all sandboxes have used.
func (a *Actuator) AllCPU() (time.Duration, error) {
	used, err := a.c.Cgroups.CPU(a.c.CgroupParent)
	if errors.Is(err, cgroup.ErrNotFound) {
		return 0, nil // there was none yet
	}
	return used, err
}

// CPU is the CPU time that each running sandbox has used.
func (a *Actuator) CPU() (map[crowd.Sandbox]time.Duration, error) {
	names, err := a.c.Records.List()
	if err != nil {
		return nil, err
	}
	all := map[crowd.Sandbox]time.Duration{}
	for _, name := range names {
		w, err := a.alive(name, "measure")
		if err != nil || w.rec.State != observed.SandboxUp {
			continue // what can't be read or does not run is not busy
		}
		used, err := a.c.Cgroups.CPU(w.rec.Cgroup)
		if errors.Is(err, cgroup.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[crowd.Sandbox{Name: name, Sentry: w.rec.Sentry.PID}] = used
	}
	return all, nil
}

// FastPath has a sandbox use gVisor's fast path or not. One that is gone by now
// does neither.
func (a *Actuator) FastPath(ctx context.Context, s crowd.Sandbox, on bool) error {
	w, err := a.alive(s.Name, "switch the fast path of")
	if _, gone := errors.AsType[*StateError](err); gone || err == nil && (w.rec.State != observed.SandboxUp || w.rec.Sentry.PID != s.Sentry) {
		return nil
	}
	if err != nil {
		return err
	}
	err = gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}.FastPath(ctx, on)
	if errors.Is(err, gvisor.ErrNotThere) { // an earlier version's keeps the one it began with
		return nil
	}
	return err
}
