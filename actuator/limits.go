package actuator

import (
	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/reconcile"
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

func limits(d *desired.Sandbox) (inside, outside cgroup.Limits) {
	sum := reconcile.SumLimits(d)
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
	return inside, outside
}

// setLimits puts the declared limits in force.
func (a *Actuator) setLimits(w work, d *reconcile.Declared) error {
	if w.rec == nil {
		return &StateError{ID: "sandbox " + w.Sandbox, State: "absent", Action: string(w.Verb)}
	}
	_, outside := limits(d.Sandbox)
	cg, err := a.c.Cgroups.Load(w.rec.Cgroup)
	if err != nil {
		return err
	}
	if err := cg.Set(outside); err != nil {
		return err
	}
	w.rec.LimitsHash = d.LimitsHash
	return a.c.Records.Save(*w.rec)
}
