package status

import (
	"maps"
	"slices"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// live reports whether a container's command runs, or is frozen while it does.
// In a frozen sandbox all containers say paused, so an exit decides.
func live(c *observed.Container) bool {
	return c.Exit == nil && (c.State == observed.Running || c.State == observed.Paused)
}

// find gives the observed container of that name, nil where there is none.
func (v *view) find(name string) *observed.Container {
	for i := range v.o.Containers {
		if v.o.Containers[i].Name == name {
			return &v.o.Containers[i]
		}
	}
	return nil
}

// containers lists the declared ones in their order, then those that are there
// without being declared. Nothing that sandboxes hold beside them shows.
func (v *view) containers() []api.Container {
	list := []api.Container{}
	declared := v.initNames()
	if v.d != nil {
		for i := range v.d.Spec.Containers {
			dc := &v.d.Spec.Containers[i]
			declared[dc.Name] = true
			list = append(list, v.container(dc.Name, dc))
		}
	}
	others := map[string]bool{}
	for i := range v.o.Containers {
		others[v.o.Containers[i].Name] = true
	}
	for name := range v.o.BrokenContainers {
		others[name] = true
	}
	if v.suspended() {
		for _, c := range v.o.Image.Containers {
			others[c.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		if !declared[name] {
			list = append(list, v.container(name, nil))
		}
	}
	return list
}

// container describes one; dc is nil where it is not declared.
func (v *view) container(name string, dc *desired.Container) api.Container {
	cm := v.mem.Containers[name]
	a := api.Container{Name: name, RestartCount: cm.Restarts}
	if v.suspended() && v.onDisk(&a) {
		return a
	}
	c := v.find(name)
	if c != nil && v.d != nil && v.d.Spec.State == desired.Created && v.alive() && !v.ranHere(c) {
		c, cm.Exit = nil, nil // an instance of an earlier sandbox
	}
	if v.isAhead(name) {
		c, cm.Exit = nil, nil
	}
	if c != nil {
		a.GoferRestarts = c.GoferRestarts
	}
	switch {
	case c == nil:
		v.unseen(&a, cm)
	case live(c):
		a.ID, a.State = c.ID, string(c.State)
		a.Ready = v.ready(dc, c)
		a.PID = 1 // each container has a pid namespace of its own
		if c.GoferRun.Lives() {
			a.GoferPID = new(c.Gofer.PID)
			a.GoferSince, a.GoferVersion = instant(c.GoferSince), c.GoferVersion
		}
		a.StartedAt = instant(c.StartedAt)
		if a.Reason, a.Message = v.ailing(dc, c); a.Reason == "" {
			a.Reason, a.Message = lastLoss(cm)
		}
		a.LastExit = lastExit(cm)
	case c.Exit != nil:
		a.ID, a.State, a.StartedAt = c.ID, string(observed.Stopped), instant(c.StartedAt)
		exit := *c.Exit
		if cm.Exit != nil && cm.Seen == c.ID {
			exit = *cm.Exit // the planner knows more: that it was killed for its gofer's sake
		} else if cm.AskedToEnd(c.ID) {
			exit = plan.AsAsked(exit) // it is declared no more
		}
		end(&a, &exit)
	case c.State == observed.Creating && !v.alive():
		v.unseen(&a, cm) // it was left half-made: no more is there of it than its record
	default:
		a.ID, a.State, a.StartedAt = c.ID, string(c.State), instant(c.StartedAt)
	}
	if why, torn := v.o.BrokenContainers[name]; torn && a.Reason == "" {
		a.Reason, a.Message = "RecordBroken", why
	}
	a.Final = dc != nil && Over(v.Pass, name)
	if dc != nil && a.State != string(observed.Running) && a.State != string(observed.Paused) {
		v.next(&a, dc, cm)
	}
	return a
}

// unseen describes a container that no record shows, from what is remembered.
func (v *view) unseen(a *api.Container, cm plan.ContainerMemory) {
	switch {
	case cm.Exit != nil && cm.Seen == cm.Live:
		a.ID, a.State, a.StartedAt = cm.Live, string(observed.Stopped), instant(cm.StartedAt)
		end(a, cm.Exit)
	case v.d != nil && v.d.Spec.State == desired.Stopped:
		a.State = string(observed.Stopped)
	case v.alive():
		a.State = string(observed.Created)
	default:
		a.State = string(observed.Creating)
	}
}

// Over reports whether a container has ended and will not run again unless
// something else is declared.
func Over(p reconcile.Pass, name string) bool {
	if p.Blind || p.Declared == nil {
		return false
	}
	v := view{o: &p.Observed}
	if c := v.find(name); c != nil && live(c) {
		return false
	}
	if s := p.Declared.Spec.State; s != desired.Running && s != desired.Paused {
		return true
	}
	c, hash := p.Declared.Container(name)
	if all, _ := plan.Ended(p.Declared, p.Memory); all || c == nil {
		return true
	}
	cm := p.Memory.Containers[name]
	return finished(c, cm) && cm.Hash == hash
}

func end(a *api.Container, e *observed.Exit) {
	a.Reason, a.Message, a.FinishedAt = e.Reason, e.Message, instant(e.At)
	if e.Known {
		a.ExitCode = new(e.Code)
	}
}

// lastExit is how the last instance ended, while the next one runs.
func lastExit(cm plan.ContainerMemory) *api.Exit {
	if cm.Exit == nil {
		return nil
	}
	e := &api.Exit{ID: cm.Seen, Reason: cm.Exit.Reason, FinishedAt: instant(cm.Exit.At)}
	if cm.Exit.Known {
		e.ExitCode = new(cm.Exit.Code)
	}
	return e
}

// lastLoss is why a container that runs again was ended by something else than
// itself: the one kind of end that is worth telling afterwards.
func lastLoss(cm plan.ContainerMemory) (reason, message string) {
	if cm.Exit == nil || cm.Restarts == 0 {
		return "", ""
	}
	switch cm.Exit.Reason {
	case observed.ReasonOOMKilled, observed.ReasonGoferLost, observed.ReasonSandboxLost, observed.ReasonUnhealthy:
		return cm.Exit.Reason, cm.Exit.Message
	}
	return "", ""
}

// next says when a container that does not run is tried again, and that its
// sandbox is what fails.
func (v *view) next(a *api.Container, dc *desired.Container, cm plan.ContainerMemory) {
	if s := v.d.Spec.State; s != desired.Running && s != desired.Paused || finished(dc, cm) {
		return
	}
	at := cm.NextStart
	if !v.alive() {
		if v.mem.NextCreate.After(at) {
			at = v.mem.NextCreate
		}
		if v.mem.CreateFailures > 0 && a.Reason == "" {
			a.Reason, a.Message = v.creation(), v.mem.LastError
		}
	}
	if at.After(v.Now) {
		a.NextStartAt = &at
	}
}
