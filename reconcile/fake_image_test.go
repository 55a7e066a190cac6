package reconcile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// fakeImage is a checkpoint in the fake world: it outlives a reboot.
type fakeImage struct {
	observed.Image
	containers         map[string]fakeContainer
	succeeded, excused map[string]bool
}

// imageOf makes one of a frozen box.
func imageOf(b *fakeBox, d *plan.Declared, at observed.Image) *fakeImage {
	image := &fakeImage{Image: at, containers: map[string]fakeContainer{}, succeeded: maps.Clone(b.succeeded), excused: maps.Clone(b.excused)}
	image.Spec, _ = json.Marshal(d.Spec) // plain data
	for name, c := range b.containers {
		if b.torn[name] == "" {
			image.containers[name] = *c
			image.Containers = append(image.Containers, c.rec)
		}
	}
	return image
}

func (w *fakeWorld) suspend(b *fakeBox, a plan.Action, d *plan.Declared) error {
	if !b.sentry || b.rec == nil || w.images[a.Sandbox] != nil {
		w.violate("a checkpoint of a sandbox that does not run or has one")
		return errFake
	}
	was := b.rec.State
	if was != observed.SandboxPaused {
		b.rec.State = observed.SandboxSaving
	}
	if w.failing() {
		return errFake // a crash
	}
	if w.uncheckpointable || w.failing() {
		if was != observed.SandboxPaused {
			b.rec.State = observed.SandboxUp
		}
		return fmt.Errorf("%w: not to be written", errFake)
	}
	w.images[a.Sandbox] = imageOf(b, d, observed.Image{Sandbox: a.Sandbox, CreatedAt: w.now()})
	if w.failing() {
		return errFake // a crash
	}
	b.rec.State = observed.SandboxPaused
	return nil
}

func (w *fakeWorld) restore(b *fakeBox, a plan.Action, d *plan.Declared) error {
	if b.rec != nil && b.rec.State == observed.SandboxRestoring && b.sentry {
		if b.restored {
			return w.finishRestore(b, a)
		}
		b.sentry, b.cgroup, b.rec.State = false, false, observed.SandboxStopped
		return nil
	}
	image := w.images[a.Sandbox]
	if image == nil && d.Spec.RestoreFrom == "" {
		w.violate("restored from nothing")
		return errFake
	}
	if image != nil && plan.Refusal(&image.Image, d) != "" {
		w.violate("restored from a checkpoint that is refused")
		return errFake
	}
	if err := w.create(b, d); err != nil {
		return err
	}
	b.rec.State, b.restored = observed.SandboxRestoring, false
	if w.failing() {
		return errFake // a crash
	}
	if image == nil {
		image = w.template(b, d)
	}
	b.begun, b.succeeded, b.excused = true, maps.Clone(image.succeeded), maps.Clone(image.excused)
	b.containers = map[string]*fakeContainer{}
	clear(b.torn) // they are recorded anew
	for name, c := range image.containers {
		if c.rec.Exit == nil {
			c.rec.State, c.rec.Gofer, c.gofer, c.sockets, c.alive = observed.Creating, w.process(), true, true, true
		}
		c.sentry = b.rec.Sentry
		b.containers[name] = &c
	}
	b.restored = true
	if w.failing() {
		return errFake // a crash
	}
	return w.finishRestore(b, a)
}

// template is what restoreFrom names: every container of d at work, after its
// init containers.
func (w *fakeWorld) template(b *fakeBox, d *plan.Declared) *fakeImage {
	image := &fakeImage{containers: map[string]fakeContainer{}, succeeded: map[string]bool{}, excused: map[string]bool{}}
	for dc, hash := range d.All() {
		name, attempt := dc.Name, 1
		if c := b.containers[name]; c != nil {
			attempt = c.rec.Attempt + 1
		}
		w.started[name] = true
		c := fakeContainer{rec: observed.ContainerRecord{
			Name: name, Sandbox: d.Name, ID: fmt.Sprintf("%s.%s.%d", d.Name, name, attempt), Attempt: attempt,
			Hash: hash, StartedAt: w.now(),
		}}
		if slices.ContainsFunc(d.Init, func(init desired.Container) bool { return init.Name == name }) {
			image.succeeded[name] = true
			c.rec.State, c.rec.Exit = observed.Stopped, &observed.Exit{Known: true, Reason: "Completed", At: w.now()}
		}
		image.containers[name] = c
	}
	return image
}

func (w *fakeWorld) finishRestore(b *fakeBox, a plan.Action) error {
	for _, c := range b.containers {
		if c.rec.State == observed.Creating && c.alive {
			c.rec.State = observed.Running
		}
	}
	if w.failing() {
		return errFake // a crash
	}
	delete(w.images, a.Sandbox)
	if w.failing() {
		return errFake // a crash
	}
	b.rec.State, b.rec.Restored = observed.SandboxUp, true
	return nil
}

func (w *fakeWorld) discard(b *fakeBox, a plan.Action, d *plan.Declared) error {
	image := w.images[a.Sandbox]
	switch {
	case image == nil:
		w.violate("a checkpoint is discarded that is not there")
		return errFake
	case !b.sentry && d.Spec.State.Runs():
		w.violate("a checkpoint is thrown away that is declared %s", d.Spec.State)
	case !b.sentry:
		if b.rec == nil {
			b.rec, b.broken = &observed.Record{Name: a.Sandbox}, ""
		}
		b.rec.State = observed.SandboxStopped
		for name, c := range image.containers {
			if c.rec.Exit == nil {
				c.rec.State, c.rec.Exit = observed.Stopped, &observed.Exit{Reason: "Discarded", At: w.now()}
			}
			c.alive, c.gofer = false, false
			b.containers[name] = &c
		}
	}
	if w.failing() {
		return errFake // a crash
	}
	delete(w.images, a.Sandbox)
	return nil
}

// working holds what the sandbox runs against its checkpoint: nothing may be
// done to what may have to be ended in favour of it.
func (w *fakeWorld) working(a plan.Action) {
	switch a.Verb {
	case plan.Start, plan.Signal, plan.Kill, plan.Remove, plan.Resume, plan.Pause, plan.Create:
		if w.images[a.Sandbox] != nil {
			w.violate("%s in a sandbox that has a checkpoint", a.Verb)
		}
	}
}

// suspendedAsDeclared says in what a sandbox that has a checkpoint, or is to
// have one, is not as declared; done is false where that is for others to say.
func (w *fakeWorld) suspendedAsDeclared(name string, d *plan.Declared) (done bool, err error) {
	image, b := w.images[name], w.boxes[name]
	runs := b != nil && (b.sentry || b.cgroup)
	suspended := d.Spec.State == "Suspended"
	switch {
	case image == nil && !suspended:
		return false, nil
	case image == nil && b != nil && b.sentry:
		return true, fmt.Errorf("%s is not suspended: %+v", name, b.rec)
	case image == nil:
		if w.over(b, d) {
			return true, nil
		}
		return true, fmt.Errorf("%s is neither suspended nor over", name)
	case runs:
		return true, fmt.Errorf("%s has a checkpoint and runs: %+v", name, b.rec)
	case suspended || d.Spec.State.Runs() && plan.Refusal(&image.Image, d) != "":
		return true, nil
	}
	return true, fmt.Errorf("%s is suspended", name)
}
