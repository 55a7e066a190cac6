package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// redeclared is the base case with changes that it was always declared with.
func redeclared(in *Input, changes ...func(*desired.Sandbox)) { *in = settled(newDeclared(changes...)) }

func health(in *Input, h Health) {
	recall(&in.Memory, "app", func(c *ContainerMemory) { c.Health = h })
}

func signalApp(reason, class string) Action {
	return Action{Verb: Signal, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Signal: "SIGINT", Reason: reason, Class: class}
}

func TestPlanProbes(t *testing.T) {
	const failed = `container "app" is unhealthy: its liveness probe failed: HTTP status 503`
	sick := Health{Started: true, Ready: true, Failed: LivenessProbe, Liveness: "HTTP status 503"}
	asked := func(ago time.Duration) func(*ContainerMemory) {
		return func(c *ContainerMemory) {
			c.StopID, c.StopAsked = "box.app.1", t0.Add(-ago)
			c.StopReason, c.StopMessage = observed.ReasonUnhealthy, "its liveness probe failed: HTTP status 503"
		}
	}
	ended := func(code int) (func(in *Input), func(m *Memory)) {
		said := observed.Exit{Known: true, Code: code, Reason: "Completed", At: t0.Add(-time.Second)}
		kept := said
		kept.Reason, kept.Message = observed.ReasonUnhealthy, "its liveness probe failed: HTTP status 503"
		return func(in *Input) {
				redeclared(in, desiredtest.Probed, desiredtest.Policy(desired.OnFailure))
				endWith(in, "app", said)
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Health = sick; asked(time.Minute)(c) })
			}, counted(kept, func(c *ContainerMemory) {
				c.StopID, c.StopAsked, c.StopReason, c.StopMessage = "", time.Time{}, "", ""
			})
	}
	endWell, seenWell := ended(0)
	run(t, []row{
		{name: "all is well", mutate: func(in *Input) { redeclared(in, desiredtest.Probed); health(in, Health{Started: true, Ready: true}) }},
		{name: "not ready", mutate: func(in *Input) { redeclared(in, desiredtest.Probed); health(in, Health{Readiness: "no"}) }},
		{
			name:    "liveness failed: one container is asked to end",
			mutate:  func(in *Input) { redeclared(in, desiredtest.Probed); health(in, sick) },
			actions: []Action{withExit(signalApp(failed+"; it has 30s to end", ""), "its liveness probe failed: HTTP status 503")},
			memory:  func(m *Memory) { recall(m, "app", asked(0)) },
		},
		{
			name: "startup failed: with the probe's own grace period",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed)
				health(in, Health{Failed: StartupProbe, Startup: "refused"})
			},
			actions: []Action{withExit(signalApp(`container "app" is unhealthy: its startup probe failed: refused; it has 7s to end`, ""), "its startup probe failed: refused")},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					asked(0)(c)
					c.StopMessage = "its startup probe failed: refused"
				})
			},
		},
		{
			name: "it has time left",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed)
				health(in, sick)
				recall(&in.Memory, "app", asked(20*time.Second))
			},
			again: 10 * time.Second,
		},
		{
			name: "its time is over",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed)
				health(in, sick)
				recall(&in.Memory, "app", asked(30*time.Second))
			},
			actions: []Action{withExit(Action{Verb: Kill, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: failed + "; its grace period of 30s is over"}, "its liveness probe failed: HTTP status 503")},
		},
		{
			name:    "it ended with 0: no success under OnFailure",
			mutate:  endWell,
			memory:  seenWell,
			actions: []Action{restartOf("app", `container "app" was unhealthy; restart 1 at once`)},
		},
		{
			name: "Never: it stays ended",
			mutate: func(in *Input) {
				endWell(in)
				in.Desired = newDeclared(desiredtest.Probed, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
			},
			memory: seenWell,
		},
		{
			name: "the next instance knows nothing of it",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed)
				health(in, sick)
				c := containerOf(in, "app")
				c.ID, c.StartedAt = "box.app.2", t0.Add(-time.Second)
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.Live, c.LiveAt, c.Restarts, c.Health = "box.app.2", t0.Add(-time.Second), 1, Health{}
				})
			},
		},
		{
			name: "the probe is declared no more: what it said is forgotten",
			mutate: func(in *Input) {
				health(in, Health{Started: true, Ready: true, Failed: LivenessProbe, Liveness: "a", Readiness: "b", Startup: "c"})
			},
			memory: func(m *Memory) { recall(m, "app", func(c *ContainerMemory) { c.Health = Health{Started: true} }) },
		},
		{
			name: "a frozen sandbox is not thawed for it",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed, desiredtest.State(desired.Paused))
				health(in, sick)
				freeze(in)
			},
		},
		{
			name: "a change goes before",
			mutate: func(in *Input) {
				redeclared(in, desiredtest.Probed)
				health(in, sick)
				containerOf(in, "app").Hash = "old"
			},
			actions: []Action{signalApp(`container "app" was changed; it has 30s to end`, classContainer)},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.StopID, c.StopAsked = "box.app.1", t0 })
			},
		},
		{
			name:   "a changed probe touches nobody",
			mutate: func(in *Input) { in.Desired = newDeclared(desiredtest.Probed) },
			memory: func(m *Memory) { m.SpecHash = newDeclared(desiredtest.Probed).WorkHash },
		},
	})
}

func withExit(a Action, message string) Action {
	a.ExitReason, a.ExitMessage = observed.ReasonUnhealthy, message
	return a
}

// What probes find out is remembered for the instance that it is about.
func TestLearn(t *testing.T) {
	base := Memory{Containers: map[string]ContainerMemory{"app": {Live: "box.app.1", LiveAt: startedAt}}}
	for _, c := range []struct {
		name     string
		is, want Health
		r        Probed
	}{
		{"ready", Health{Readiness: "no"}, Health{Ready: true}, Probed{Kind: ReadinessProbe, OK: true, Conclusive: true}},
		{"a failure", Health{Ready: true}, Health{Ready: true, Readiness: "no"}, Probed{Kind: ReadinessProbe, Message: "no"}},
		{"not ready", Health{Ready: true}, Health{Readiness: "no"}, Probed{Kind: ReadinessProbe, Conclusive: true, Message: "no"}},
		{"alive again", Health{Liveness: "no", Ready: true}, Health{Ready: true}, Probed{Kind: LivenessProbe, OK: true, Conclusive: true}},
		{"not alive once", Health{}, Health{Liveness: "no"}, Probed{Kind: LivenessProbe, Message: "no"}},
		{"not alive", Health{}, Health{Liveness: "no", Failed: LivenessProbe}, Probed{Kind: LivenessProbe, Conclusive: true, Message: "no"}},
		{"started", Health{Startup: "no"}, Health{Started: true}, Probed{Kind: StartupProbe, OK: true, Conclusive: true}},
		{"not started", Health{}, Health{Startup: "no", Failed: StartupProbe}, Probed{Kind: StartupProbe, Conclusive: true, Message: "no"}},
		{"another instance", Health{Ready: true}, Health{Ready: true}, Probed{ID: "box.app.2", Kind: ReadinessProbe, Conclusive: true}},
		{"the same ID, another instance", Health{Ready: true}, Health{Ready: true}, Probed{StartedAt: t0, Kind: ReadinessProbe, Conclusive: true}},
		{"another container", Health{Ready: true}, Health{Ready: true}, Probed{Container: "web", Kind: ReadinessProbe, Conclusive: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := cloneMemory(base)
			recall(&m, "app", func(cm *ContainerMemory) { cm.Health = c.is })
			before := cloneMemory(m)
			r := c.r
			if r.Container == "" {
				r.Container = "app"
			}
			if r.ID == "" {
				r.ID = "box.app.1"
			}
			if r.StartedAt.IsZero() {
				r.StartedAt = startedAt
			}
			if got := Learn(r)(m).Containers["app"].Health; got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if d := diff(before, m); d != "" {
				t.Errorf("the memory that was given was changed:\n%s", d)
			}
		})
	}
}

// Who is ready, with and without probes.
func TestReady(t *testing.T) {
	for _, c := range []struct {
		name   string
		mutate func(in *Input)
		want   bool
	}{
		{"no probes", func(*Input) {}, true},
		{"nothing known", func(in *Input) { redeclared(in, desiredtest.Probed) }, false},
		{"started", func(in *Input) { redeclared(in, desiredtest.Probed); health(in, Health{Started: true}) }, false},
		{"started and ready", func(in *Input) { redeclared(in, desiredtest.Probed); health(in, Health{Started: true, Ready: true}) }, true},
		{"not alive, and ready", func(in *Input) {
			redeclared(in, desiredtest.Probed)
			health(in, Health{Started: true, Ready: true, Liveness: "no"})
		}, true},
		{"frozen", func(in *Input) {
			redeclared(in, desiredtest.Probed)
			health(in, Health{Started: true, Ready: true})
			freeze(in)
		}, false},
		{"ended", func(in *Input) { end(in, "app", 0, 0) }, false},
		{"of another instance", func(in *Input) {
			redeclared(in, desiredtest.Probed)
			health(in, Health{Started: true, Ready: true})
			containerOf(in, "app").ID = "box.app.2"
		}, false},
	} {
		in := settled(newDeclared())
		c.mutate(&in)
		if got := Ready(&in.Desired.Spec.Containers[0], containerOf(&in, "app"), in.Memory); got != c.want {
			t.Errorf("%s: ready is %v", c.name, got)
		}
	}
}
