package daemon

import (
	"context"
	"fmt"
	"time"

	"sandboxer/actuator"
	"sandboxer/desired"
	"sandboxer/internal/events"
	"sandboxer/internal/probe"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// probedActor carries out actions with probes out of their way. It implements
// reconcile.Actor.
type probedActor struct {
	*actuator.Actuator
	prober *probe.Prober
}

// Do has probes rest before a sandbox is frozen or written to disk: what they
// have begun in it would stand in the way.
func (a probedActor) Do(ctx context.Context, do plan.Action, d *plan.Declared) error {
	if do.Verb == plan.Pause || do.Verb == plan.Suspend {
		if err := a.prober.Rest(ctx, do.Sandbox); err != nil {
			return err
		}
	}
	return a.Actuator.Do(ctx, do, d)
}

// targets are the probes that a sandbox is to have after a pass: those of its
// containers that run and are to go on.
func targets(p reconcile.Pass) []probe.Target {
	if p.Blind || p.Declared == nil || p.Observed.Record == nil || p.Observed.Record.State != observed.SandboxUp ||
		p.Observed.Sentry != observed.Alive {
		return nil
	}
	var list []probe.Target
	for i := range p.Observed.Containers {
		c := &p.Observed.Containers[i]
		cm := p.Memory.Containers[c.Name]
		if c.Exit != nil || c.State != observed.Running || cm.Live != c.ID || !cm.LiveAt.Equal(c.StartedAt) ||
			cm.Health.Failed != "" || plan.Stopping(c, p.Memory) {
			continue
		}
		for k := range p.Declared.Spec.Containers {
			if dc := &p.Declared.Spec.Containers[k]; dc.Name == c.Name {
				list = append(list, probesOf(dc, c, cm.Health)...)
			}
		}
	}
	return list
}

// probesOf are the probes of a container that runs: until its startup probe
// has succeeded it has no other.
func probesOf(dc *desired.Container, c *observed.Container, h plan.Health) (list []probe.Target) {
	add := func(kind probe.Kind, p *desired.Probe, good bool) {
		if p != nil {
			if p.Exec != nil { // as in a Pod, to variables that the manifest itself holds
				expanded := *p
				expanded.Exec = &desired.ExecAction{Command: desired.Expand(p.Exec.Command, dc.LiteralEnv())}
				p = &expanded
			}
			list = append(list, probe.Target{Sandbox: c.Sandbox, Container: c.Name, ID: c.ID, StartedAt: c.StartedAt,
				Kind: kind, Probe: p, Good: good})
		}
	}
	if dc.StartupProbe != nil && !h.Started {
		add(probe.Startup, dc.StartupProbe, false)
		return list
	}
	add(probe.Liveness, dc.LivenessProbe, h.Liveness == "")
	add(probe.Readiness, dc.ReadinessProbe, h.Ready && h.Readiness == "")
	return list
}

// probed has the loop act on what a probe has found out, and makes an event of
// it.
func (d *daemon) probed(r probe.Report) {
	e := events.Event{Sandbox: r.Sandbox, Container: r.Container, Type: events.Warning, Reason: "Unhealthy"}
	switch {
	case r.OK:
		e.Type, e.Reason = events.Normal, map[probe.Kind]string{probe.Startup: "StartupSucceeded", probe.Readiness: "Ready", probe.Liveness: "Healthy"}[r.Kind]
		e.Message = fmt.Sprintf("the %s probe of container %q succeeds", r.Kind, r.Container)
	case r.Count == 0:
		e.Reason = "ProbeError"
		e.Message = fmt.Sprintf("the %s probe of container %q can't be carried out: %s", r.Kind, r.Container, r.Message)
	default:
		e.Message = fmt.Sprintf("the %s probe of container %q failed (%d of %d): %s", r.Kind, r.Container, r.Count, r.Probe.FailureThreshold, r.Message)
	}
	d.events.Append(e) // before it shows, so that who saw that finds why
	d.loop.Tell(r.Sandbox, plan.Learn(plan.Probed{Container: r.Container, ID: r.ID, StartedAt: r.StartedAt,
		Kind: string(r.Kind), OK: r.OK, Conclusive: r.Conclusive, Message: r.Message}))
}

// preStopped makes an event of a preStop that failed. The container is stopped
// all the same.
func (d *daemon) preStopped(rec observed.ContainerRecord, err error, took time.Duration) {
	if err == nil {
		return
	}
	d.events.Append(events.Event{Sandbox: rec.Sandbox, Container: rec.Name, Type: events.Warning, Reason: "FailedPreStopHook",
		Message: fmt.Sprintf("the preStop of container %q failed: %v; it is stopped all the same", rec.Name, err), Took: took})
}
