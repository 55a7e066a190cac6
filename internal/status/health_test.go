package status

import (
	"strings"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/reconcile/plan"
)

// What probes have found out shows in containers and sandbox, and who is not
// ready keeps the sandbox from being so.
func TestHealth(t *testing.T) {
	probe := &desired.Probe{TCPSocket: &desired.TCPSocketAction{Port: 1}}
	declared := func(c *desired.Container) { c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = probe, probe, probe }
	well := plan.Health{Started: true, Ready: true}
	sick := func(change func(*plan.Health)) plan.Health {
		h := well
		change(&h)
		return h
	}
	for _, c := range []struct {
		name    string
		declare func(*desired.Container)
		health  plan.Health
		ready   bool
		reason  string
		message string
	}{
		{"no probes", nil, plan.Health{}, true, "", ""},
		{"nothing known yet", declared, plan.Health{}, false, "NotStarted", "its startup probe has not succeeded yet"},
		{"not started", declared, plan.Health{Startup: "refused", Ready: true}, false, "NotStarted", "its startup probe failed: refused"},
		{"started", declared, plan.Health{Started: true}, false, "NotReady", "its readiness probe has not succeeded yet"},
		{"not ready", declared, sick(func(h *plan.Health) { h.Ready, h.Readiness = false, "no" }), false, "NotReady", "its readiness probe failed: no"},
		{"ready", declared, well, true, "", ""},
		{"ready, and failing", declared, sick(func(h *plan.Health) { h.Readiness = "no" }), true, "Unhealthy", "its readiness probe failed: no"},
		{"ready, and hardly alive", declared, sick(func(h *plan.Health) { h.Liveness = "no" }), true, "Unhealthy", "its liveness probe failed: no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base(func(s *desired.Sandbox) {
				if c.declare != nil {
					c.declare(&s.Spec.Containers[0])
				}
			})
			cm := in.Pass.Memory.Containers["app"]
			cm.LiveAt, cm.Health = created, c.health
			in.Pass.Memory.Containers["app"] = cm
			s, _ := Of(in)
			app := s.Status.Containers[0]
			if app.Ready != c.ready || app.Reason != c.reason || app.Message != c.message {
				t.Errorf("the container is %+v", app)
			}
			if s.Status.Ready != c.ready || s.Status.Phase != "Running" {
				t.Errorf("the sandbox is %+v", s.Status)
			}
			if want := `container "app": ` + c.message; !c.ready && (s.Status.Reason != c.reason || s.Status.Message != want) || c.ready && s.Status.Reason != "" {
				t.Errorf("the sandbox says %q, %q", s.Status.Reason, s.Status.Message)
			}
		})
	}
}

// Why a container was restarted stays to be seen, until a probe has more to say.
func TestUnhealthyBefore(t *testing.T) {
	in := base(nil)
	cm := in.Pass.Memory.Containers["app"]
	cm.Exit, cm.Restarts, cm.LiveAt = exit(0, "Unhealthy"), 1, created
	cm.Exit.Message = "its liveness probe failed: no"
	in.Pass.Memory.Containers["app"] = cm
	s, _ := Of(in)
	if app := s.Status.Containers[0]; app.Reason != "Unhealthy" || app.Message != cm.Exit.Message || !app.Ready {
		t.Errorf("%+v", app)
	}
}

// Under OnFailure one that a probe has ended waits to be run again, also where
// it ended well.
func TestUnhealthyEnd(t *testing.T) {
	in := base(nil)
	ends(&in, 1, exit(0, "Unhealthy"), 5*time.Second)
	s, _ := Of(in)
	if s.Status.Phase != "Pending" || s.Status.Reason != "CrashLoopBackOff" || !strings.Contains(s.Status.Message, "(Unhealthy)") {
		t.Errorf("%+v", s.Status)
	}
}
