package daemon

import (
	"fmt"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/probe"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// Who is probed after a pass: containers that run and are to go on, until they
// have started by nothing else than their startup probe.
func TestTargets(t *testing.T) {
	p := &desired.Probe{PeriodSeconds: 1}
	started := time.Now().Add(-time.Minute)
	type memory = plan.ContainerMemory
	remember := func(pass *reconcile.Pass, change func(*memory)) {
		cm := pass.Memory.Containers["app"]
		change(&cm)
		pass.Memory.Containers["app"] = cm
	}
	healthy := func(h plan.Health) func(*reconcile.Pass) {
		return func(pass *reconcile.Pass) { remember(pass, func(cm *memory) { cm.Health = h }) }
	}
	up := plan.Health{Started: true}
	for _, c := range []struct {
		name   string
		mutate func(*reconcile.Pass)
		want   string
	}{
		{"not started", healthy(plan.Health{}), "startup false"},
		{"started", healthy(up), "liveness true, readiness false"},
		{"ready", healthy(plan.Health{Started: true, Ready: true}), "liveness true, readiness true"},
		{"ready, and something to take back", healthy(plan.Health{Started: true, Ready: true, Liveness: "a", Readiness: "b"}), "liveness false, readiness false"},
		{"unhealthy", healthy(plan.Health{Started: true, Failed: plan.LivenessProbe}), ""},
		{"no startup probe", func(pass *reconcile.Pass) { pass.Declared.Spec.Containers[0].StartupProbe = nil }, "liveness true, readiness false"},
		{"asked to end", func(pass *reconcile.Pass) {
			remember(pass, func(cm *memory) { cm.StopID, cm.StopAsked = "s.app.1", started })
		}, ""},
		{"not remembered yet", func(pass *reconcile.Pass) { remember(pass, func(cm *memory) { cm.Live = "s.app.0" }) }, ""},
		{"another instance of that ID", func(pass *reconcile.Pass) { remember(pass, func(cm *memory) { cm.LiveAt = time.Now() }) }, ""},
		{"ended", func(pass *reconcile.Pass) {
			pass.Observed.Containers[0].State, pass.Observed.Containers[0].Exit = observed.Stopped, &observed.Exit{}
		}, ""},
		{"frozen", func(pass *reconcile.Pass) { pass.Observed.Record.State = observed.SandboxPaused }, ""},
		{"dead", func(pass *reconcile.Pass) { pass.Observed.Sentry = observed.Gone }, ""},
		{"no record", func(pass *reconcile.Pass) { pass.Observed.Record = nil }, ""},
		{"blind", func(pass *reconcile.Pass) { pass.Blind = true }, ""},
		{"declared no more", func(pass *reconcile.Pass) { pass.Declared = nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &desired.Sandbox{Name: "s", Spec: desired.Spec{Containers: []desired.Container{
				{Name: "app", StartupProbe: p, LivenessProbe: p, ReadinessProbe: p}, {Name: "none"}}}}
			pass := reconcile.Pass{Name: "s", Declared: plan.Declare(s)}
			pass.Observed = observed.Sandbox{Sentry: observed.Alive, Record: &observed.Record{State: observed.SandboxUp}}
			pass.Memory.Containers = map[string]memory{}
			for _, name := range []string{"app", "none", "old"} {
				pass.Observed.Containers = append(pass.Observed.Containers, observed.Container{State: observed.Running,
					ContainerRecord: observed.ContainerRecord{Sandbox: "s", Name: name, ID: "s." + name + ".1", StartedAt: started}})
				pass.Memory.Containers[name] = memory{Live: "s." + name + ".1", LiveAt: started}
			}
			remember(&pass, func(cm *memory) { cm.Health = up })
			c.mutate(&pass)
			got := ""
			for _, target := range targets(pass) {
				if want := (probe.Target{Sandbox: "s", Container: "app", ID: "s.app.1", StartedAt: started, Kind: target.Kind, Probe: p, Good: target.Good}); target != want {
					t.Errorf("%+v", target)
				}
				if got != "" {
					got += ", "
				}
				got += fmt.Sprint(target.Kind, " ", target.Good)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
