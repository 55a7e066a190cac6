package plan

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

var (
	t0        = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // when Decide is called
	createdAt = t0.Add(-time.Hour)
	startedAt = t0.Add(-59 * time.Minute)

	sentry   = observed.Process{PID: 4711, StartTime: 100}
	appGofer = observed.Process{PID: 4710, StartTime: 99}
	webGofer = observed.Process{PID: 4712, StartTime: 101}
)

func newDeclared(changes ...func(*desired.Sandbox)) *Declared {
	return Declare(desiredtest.Sandbox(changes...))
}

// settled is the world in which d, a Running sandbox, is as declared, and
// what is remembered then.
func settled(d *Declared) Input {
	in := Input{
		Now: t0, Name: d.Name, Desired: d,
		Observed: observed.Sandbox{
			Name: d.Name,
			Record: &observed.Record{
				Version: observed.RecordVersion, Name: d.Name, Runtime: d.Spec.Runtime, State: observed.SandboxUp,
				SandboxHash: d.SandboxHash, Fields: d.Fields(), LimitsHash: d.LimitsHash, Cgroup: "/sandboxer/box",
				Sentry: sentry, OriginalOOMScoreAdj: 0, CreatedAt: createdAt,
			},
			Sentry:       observed.Alive,
			CgroupExists: true, CgroupProcs: 4,
			Scores: []observed.Score{
				{PID: sentry.PID, Value: 200},
				{PID: appGofer.PID, Container: "app", Value: 200},
				{PID: webGofer.PID, Container: "web", Value: 0},
			},
		},
		Memory: Memory{
			Containers:   map[string]ContainerMemory{},
			GraceSeconds: new(int64(30)),
			SpecHash:     d.WorkHash,
			Identity:     d.Identity,
			RanIn:        sentry,
		},
	}
	for i, c := range d.Spec.Containers {
		in.Observed.Containers = append(in.Observed.Containers, observed.Container{
			ContainerRecord: observed.ContainerRecord{
				Version: observed.RecordVersion, Sandbox: d.Name, Name: c.Name, ID: "box." + c.Name + ".1", Attempt: 1,
				Hash: d.ContainerHash[i], Fields: c.Fields(), State: observed.Running, StartedAt: startedAt,
				Gofer: map[string]observed.Process{"app": appGofer, "web": webGofer}[c.Name],
			},
			State: observed.Running, GoferRun: observed.Alive, KeeperRun: observed.Alive,
		})
		in.Memory.Containers[c.Name] = ContainerMemory{
			Hash: d.ContainerHash[i], StopSignal: c.Lifecycle.StopSignal, Live: "box." + c.Name + ".1", LiveAt: startedAt,
			MemoryLimit: d.Spec.Containers[i].MemoryLimit(),
		}
	}
	return in
}

// The mutations of the base case.

func redeclare(in *Input, changes ...func(*desired.Sandbox)) { in.Desired = newDeclared(changes...) }

func undeclare(in *Input) { in.Desired = nil }

// nothingThere is a host on which the sandbox never was.
func nothingThere(in *Input) {
	in.Observed = observed.Sandbox{Name: in.Name}
	in.Memory = Memory{}
}

func recordState(in *Input, s observed.SandboxState) { in.Observed.Record.State = s }

func freeze(in *Input) {
	recordState(in, observed.SandboxPaused)
	for i := range in.Observed.Containers {
		in.Observed.Containers[i].State = observed.Paused
	}
}

// noProcess takes every process away, as the host sees it.
func noProcess(in *Input) {
	o := &in.Observed
	o.Sentry, o.CgroupExists, o.CgroupProcs, o.Scores = observed.Gone, false, 0, nil
	for i := range o.Containers {
		o.Containers[i].State, o.Containers[i].GoferRun, o.Containers[i].KeeperRun = observed.Stopped, observed.Gone, observed.None
	}
}

// end has a container end at t0 − ago.
func end(in *Input, name string, code int, ago time.Duration) {
	endWith(in, name, observed.Exit{Known: true, Code: code, Reason: map[bool]string{true: "Completed", false: "Error"}[code == 0], At: t0.Add(-ago)})
}

func endWith(in *Input, name string, e observed.Exit) {
	c := containerOf(in, name)
	c.State, c.ContainerRecord.State, c.Exit, c.GoferRun, c.KeeperRun = observed.Stopped, observed.Stopped, &e, observed.Gone, observed.None
	in.Observed.Scores = slices.DeleteFunc(in.Observed.Scores, func(s observed.Score) bool { return s.Container == name })
}

func containerOf(in *Input, name string) *observed.Container {
	for i := range in.Observed.Containers {
		if in.Observed.Containers[i].Name == name {
			return &in.Observed.Containers[i]
		}
	}
	panic("no container " + name)
}

func recall(m *Memory, name string, change func(*ContainerMemory)) {
	cm := m.Containers[name]
	change(&cm)
	m.Containers[name] = cm
}

func cloneMemory(m Memory) Memory {
	m.Containers = maps.Clone(m.Containers)
	return m
}

// diff says how two values differ, line by line of their JSON; empty where
// they are deeply equal.
func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	var b strings.Builder
	w, g := lines(want), lines(got)
	for _, line := range w {
		if !slices.Contains(g, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	if b.Len() == 0 {
		b.WriteString("they differ in order, or in what JSON does not show:\n" + strings.Join(w, "\n") + "\n" + strings.Join(g, "\n"))
	}
	return b.String()
}

func lines(v any) []string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Split(string(b), "\n")
}

// checkPlan plans and compares the whole result; memory nil: unchanged.
func checkPlan(t *testing.T, in Input, actions []Action, memory func(*Memory), again time.Duration, conditions []Condition, notices []Notice) {
	t.Helper()
	before := cloneMemory(in.Memory)
	want := Result{Actions: actions, Memory: cloneMemory(in.Memory), Conditions: conditions, Notices: notices}
	if memory != nil {
		memory(&want.Memory)
	}
	if d := in.Desired; d != nil && want.Memory.SpecHash == d.WorkHash {
		want.Memory.Identity = d.Identity // both are noted at once
	}
	if again != 0 {
		want.Again = t0.Add(again)
	}
	got := Decide(in)
	mark := got.MemoryMark
	got.MemoryMark = 0 // has tests of its own
	if d := diff(want, got); d != "" {
		t.Errorf("the result is not the expected one (- expected, + got):\n%s", d)
	}
	if d := diff(before, in.Memory); d != "" {
		t.Errorf("the input's memory was changed:\n%s", d)
	}
	got.MemoryMark = mark
	if d := diff(got, Decide(in)); d != "" {
		t.Errorf("the same input planned twice differs:\n%s", d)
	}
}
