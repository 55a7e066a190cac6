package daemon

import (
	"slices"

	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

// dependency says how a sandbox stands that another one waits for: as its
// status does.
func (d *daemon) dependency(name string) plan.Dependency {
	s, _ := d.board.Get(name)
	return dependencyOf(s)
}

func dependencyOf(s api.Sandbox) plan.Dependency {
	dep := plan.Dependency{Ready: s.Status.Ready, Phase: string(s.Status.Phase)}
	if st := s.Status; !st.Ready && (st.Phase == api.Failed || st.Phase == api.Running || st.Phase == api.Paused || st.Reason == api.CrashLoopBackOff) {
		dep.Trouble = st.Message
	}
	if s.Status.Phase == api.Succeeded {
		dep.Trouble = "what has ended is never ready: what is to be done first and ends is an init container's work"
	}
	return dep
}

// pokeDependents has the loop look at those that may wait for a sandbox of
// names.
func (d *daemon) pokeDependents(names ...string) {
	set := d.directory.Set()
	if set == nil {
		return
	}
	changed := map[string]bool{}
	for _, name := range names {
		changed[name] = true
	}
	for other, s := range set.Sandboxes {
		if slices.ContainsFunc(s.Spec.DependsOn, func(name string) bool { return changed[name] }) {
			d.loop.Poke(other)
		}
	}
}
