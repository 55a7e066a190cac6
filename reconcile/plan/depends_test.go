package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

func TestPlanDependsOn(t *testing.T) {
	absent := func(known map[string]Dependency, changes ...func(*desired.Sandbox)) func(*Input) {
		return func(in *Input) {
			*in = settled(newDeclared(append(changes, desiredtest.Needs("db", "cache"))...))
			in.Observed = observed.Sandbox{Name: "box"}
			forgetLive(in)
			for name := range in.Memory.Containers {
				recall(&in.Memory, name, func(c *ContainerMemory) { c.LiveAt, c.MemoryLimit = time.Time{}, 0 })
			}
			in.Dependencies = known
		}
	}
	ready, running := Dependency{Ready: true, Phase: "Running"}, Dependency{Phase: "Running"}
	create := []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox is declared and was not there"}}
	dbMissing := Condition{DependencyMissing, DependencyMissing, `waiting for "db": no such sandbox`}
	cacheNotReady := Condition{DependencyNotReady, DependencyNotReady, `waiting for "cache" to be ready: it is Running`}
	run(t, []row{
		{name: "all are ready", mutate: absent(map[string]Dependency{"db": ready, "cache": ready}), actions: create},
		{name: "one is not declared", mutate: absent(map[string]Dependency{"cache": ready}), conditions: []Condition{dbMissing}},
		{name: "one is not ready", mutate: absent(map[string]Dependency{"db": ready, "cache": running}), conditions: []Condition{cacheNotReady}},
		{name: "one was not looked at", mutate: absent(map[string]Dependency{"db": {}, "cache": ready}), conditions: []Condition{
			{DependencyNotReady, DependencyNotReady, `waiting for "db" to be ready: it is not looked at yet`}}},
		{name: "one fails", mutate: absent(map[string]Dependency{"db": {Phase: "Failed", Trouble: `container "app" ended with exit code 3`}, "cache": ready}), conditions: []Condition{
			{DependencyNotReady, DependencyNotReady, `waiting for "db" to be ready: it is Failed (container "app" ended with exit code 3)`}}},
		{name: "both", mutate: absent(map[string]Dependency{"cache": running}), conditions: []Condition{dbMissing, cacheNotReady}},
		{name: "none is known", mutate: absent(nil), conditions: []Condition{
			{DependencyMissing, DependencyMissing, `waiting for "db": no such sandbox; waiting for "cache": no such sandbox`}}},
		{name: "Paused and Suspended start it, and wait", mutate: absent(map[string]Dependency{"cache": ready}, desiredtest.State(desired.Suspended)), conditions: []Condition{dbMissing}},
		{name: "Stopped waits for nobody", mutate: absent(nil, desiredtest.State(desired.Stopped))},
		{name: "Created waits for nobody", mutate: absent(nil, desiredtest.State(desired.Created)), actions: create},
		{
			name: "where nothing was started yet, it is not",
			mutate: func(in *Input) {
				initializing(in, 0, desiredtest.Needs("db"))
				in.Memory.RanIn = observed.Process{}
			},
			conditions: []Condition{dbMissing},
		},
		{
			name: "where something was, all else is",
			mutate: func(in *Input) {
				initializing(in, 1, desiredtest.Needs("db"))
			},
			actions: []Action{start("fill", "", `first start of container "fill"`)},
		},
		{
			name: "what runs goes on, and so do its restarts",
			mutate: func(in *Input) {
				*in = settled(newDeclared(desiredtest.Needs("db")))
				end(in, "app", 1, time.Second)
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.Seen, c.Exit, c.StartedAt, c.Attempts = c.Live, containerOf(in, "app").Exit, startedAt, 1
				})
			},
			actions: []Action{start("app", "box.app.1", `container "app" ended with exit code 1; restart 1 at once`)},
		},
		{
			name: "what runs is paused",
			mutate: func(in *Input) {
				*in = settled(newDeclared(desiredtest.Needs("db"), desiredtest.State(desired.Paused)))
			},
			actions: []Action{{Verb: Pause, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Paused"}},
		},
		{
			name: "what is suspended stays so",
			mutate: func(in *Input) {
				*in = settled(newDeclared(desiredtest.Needs("db", "cache")))
				in.Dependencies = map[string]Dependency{"cache": ready}
				suspend(in)
			},
			conditions: []Condition{dbMissing},
		},
		{
			name: "what is suspended is restored",
			mutate: func(in *Input) {
				*in = settled(newDeclared(desiredtest.Needs("db", "cache")))
				in.Dependencies = map[string]Dependency{"db": ready, "cache": ready}
				suspend(in)
			},
			actions: []Action{{Verb: Restore, Sandbox: "box", Class: classInPlace, Reason: "the declared state is Running and the sandbox was suspended"}},
		},
	})
}
