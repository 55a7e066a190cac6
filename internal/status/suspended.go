package status

import (
	"slices"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// suspended reports whether the sandbox is on disk and nowhere else.
func (v *view) suspended() bool {
	return v.o.Image != nil && v.o.Sentry != observed.Alive && v.o.CgroupProcs == 0
}

// suspension is phase for what is suspended or declared so; ok is false where
// that does not bear on the phase.
func (v *view) suspension() (phase api.Phase, reason, message string, ok bool) {
	holds := func(typ string) (c plan.Condition, ok bool) {
		i := slices.IndexFunc(v.Pass.Conditions, func(c plan.Condition) bool { return c.Type == typ })
		if i < 0 {
			return c, false
		}
		return v.Pass.Conditions[i], true
	}
	state := v.d.Spec.State
	if v.suspended() {
		switch c, refused := holds(plan.RestoreFailed); {
		case state == desired.Suspended:
			return api.Suspended, "", "", true
		case refused && v.mem.CreateFailures == 0:
			return api.Failed, c.Type, c.Message, true
		}
		return "", "", "", false
	}
	if _, unsupported := holds(plan.Unsupported); unsupported {
		return v.standing(), "", "", true // the condition says why
	}
	if c, failed := holds(plan.SuspendFailed); failed && v.alive() {
		return v.standing(), c.Type, c.Message + nextTry(v.mem.NextSuspend, v.Now), true
	}
	return "", "", "", false
}

// creation names a creation that failed.
func (v *view) creation() string {
	if v.suspended() || v.d.Spec.RestoreFrom != "" {
		return plan.RestoreFailed
	}
	return createFailed
}

// onDisk describes a container of a suspended sandbox; it reports false where
// the checkpoint does not hold it.
func (v *view) onDisk(a *api.Container) bool {
	i := slices.IndexFunc(v.o.Image.Containers, func(c observed.ContainerRecord) bool { return c.Name == a.Name })
	if i < 0 {
		return false
	}
	c := &v.o.Image.Containers[i]
	a.ID, a.State, a.StartedAt, a.GoferRestarts = c.ID, string(observed.Stopped), instant(c.StartedAt), c.GoferRestarts
	if c.Exit != nil {
		end(a, c.Exit)
	} else {
		a.Reason = string(desired.Suspended)
	}
	return true
}
