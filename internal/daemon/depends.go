package daemon

import (
	"slices"

	"sandboxer/internal/api"
	"sandboxer/reconcile"
)

// dependency says how a sandbox stands that another one waits for: as its
// status does.
func (d *daemon) dependency(name string) reconcile.Dependency {
	s, _ := d.board.Get(name)
	return dependencyOf(s)
}

func dependencyOf(s api.Sandbox) reconcile.Dependency {
	return reconcile.Dependency{Ready: s.Status.Ready, Phase: string(s.Status.Phase)}
}

// pokeDependents has the loop look at those that may wait for a sandbox.
func (d *daemon) pokeDependents(name string) {
	set := d.directory.Set()
	if set == nil {
		return
	}
	for other, s := range set.Sandboxes {
		if slices.Contains(s.Spec.DependsOn, name) {
			d.loop.Poke(other)
		}
	}
}
