package status

import (
	"fmt"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// What probes have to say of a container that runs.
const (
	notReady   = "NotReady"   // its readiness probe fails, or has not succeeded yet
	notStarted = "NotStarted" // its startup probe has not succeeded yet
)

// ready reports whether a container that runs is ready; one that is declared no
// more has no probes.
func (v *view) ready(dc *desired.Container, c *observed.Container) bool {
	if v.o.Unresponsive {
		return false
	}
	if dc == nil {
		return c.State == observed.Running
	}
	return plan.Ready(dc, c, v.mem)
}

// ailing says which probe is against a container that runs, and why.
func (v *view) ailing(dc *desired.Container, c *observed.Container) (reason, message string) {
	if dc == nil || c.State != observed.Running {
		return "", ""
	}
	h := plan.HealthOf(c, v.mem)
	because := func(kind, failure string) string {
		if failure == "" {
			return fmt.Sprintf("its %s probe has not succeeded yet", kind)
		}
		return fmt.Sprintf("its %s probe failed: %s", kind, failure)
	}
	switch {
	case dc.StartupProbe != nil && !h.Started:
		return notStarted, because(plan.StartupProbe, h.Startup)
	case h.Liveness != "":
		return observed.ReasonUnhealthy, because(plan.LivenessProbe, h.Liveness)
	case dc.ReadinessProbe != nil && !h.Ready:
		return notReady, because(plan.ReadinessProbe, h.Readiness)
	case h.Readiness != "":
		return observed.ReasonUnhealthy, because(plan.ReadinessProbe, h.Readiness)
	}
	return "", ""
}

// allReady reports whether every container that runs is ready.
func allReady(list []api.Container) bool {
	for _, c := range list {
		if c.State == string(observed.Running) && !c.Ready {
			return false
		}
	}
	return true
}

// explainUnready says which container keeps a sandbox that runs from being
// ready, where nothing more pressing is to be said. One that failed for good is
// named first, and also while the others are paused: no wait mends that.
func (v *view) explainUnready(s *api.Status) {
	if s.Reason != "" || s.Ready || s.Phase != api.Running && s.Phase != api.Paused {
		return
	}
	if v.d != nil {
		if s.Reason, s.Message = v.failures(s.Containers); s.Message != "" {
			s.Message += ", for good"
			return
		}
	}
	for _, c := range s.Containers {
		if c.State == string(observed.Running) && !c.Ready {
			s.Reason, s.Message = c.Reason, fmt.Sprintf("container %q: %s", c.Name, c.Message)
			return
		}
	}
}
