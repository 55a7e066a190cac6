package reconcile

import (
	"fmt"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// What happens to the world without anybody's order.

// disturb runs change on a sandbox that exists, and tells of it.
func (w *fakeWorld) disturb(name string, change func(b *fakeBox)) {
	w.mu.Lock()
	b := w.boxes[name]
	if b != nil {
		change(b)
	}
	w.mu.Unlock()
	if b != nil {
		w.changed(name)
	}
}

// set changes how the world behaves.
func (w *fakeWorld) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *fakeWorld) alive(box, container string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[box]
	return b != nil && b.containers[container] != nil && b.containers[container].alive
}

func (w *fakeWorld) exit(box, container string, code int) {
	w.disturb(box, func(b *fakeBox) {
		if c := b.containers[container]; c != nil && b.sentry && b.rec != nil && b.rec.State != observed.SandboxPaused {
			if c.alive && code == 0 {
				b.succeeded[container] = true
			}
			w.end(c, code, "Error")
		}
	})
}

func (w *fakeWorld) crash(box string) {
	w.disturb(box, func(b *fakeBox) {
		b.sentry, b.silent, b.cgroup = false, false, false
		for _, c := range b.containers {
			c.alive, c.gofer, c.keeper = false, false, false
		}
	})
}

// asDeclared says in what a sandbox is not as d declares it, by itself and
// not by what Plan thinks.
func (w *fakeWorld) asDeclared(name string, d *plan.Declared) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[name]
	if d == nil {
		if w.images[name] != nil {
			return fmt.Errorf("the checkpoint of %s is left", name)
		}
		if b != nil && (b.rec != nil || b.broken != "" || b.sentry || b.cgroup || len(b.containers) > 0 || len(b.torn) > 0) {
			return fmt.Errorf("%s is left: %+v", name, *b)
		}
		return nil
	}
	if done, err := w.suspendedAsDeclared(name, d); done {
		return err
	}
	if d.Spec.State == desired.Stopped {
		if b != nil && (b.sentry || b.cgroup) {
			return fmt.Errorf("%s runs", name)
		}
		return nil
	}
	if b == nil || !b.sentry {
		if d.Spec.State != desired.Created && w.over(b, d) {
			return nil
		}
		return fmt.Errorf("%s does not run", name)
	}
	wanted := observed.SandboxUp
	if d.Spec.State == desired.Paused {
		wanted = observed.SandboxPaused
	}
	if b.rec == nil || b.rec.State != wanted || b.silent {
		return fmt.Errorf("%s is not %s: %+v", name, wanted, b.rec)
	}
	if b.rec.SandboxHash != d.SandboxHash || b.rec.LimitsHash != d.LimitsHash {
		return fmt.Errorf("%s is outdated", name)
	}
	if err := b.initAsDeclared(name, d); err != nil {
		return err
	}
	if score, set := d.Score(b.initDone(d)); set && b.score != score && len(b.excused) == 0 {
		return fmt.Errorf("%s has the score %d, not %d", name, b.score, score)
	}
	for i := range d.Spec.Containers {
		dc := &d.Spec.Containers[i]
		c := b.containers[dc.Name]
		switch {
		case b.initDone(d) < len(d.Init) && d.Spec.State != desired.Created:
			if c != nil && c.alive {
				return fmt.Errorf("%s runs, and not all init containers have succeeded", dc.Name)
			}
		case d.Spec.State == desired.Created:
			if c != nil && (c.alive || c.sentry == b.rec.Sentry) {
				return fmt.Errorf("%s: a command was started", dc.Name)
			}
		case c == nil && w.started[dc.Name] && (dc.RestartPolicy != desired.Always || d.Spec.State == desired.Paused):
			// What it did is only remembered, as its record was torn or
			// lost; and restarts rest while it is frozen.
		case c == nil:
			return fmt.Errorf("%s is not there", dc.Name)
		case c.alive && d.Spec.State == desired.Running && dc.MemoryLimit() > 0 && c.used > dc.MemoryLimit():
			return fmt.Errorf("%s uses %d bytes", dc.Name, c.used)
		case c.alive && (c.rec.Hash != d.ContainerHash[i] || (!c.gofer || !c.keeper) && d.Spec.State == desired.Running):
			return fmt.Errorf("%s is outdated or without gofer or keeper", dc.Name)
		case !c.alive && d.Spec.State == desired.Running && plan.Restarts(dc.RestartPolicy, c.rec.Exit):
			return fmt.Errorf("%s does not run", dc.Name)
		}
	}
	if d.Spec.State != desired.Created {
		for name := range b.containers {
			if dc, _ := d.Container(name); dc == nil {
				return fmt.Errorf("%s is declared no more", name)
			}
		}
	}
	return nil
}

// over reports whether each container has ended as its policy allows.
func (w *fakeWorld) over(b *fakeBox, d *plan.Declared) bool {
	for i := range d.Init {
		name := d.Init[i].Name
		if d.Init[i].RestartPolicy == desired.Never && w.started[name] && (b == nil || !b.succeeded[name] || b.excused[name]) {
			return true
		}
	}
	for i := range d.Spec.Containers {
		dc := &d.Spec.Containers[i]
		switch {
		case dc.RestartPolicy == desired.Always || !w.started[dc.Name]:
			return false
		case b != nil && b.containers[dc.Name] != nil && b.containers[dc.Name].rec.Exit != nil &&
			plan.Restarts(dc.RestartPolicy, b.containers[dc.Name].rec.Exit):
			return false
		}
	}
	return true
}
