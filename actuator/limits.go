package actuator

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/sentry"
	"sandboxer/reconcile/plan"
)

// The memory that a sandbox's cgroup gets on top of its containers' limits,
// for the sentry and for each gofer, in bytes. An idle sentry takes 8 MB, an
// idle gofer 5; the rest is room for page tables, file caches and the time in
// which a container over its own limit can be found and ended.
//
// On v2 the kernel slows those who want more than half of it, and tells: a
// sandbox without such a container does not come that far.
const (
	sentryHeadroom = 64 << 20
	goferHeadroom  = 16 << 20
)

// How many processes a container may have that declares no pids: one for each 4
// MiB of its memory limit, within these bounds. Each is some of the host's, which
// all sandboxes share.
const (
	memoryPerProcess = 4 << 20
	processesMin     = 64
	processesMax     = 1024
)

// The tasks that a sandbox's cgroup may have: the sentry's own, and for each
// process of its containers the two that systrap needs beside one per CPU, twice,
// since a program that is executed gets new ones before the old ones go. Who
// meets this bound dies, so containers meet theirs first; it holds what a sentry
// does that was taken over.
const sentryTasks = 4096

func tasks(c *desired.Container) sentry.Tasks {
	limits := c.Resources.Limits
	switch {
	case limits.Pids != nil:
		return sentry.Tasks{Tasks: int(*limits.Pids)}
	case limits.Memory != nil:
		return sentry.Tasks{Processes: int(min(max(limits.Memory.Value()/memoryPerProcess, processesMin), processesMax))}
	}
	return sentry.Tasks{Processes: processesMax}
}

// limitTasks tells a sentry how many tasks each container may have.
func (a *Actuator) limitTasks(ctx context.Context, s gvisor.Sentry, d *desired.Sandbox) error {
	all := map[string]sentry.Tasks{}
	for _, c := range slices.Concat(d.Spec.InitContainers, d.Spec.Containers) {
		all[d.Name+"."+c.Name] = tasks(&c)
	}
	return s.LimitTasks(ctx, all)
}

func limits(d *desired.Sandbox) (inside, outside cgroup.Limits) {
	sum := plan.SumLimits(d)
	if sum.CPU != nil {
		inside.CPUQuota = sum.CPU.AsApproximateFloat64()
	}
	if sum.Memory != nil {
		inside.MemoryBytes = sum.Memory.Value()
	}
	outside = inside
	if outside.MemoryBytes > 0 {
		headroom := sentryHeadroom + int64(len(d.Spec.Containers))*goferHeadroom
		outside.MemoryHighBytes = outside.MemoryBytes + headroom/2
		outside.MemoryBytes += headroom
	}
	outside.Tasks = sentryTasks
	for _, c := range slices.Concat(d.Spec.InitContainers, d.Spec.Containers) {
		t := tasks(&c)
		outside.Tasks += int64(t.Tasks+t.Processes) * int64(2+runtime.NumCPU()) * 2
	}
	return inside, outside
}

// setLimits puts the declared limits in force.
func (a *Actuator) setLimits(ctx context.Context, w work, d *plan.Declared) error {
	if w.rec == nil {
		return &StateError{ID: "sandbox " + w.Sandbox, State: "absent", Action: string(w.Verb)}
	}
	_, outside := limits(d.Sandbox)
	cg, err := a.c.Cgroups.Load(w.rec.Cgroup)
	if err != nil {
		return err
	}
	s, err := w.sentry()
	if err != nil {
		return err
	}
	err = a.limitTasks(ctx, s, d.Sandbox)
	if errors.Is(err, gvisor.ErrNotThere) {
		// A sentry that bounds no tasks itself dies of the cgroup's limit.
		outside.Tasks, err = 0, nil
	}
	// Also where the sentry does not answer: it may be for want of memory.
	_, storageErr := a.limitStorage(ctx, s, d.Sandbox)
	if err := errors.Join(err, storageErr, a.limitDisk(d.Sandbox), cg.Set(outside)); err != nil {
		return err
	}
	w.rec.LimitsHash = d.LimitsHash
	return a.c.Records.Save(*w.rec)
}
