package reconcile

import (
	"maps"
	"time"

	"pgregory.net/rapid"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/reconcile/plan"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newDeclared(changes ...func(*desired.Sandbox)) *plan.Declared {
	return plan.Declare(desiredtest.Sandbox(changes...))
}

func cloneMemory(m plan.Memory) plan.Memory {
	m.Containers = maps.Clone(m.Containers)
	return m
}

func anyDependencies(t *rapid.T) map[string]plan.Dependency {
	known := map[string]plan.Dependency{}
	for _, name := range []string{"db", "cache"} {
		if rapid.Bool().Draw(t, name+" is declared") {
			known[name] = plan.Dependency{Ready: rapid.Bool().Draw(t, name+" is ready")}
		}
	}
	return known
}
