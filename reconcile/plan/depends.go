package plan

import (
	"cmp"
	"fmt"
	"strings"
)

// Dependency is how a declared sandbox stands that another one waits for.
type Dependency struct {
	Ready bool
	// Phase is where it stands in one word, for people; empty: nobody knows yet.
	Phase string
	// Trouble is what fails in it, for people; empty: nothing.
	Trouble string
}

// Dependencies gives those of d that are declared, by name; nil where d has
// none.
func Dependencies(d *Declared, declared func(name string) bool, of func(name string) Dependency) map[string]Dependency {
	if d == nil || len(d.Spec.DependsOn) == 0 {
		return nil
	}
	found := map[string]Dependency{}
	for _, name := range d.Spec.DependsOn {
		if declared(name) {
			found[name] = of(name)
		}
	}
	return found
}

// begun reports whether the sandbox has been started: what runs in it is not
// held back any more.
func (p *planner) begun() bool {
	return p.o.Record.Restored || p.mem.RanIn == p.o.Record.Sentry
}

// waits reports whether the sandbox must not be started yet, and says for whom
// it waits.
func (p *planner) waits() bool {
	var missing, unready []string
	for _, name := range p.d.Spec.DependsOn {
		switch other, declared := p.in.Dependencies[name]; {
		case !declared:
			missing = append(missing, fmt.Sprintf("waiting for %q: no such sandbox", name))
		case !other.Ready:
			text := fmt.Sprintf("waiting for %q to be ready: it is %s", name, cmp.Or(other.Phase, "not looked at yet"))
			if other.Trouble != "" {
				text += " (" + other.Trouble + ")"
			}
			unready = append(unready, text)
		}
	}
	if len(missing) > 0 {
		p.condition(DependencyMissing, DependencyMissing, "%s", strings.Join(missing, "; "))
	}
	if len(unready) > 0 {
		p.condition(DependencyNotReady, DependencyNotReady, "%s", strings.Join(unready, "; "))
	}
	return len(missing)+len(unready) > 0
}
