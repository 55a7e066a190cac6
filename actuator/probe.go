package actuator

import (
	"context"
	"time"

	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/actuator/gvisor"
	"sandboxer/observed"
)

// probeEvery is how long an answer of a sentry counts. A question costs an
// idle sentry some 2 ms, which is most of what it does if it is asked at each
// resync.
const probeEvery = 2 * time.Minute

// Probe says what a sandbox's containers do; see observed.Prober. Those whose
// ends are being waited for run: the sentry has been asked already and would
// have said otherwise. For an answer of this moment it must also have its ends
// of their sockets. It is asked anew where that is not enough, where its last
// answer is old, and where its process is stopped. While a task waits for a
// gofer that is gone, an answer may take 20 ms, and the task would wait for that.
func (a *Actuator) Probe(ctx context.Context, rec observed.Record, containerIDs []string, now bool) (map[string]observed.ContainerState, error) {
	states := map[string]observed.ContainerState{}
	stopped, err := rec.Sentry.Stopped()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	fresh := !stopped && time.Since(a.answered[rec.Sentry]) < probeEvery
	if fresh {
		for _, id := range containerIDs {
			if w := a.waiters[id]; w != nil && !w.failed && (!now || a.connected(id)) {
				states[id] = observed.Running
			}
		}
	}
	a.mu.Unlock()
	if fresh && len(states) == len(containerIDs) {
		return states, nil
	}
	sentry := gvisor.Sentry{Socket: rec.ControlSocket}
	// Where there is no container the infra container is asked about.
	ids := containerIDs
	if len(ids) == 0 {
		ids = []string{rec.Name}
	}
	for _, id := range ids {
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
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[rec.Sentry] = time.Now()
	for _, id := range ids {
		if w := a.waiters[id]; w != nil {
			w.failed = false // one that goes on failing says so again
		}
	}
	return states, nil
}
