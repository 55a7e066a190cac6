package reconcile

import (
	"fmt"
	"slices"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// initDone counts the init containers that have succeeded in the sandbox, one
// after the other.
func (b *fakeBox) initDone(d *plan.Declared) int {
	i := slices.IndexFunc(d.Init, func(c desired.Container) bool { return !b.succeeded[c.Name] })
	if i < 0 {
		return len(d.Init)
	}
	return i
}

// turn holds a start against the order of init containers.
func (w *fakeWorld) turn(b *fakeBox, a plan.Action, d *plan.Declared) {
	i := slices.IndexFunc(d.Init, func(c desired.Container) bool { return c.Name == a.Container })
	done := b.initDone(d)
	switch {
	case i < 0 && done < len(d.Init):
		w.violate("start of %s after %d of %d init containers", a.Container, done, len(d.Init))
	case i > done:
		w.violate("start of the init container %s after %d others", a.Container, done)
	case i >= 0 && i < done && len(b.excused) == 0:
		w.violate("the init container %s runs again in the same sandbox", a.Container)
	}
	for name, c := range b.containers {
		if i >= 0 && c.alive && name != a.Container && c.sentry == b.rec.Sentry && b.torn[name] == "" {
			w.violate("start of the init container %s beside %s", a.Container, name)
		}
	}
}

// initAsDeclared says in what the init containers of a sandbox that is up are
// not as declared.
func (b *fakeBox) initAsDeclared(name string, d *plan.Declared) error {
	done := b.initDone(d)
	if done == len(d.Init) || d.Spec.State == desired.Created || d.Spec.State == desired.Paused {
		return nil
	}
	return fmt.Errorf("%s has run %d of %d init containers", name, done, len(d.Init))
}

// calm has all dependencies ready.
func (s *session) calm() {
	s.deps = map[string]plan.Dependency{"db": {Ready: true}, "cache": {Ready: true}}
}

// initSucceeds ends an init container that runs.
func (s *session) initSucceeds() (did bool) {
	if s.d == nil {
		return false
	}
	s.w.mu.Lock()
	b := s.w.boxes["box"]
	name := ""
	if b != nil && b.rec != nil && b.rec.State == observed.SandboxUp {
		for i := range s.d.Init {
			if c := b.containers[s.d.Init[i].Name]; c != nil && c.alive {
				name = s.d.Init[i].Name
			}
		}
	}
	s.w.mu.Unlock()
	if name == "" {
		return false
	}
	s.w.exit("box", name, 0)
	return true
}

// checkDependencies holds an action against those that are not ready.
func (s *session) checkDependencies(a plan.Action) {
	s.w.mu.Lock()
	b := s.w.boxes["box"]
	begun := b != nil && b.begun && b.sentry
	if b != nil && a.Verb == plan.Start {
		b.begun = true // also if it fails
	}
	unfinished := b != nil && b.rec != nil && b.rec.State == observed.SandboxRestoring && b.sentry
	s.w.mu.Unlock()
	starts := a.Verb == plan.Create && s.d.Spec.State != desired.Created || a.Verb == plan.Restore && !unfinished || a.Verb == plan.Start && !begun
	for i := 0; starts && i < len(s.d.Spec.DependsOn); i++ {
		if name := s.d.Spec.DependsOn[i]; !s.deps[name].Ready {
			s.t.Fatalf("%s is not ready, and yet: %+v", name, a)
		}
	}
}
