package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// anyInput draws worlds that need make no sense.
func anyInput(t *rapid.T) Input {
	d := Declare(desiredtest.Any(t))
	in := settled(d)
	in.Blind = rapid.IntRange(0, 9).Draw(t, "blind") == 0
	in.Held = rapid.IntRange(0, 4).Draw(t, "held") == 0
	if rapid.IntRange(0, 4).Draw(t, "undeclared") == 0 {
		in.Desired = nil
	}
	o := &in.Observed
	o.Record.State = rapid.SampledFrom([]observed.SandboxState{
		observed.SandboxUp, observed.SandboxUp, observed.SandboxUp, observed.SandboxCreating, observed.SandboxPausing, observed.SandboxPaused,
		observed.SandboxResuming, observed.SandboxSaving, observed.SandboxRestoring, observed.SandboxStopping, observed.SandboxStopped, "unheard-of",
	}).Draw(t, "record")
	o.Sentry = rapid.SampledFrom([]observed.Liveness{observed.Alive, observed.Alive, observed.Gone, observed.None}).Draw(t, "sentry")
	o.Unresponsive = rapid.IntRange(0, 5).Draw(t, "silent") == 0
	if rapid.Bool().Draw(t, "outdated") {
		o.Record.SandboxHash = "old"
	}
	if rapid.IntRange(0, 4).Draw(t, "limits") == 0 {
		o.Record.LimitsHash = "old"
	}
	if rapid.IntRange(0, 4).Draw(t, "broken") == 0 {
		o.Record, o.Broken = nil, rapid.SampledFrom([]string{"", "torn"}).Draw(t, "why")
	}
	for i := range o.Containers {
		c := &o.Containers[i]
		c.State = rapid.SampledFrom([]observed.ContainerState{observed.Running, observed.Running, observed.Creating, observed.Created, observed.Paused, observed.Stopped}).Draw(t, "container")
		c.GoferRun = rapid.SampledFrom([]observed.Liveness{observed.Alive, observed.Alive, observed.Gone, observed.None}).Draw(t, "gofer")
		c.KeeperRun = rapid.SampledFrom([]observed.Liveness{observed.Alive, observed.Alive, observed.Gone, observed.None}).Draw(t, "keeper")
		if c.State == observed.Stopped {
			c.Exit = rapid.SampledFrom([]*observed.Exit{nil, {Known: true, At: t0}, {Known: true, Code: 1, Reason: "Error", At: t0.Add(-time.Minute)}}).Draw(t, "exit")
		}
		c.HookPhase = rapid.SampledFrom([]observed.HookPhase{"", "", "", observed.HooksCreating, observed.HooksCreated, observed.HooksStarted, observed.HooksOwed, observed.HooksStopping}).Draw(t, "hooks")
		if rapid.IntRange(0, 3).Draw(t, "hash") == 0 {
			c.Hash = "old"
		}
		c.ID = fmt.Sprintf("box.%s.%d", c.Name, rapid.IntRange(1, 2).Draw(t, "attempt"))
		anyContainerMemory(t, &in.Memory, c.Name)
		c.PreStop = rapid.SampledFrom([]observed.PreStop{observed.PreStopNone, observed.PreStopRuns, observed.PreStopOver}).Draw(t, "doing before")
	}
	o.Memory = observed.Memory{
		UsageBytes: rapid.Int64Range(0, 300<<20).Draw(t, "usage"), PeakBytes: 300 << 20, LimitBytes: 300 << 20,
		Kills: rapid.Uint64Range(0, 2).Draw(t, "kills"), KilledPID: rapid.SampledFrom([]int{0, sentry.PID, appGofer.PID, 5}).Draw(t, "killed"),
	}
	if rapid.Bool().Draw(t, "asked for memory") {
		o.Memory.Containers = map[string]int64{"box.app.1": rapid.Int64Range(0, 200<<20).Draw(t, "used"), "box.web.2": 1}
	}
	if rapid.Bool().Draw(t, "told of a kill") {
		in.Memory.OOMKills, in.Memory.OOMSentry, in.Memory.OOMSeen = 1, sentry, anyTime(t, "kill seen")
	}
	if rapid.IntRange(0, 3).Draw(t, "torn") == 0 && len(o.Containers) > 0 {
		o.BrokenContainers = map[string]string{o.Containers[0].Name: "torn", "gone": "torn"}
		o.Containers = o.Containers[1:]
	}
	if rapid.IntRange(0, 3).Draw(t, "extra") == 0 {
		c := observed.Container{State: observed.Running, GoferRun: observed.Alive, KeeperRun: observed.Alive}
		c.Name, c.ID = "extra", "box.extra.1"
		o.Containers = append(o.Containers, c)
	}
	if rapid.IntRange(0, 2).Draw(t, "image") == 0 {
		o.Image = anyImage(t, d)
	}
	in.Memory.SpecHash = rapid.SampledFrom([]string{d.WorkHash, "", "old"}).Draw(t, "spec")
	in.Memory.Identity = rapid.SampledFrom([]string{d.Identity, "", "old"}).Draw(t, "identity")
	in.Memory.UnresponsiveSince = anyTime(t, "silence")
	in.Memory.StopAsked = anyTime(t, "stop")
	in.Memory.NextCreate = anyTime(t, "next create")
	in.Memory.CreateFailures = rapid.IntRange(0, 3).Draw(t, "failures")
	in.Memory.RestartAsked = anyTime(t, "restart asked")
	in.Memory.InitIn = rapid.SampledFrom([]observed.Process{{}, sentry, appGofer}).Draw(t, "initialized in")
	in.Memory.InitDone = rapid.IntRange(0, 3).Draw(t, "init containers done")
	in.Dependencies = anyDependencies(t)
	return in
}

func anyDependencies(t *rapid.T) map[string]Dependency {
	known := map[string]Dependency{}
	for _, name := range []string{"db", "cache"} {
		if rapid.Bool().Draw(t, name+" is declared") {
			known[name] = Dependency{Ready: rapid.Bool().Draw(t, name+" is ready"), Phase: "Pending"}
		}
	}
	return known
}

func anyImage(t *rapid.T, d *Declared) *observed.Image {
	image := &observed.Image{Sandbox: d.Name, CreatedAt: createdAt}
	spec := d.Spec
	switch rapid.IntRange(0, 4).Draw(t, "what is wrong with it") {
	case 0:
		image.Unusable = "torn"
	case 1:
		spec.Hostname = "another"
	}
	image.Spec, _ = json.Marshal(spec) // plain data
	if rapid.Bool().Draw(t, "owed hooks") {
		image.Containers = []observed.ContainerRecord{{Name: "app", HookPhase: observed.HooksOwed}}
	}
	return image
}

func anyContainerMemory(t *rapid.T, m *Memory, name string) {
	recall(m, name, func(c *ContainerMemory) {
		c.Live = rapid.SampledFrom([]string{"", "box." + name + ".1", "box." + name + ".2"}).Draw(t, "live")
		if rapid.Bool().Draw(t, "seen") && c.Live != "" {
			c.Seen, c.Exit = c.Live, &observed.Exit{Known: rapid.Bool().Draw(t, "known"), Code: rapid.IntRange(0, 1).Draw(t, "code"), At: t0}
		}
		c.Fresh = rapid.Bool().Draw(t, "fresh")
		c.Attempts = rapid.IntRange(0, 12).Draw(t, "attempts")
		c.NextStart = anyTime(t, "next start")
		if rapid.Bool().Draw(t, "asked") {
			c.StopID, c.StopAsked = "box."+name+".1", anyTime(t, "asked at")
			if !c.StopAsked.IsZero() {
				c.PreStopping = rapid.SampledFrom([]string{"", c.StopID}).Draw(t, "before the signal")
			}
			c.SignalledAt = anyTime(t, "signalled at")
		}
		c.Health.Failed = rapid.SampledFrom([]string{"", LivenessProbe, StartupProbe}).Draw(t, "failed")
	})
}

func anyTime(t *rapid.T, label string) time.Time {
	return rapid.SampledFrom([]time.Time{{}, t0.Add(-time.Hour), t0.Add(-10 * time.Second), t0, t0.Add(10 * time.Second), t0.Add(year)}).Draw(t, label)
}

// TestPlanProperties holds Decide to its promises on worlds that make no sense
// as well as on those that do.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		memory := cloneMemory(in.Memory)
		r := Decide(in)

		if again := Decide(in); !reflect.DeepEqual(r, again) {
			t.Fatalf("the same input gives another result:\n%s", diff(r, again))
		}
		if !reflect.DeepEqual(memory, in.Memory) {
			t.Fatalf("the input was changed:\n%s", diff(memory, in.Memory))
		}
		if in.Blind && (len(r.Actions) > 0 || !r.Memory.Equal(in.Memory) || r.Again.IsZero()) {
			t.Fatalf("blind, and yet: %+v", r)
		}
		if in.Held && in.Desired == nil && (len(r.Actions) > 0 || !r.Memory.Equal(in.Memory)) {
			t.Fatalf("held, and yet: %+v", r)
		}
		checkActions(t, in, r)

		shuffled := in
		shuffled.Observed.Containers = rapid.Permutation(in.Observed.Containers).Draw(t, "observed order")
		if d := in.Desired; d != nil && d.Spec.State != desired.Paused && d.Spec.State != desired.Suspended {
			// Thawing is explained by the first container that needs it, so
			// that Paused has an order that shows.
			shuffled.Desired = reordered(d, rapid.Permutation(indices(len(d.Spec.Containers))).Draw(t, "declared order"))
		}
		if s := Decide(shuffled); !reflect.DeepEqual(r, s) {
			t.Fatalf("the order of containers matters:\n%s", diff(r, s))
		}

		in.Memory = r.Memory
		in.Observed.Containers = slices.Clone(in.Observed.Containers)
		for i := range in.Observed.Containers {
			c := &in.Observed.Containers[i]
			if slices.ContainsFunc(r.Actions, func(a Action) bool { return a.Verb == PreStop && a.Container == c.Name }) {
				c.PreStop = observed.PreStopRuns // what is begun goes on, whatever was before
			}
		}
		if second := Decide(in); !second.Memory.Equal(r.Memory) {
			t.Fatalf("the same world is counted twice:\n%s", diff(r.Memory, second.Memory))
		}
	})
}

func indices(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// reordered is d with its containers in another order and everything that
// identifies it as it was.
func reordered(d *Declared, order []int) *Declared {
	s, o := *d.Sandbox, *d
	o.Sandbox = &s
	s.Spec.Containers, o.ContainerHash = nil, nil
	for _, i := range order {
		s.Spec.Containers = append(s.Spec.Containers, d.Spec.Containers[i])
		o.ContainerHash = append(o.ContainerHash, d.ContainerHash[i])
	}
	return &o
}

// owes reports whether containers of a checkpoint are owed hooks.
func owes(image *observed.Image) bool {
	return image != nil && slices.ContainsFunc(image.Containers, func(c observed.ContainerRecord) bool { return c.HookPhase != "" })
}

// hooksBefore reports whether hooks run, or are to be run, of what an action
// would have forgotten.
func hooksBefore(in *Input, a Action) bool {
	if a.Verb == Destroy && owes(in.Observed.Image) {
		return true
	}
	return slices.ContainsFunc(in.Observed.Containers, func(c observed.Container) bool {
		ready := a.Verb == Start && c.HookPhase == observed.HooksCreated
		return (a.Container == "" || a.Container == c.Name) && c.HookPhase != "" && !ready
	})
}

// denies says of a reason that it denies what it is the reason for, once that is
// done: events show it behind "Started", "Created" and the like.
func denies(reason string) bool {
	return slices.ContainsFunc([]string{"not started", "not finished", "and not there", "could not be started;", "the sandbox is suspended",
		"no process is left", "are not those", "has no keeper", "in a row and"}, func(s string) bool { return strings.Contains(reason, s) })
}

// checkActions holds one result's actions to their form.
func checkActions(t *rapid.T, in Input, r Result) {
	if !r.Again.IsZero() && !r.Again.After(in.Now) {
		t.Fatalf("to be looked at again at %s, which is over", r.Again)
	}
	if r.Again.After(in.Now.Add(longest)) {
		t.Fatalf("to be looked at again at %s, longer than anything may wait", r.Again)
	}
	seen := map[string]bool{}
	for _, a := range r.Actions {
		switch {
		case denies(a.Reason):
			t.Fatalf("an event would say that it is done, and then that it is not: %+v", a)
		case a.Sandbox != in.Name || a.Reason == "":
			t.Fatalf("incomplete: %+v", a)
		case a.Container == "" && len(r.Actions) > 1:
			t.Fatalf("an action on the whole sandbox is not alone: %+v", r.Actions)
		case seen[a.Container]:
			t.Fatalf("two actions on one container: %+v", r.Actions)
		case a.Verb == Destroy && in.Desired != nil:
			t.Fatalf("what is declared is destroyed: %+v", a)
		case in.Desired == nil && (a.Verb == Create || a.Verb == Start || a.Verb == Pause || a.Verb == Suspend || a.Verb == Restore ||
			a.Verb == Discard && !owes(in.Observed.Image)):
			t.Fatalf("nothing is declared, and yet: %+v", a)
		case in.Observed.Image != nil && a.Verb != Stop && a.Verb != Destroy && a.Verb != Restore && a.Verb != Discard && a.Verb != ReplaceGofer && a.Verb != Mend:
			t.Fatalf("work in a sandbox that has a checkpoint: %+v", a)
		case a.Verb == Create && (in.Observed.Sentry == observed.Alive || in.Observed.CgroupProcs > 0):
			t.Fatalf("a second sentry: %+v", a)
		case (a.Verb == Destroy || a.Verb == Remove || a.Verb == Start) && hooksBefore(&in, a):
			t.Fatalf("hooks are to be run first: %+v", a)
		case a.Container != "" && a.Verb != ReplaceGofer && a.Verb != Keep && a.Verb != Release && a.Verb != Mend && in.Observed.Record != nil && in.Observed.Record.State != observed.SandboxUp:
			t.Fatalf("work in a sandbox that is not up: %+v", a)
		}
		if a.Verb == Start && in.Desired != nil {
			done := initDone(in.Desired, r.Memory)
			if i := slices.IndexFunc(in.Desired.Init, func(c desired.Container) bool { return c.Name == a.Container }); i >= 0 && i != done || i < 0 && done < len(in.Desired.Init) {
				t.Fatalf("out of turn, as %d init containers have succeeded: %+v", done, a)
			}
		}
		if a.Verb == Create || a.Verb == Restore && in.Observed.Sentry != observed.Alive {
			for _, name := range in.Desired.Spec.DependsOn {
				if in.Desired.Spec.State.Runs() && !in.Dependencies[name].Ready {
					t.Fatalf("%s is not ready, and yet: %+v", name, a)
				}
			}
		}
		seen[a.Container] = true
	}
	if !slices.IsSortedFunc(r.Actions, func(a, b Action) int {
		if a.Container < b.Container {
			return -1
		}
		return 1
	}) {
		t.Fatalf("not in order: %+v", r.Actions)
	}
}
