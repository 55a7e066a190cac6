package status

import (
	"fmt"
	"slices"
	"strings"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// initializing is the reason while init containers do their work.
const initializing = "Initializing"

// initNames are the init containers. Those of a sandbox that nothing declares any
// more are known from what was said before.
func (v *view) initNames() map[string]bool {
	names := map[string]bool{}
	if v.d == nil {
		for _, c := range v.Before.Status.InitContainers {
			names[c.Name] = true
		}
		return names
	}
	for i := range v.d.Init {
		names[v.d.Init[i].Name] = true
	}
	return names
}

// initContainers lists the init containers in their order.
func (v *view) initContainers() (list []api.Container) {
	add := func(name string, dc *desired.Container) {
		a := v.container(name, dc)
		a.Ready = a.State == string(observed.Stopped) && a.ExitCode != nil && *a.ExitCode == 0
		list = append(list, a)
	}
	if v.d == nil {
		for _, c := range v.Before.Status.InitContainers {
			add(c.Name, nil)
		}
		return list
	}
	for i := range v.d.Init {
		add(v.d.Init[i].Name, &v.d.Init[i])
	}
	return list
}

// isAhead reports whether a container is an init one whose turn in the present
// sandbox has not come: what is known of it is of an earlier one.
func (v *view) isAhead(name string) bool {
	if v.d == nil || !v.alive() {
		return false
	}
	at := slices.IndexFunc(v.d.Init, func(c desired.Container) bool { return c.Name == name })
	now, pending := plan.Initializing(v.d, v.mem, v.o.Record.Sentry)
	if at < 0 || !pending || at < now {
		return false
	}
	c := v.find(name)
	return (c == nil || !live(c)) && (v.mem.InitIn != v.o.Record.Sentry || v.mem.Containers[name].Fresh)
}

// beforehand is phase for a sandbox whose containers are not to be started
// yet: others come first, or init containers. ok is false for any other.
func (v *view) beforehand(list []api.Container) (phase api.Phase, reason, message string, ok bool) {
	var waits []string
	for _, c := range v.Pass.Conditions {
		if c.Type == plan.DependencyMissing || c.Type == plan.DependencyNotReady {
			waits = append(waits, c.Message)
			if reason == "" {
				reason = c.Type
			}
		}
	}
	if len(waits) > 0 {
		return api.Pending, reason, strings.Join(waits, "; "), true
	}
	if !v.alive() || !v.current() || v.o.Unresponsive || v.asked() != "" || v.o.Record.State != observed.SandboxUp {
		return "", "", "", false
	}
	i, pending := plan.Initializing(v.d, v.mem, v.o.Record.Sentry)
	if !pending {
		return "", "", "", false
	}
	c := list[i]
	which := fmt.Sprintf("init container %q (%d of %d)", c.Name, i+1, len(v.d.Init))
	switch {
	case c.Reason == observed.ReasonStartError:
		return api.Failed, observed.ReasonStartError, "init " + howItEnded(c) + nextStart(c, v.Now), true
	case c.NextStartAt != nil:
		return api.Pending, api.CrashLoopBackOff, inTurn(c.NextStartAt, v.Now) + "init " + howItEnded(c), true
	case c.State == string(observed.Running):
		return api.Pending, initializing, which + " runs", true
	case len(v.Pass.Pending) > 0 && v.Pass.Pending[0].Verb != plan.Start:
		return "", "", "", false
	}
	return api.Pending, initializing, which + " is about to be started", true
}
