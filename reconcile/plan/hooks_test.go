package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

func hookPhase(in *Input, name string, phase observed.HookPhase) {
	containerOf(in, name).HookPhase = phase
}

// beginning is an instance of app whose command was not started yet.
func beginning(in *Input, phase observed.HookPhase) {
	c := containerOf(in, "app")
	c.ID, c.State, c.ContainerRecord.State, c.StartedAt = "box.app.2", observed.Creating, observed.Creating, time.Time{}
	c.Gofer, c.GoferRun, c.KeeperRun, c.HookPhase = observed.Process{}, observed.None, observed.None, phase
	in.Observed.Scores = []observed.Score{in.Observed.Scores[0], in.Observed.Scores[2]}
	recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.Fresh, cm.Seen = true, cm.Live })
}

func release(name, id, why string) Action {
	return Action{Verb: Release, Sandbox: "box", Container: name, ContainerID: id, Sentry: sentry, Reason: why + ", and hooks are to be run after it"}
}

func TestPlanHooks(t *testing.T) {
	changed := func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} }
	hasEnded := func(name string) Action {
		return release(name, "box."+name+".1", `container "`+name+`" has ended`)
	}
	notWanted := release("app", "box.app.2", `this instance of container "app" is not to be started any more`)
	failed := observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0.Add(-time.Second)}
	run(t, []row{
		{name: "those before the command run: it waits", mutate: func(in *Input) { beginning(in, observed.HooksCreating) }},
		{
			name: "they run, and the sandbox is to be paused: it waits too",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.State(desired.Paused))
				in.Memory.SpecHash = in.Desired.WorkHash
				beginning(in, observed.HooksCreating)
			},
		},
		{
			name:    "they have succeeded",
			mutate:  func(in *Input) { beginning(in, observed.HooksCreated) },
			actions: []Action{start("app", "box.app.2", `the hooks before the command of container "app" have succeeded`)},
		},
		{
			name: "they run for what is declared no more",
			mutate: func(in *Input) {
				redeclare(in, changed)
				in.Memory.SpecHash = in.Desired.WorkHash
				beginning(in, observed.HooksCreating)
				recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.Hash = in.Desired.ContainerHash[0] })
			},
			actions: []Action{notWanted},
		},
		{
			name: "they have succeeded for what is declared no more",
			mutate: func(in *Input) {
				redeclare(in, changed)
				in.Memory.SpecHash = in.Desired.WorkHash
				beginning(in, observed.HooksCreated)
				recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.Hash = in.Desired.ContainerHash[0] })
			},
			actions: []Action{notWanted},
		},
		{
			name:    "an earlier daemon was killed while they ran",
			mutate:  func(in *Input) { beginning(in, observed.HooksOwed) },
			actions: []Action{notWanted},
		},
		{
			name:    "ended: those after it come before the restart",
			mutate:  func(in *Input) { end(in, "app", 3, time.Second); hookPhase(in, "app", observed.HooksOwed) },
			actions: []Action{hasEnded("app")},
			memory:  counted(failed, nil),
		},
		{
			name:    "ended while those after the start ran",
			mutate:  func(in *Input) { end(in, "app", 3, time.Second); hookPhase(in, "app", observed.HooksStarted) },
			actions: []Action{hasEnded("app")},
			memory:  counted(failed, nil),
		},
		{
			name:    "ended and in back-off: at once",
			mutate:  func(in *Input) { waiting(in, 9, time.Second); hookPhase(in, "app", observed.HooksOwed) },
			actions: []Action{hasEnded("app")},
		},
		{
			name: "ended for good: before the sandbox is stopped",
			mutate: func(in *Input) {
				finish(in)
				hookPhase(in, "app", observed.HooksOwed)
			},
			actions: []Action{hasEnded("app")},
		},
		{
			name: "they run: neither is it started nor the sandbox stopped",
			mutate: func(in *Input) {
				finish(in)
				hookPhase(in, "app", observed.HooksStopping)
			},
		},
		{
			name:   "they run, and the restart is due",
			mutate: func(in *Input) { waiting(in, 1, time.Second); hookPhase(in, "app", observed.HooksStopping) },
		},
		{
			name: "frozen: they rest",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.State(desired.Paused))
				in.Memory.SpecHash = in.Desired.WorkHash
				freeze(in)
				waiting(in, 1, time.Second)
				hookPhase(in, "app", observed.HooksOwed)
			},
		},
		{
			name: "declared no more, ended",
			mutate: func(in *Input) {
				without(in)
				end(in, "web", 0, 0)
				hookPhase(in, "web", observed.HooksOwed)
			},
			actions: []Action{hasEnded("web")},
		},
		{
			name: "changed, and its time is over: killed, as they come before the next start",
			mutate: func(in *Input) {
				redeclare(in, changed)
				in.Memory.SpecHash = in.Desired.WorkHash
				recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.Hash = in.Desired.ContainerHash[0] })
				asked(false, "app")(&in.Memory)
				recall(&in.Memory, "app", func(cm *ContainerMemory) { cm.StopAsked = t0.Add(-31 * time.Second) })
				hookPhase(in, "app", observed.HooksOwed)
			},
			actions: []Action{{Verb: Kill, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Class: classContainer,
				Reason: `container "app" was changed: args; its grace period of 30s is over`}},
		},
		{
			name: "declared no more, and its time is over: killed",
			mutate: func(in *Input) {
				without(in)
				asked(false, "web")(&in.Memory)
				recall(&in.Memory, "web", func(cm *ContainerMemory) { cm.StopAsked = t0.Add(-31 * time.Second) })
				hookPhase(in, "web", observed.HooksOwed)
			},
			actions: []Action{{Verb: Kill, Sandbox: "box", Container: "web", ContainerID: "box.web.1", Sentry: sentry, Class: classContainer,
				Reason: `container "web" is declared no more; its grace period of 30s is over`}},
		},
		{
			name: "declared no more, they run: its record stays",
			mutate: func(in *Input) {
				without(in)
				end(in, "web", 0, 0)
				hookPhase(in, "web", observed.HooksStopping)
			},
		},
		{
			name: "nothing is declared and nothing runs: they are run first",
			mutate: func(in *Input) {
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				hookPhase(in, "app", observed.HooksOwed)
				undeclare(in)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry,
				Reason: "the sandbox is declared no more; nothing runs in it that could be asked to end, and hooks are to be run first"}},
		},
		{
			name: "nothing is declared and they run: the records stay",
			mutate: func(in *Input) {
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				hookPhase(in, "app", observed.HooksStopping)
				undeclare(in)
			},
		},
		{
			name: "nothing is declared, and what is suspended is owed some",
			mutate: func(in *Input) {
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				in.Observed.Image = &observed.Image{Containers: []observed.ContainerRecord{{Name: "app", HookPhase: observed.HooksOwed}}}
				in.Observed.Containers = nil
				undeclare(in)
			},
			actions: []Action{{Verb: Discard, Sandbox: "box", Sentry: sentry, Reason: "the sandbox is declared no more; it is suspended, so nothing runs in it " +
				"that could be asked to end, and hooks are to be run first: the checkpoint is discarded"}},
		},
		{
			name: "the same, and it is being restored: that is ended first",
			mutate: func(in *Input) {
				recordState(in, observed.SandboxRestoring)
				in.Observed.Image = &observed.Image{Containers: []observed.ContainerRecord{{Name: "app", HookPhase: observed.HooksOwed}}}
				in.Observed.Containers = nil
				undeclare(in)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry,
				Reason: "the sandbox is declared no more; it is suspended, so nothing runs in it that could be asked to end, and hooks are to be run first"}},
		},
		{
			name: "Stopped: what was not run yet is",
			mutate: func(in *Input) {
				atRest(in)
				hookPhase(in, "app", observed.HooksOwed)
			},
			actions: []Action{hasEnded("app")},
		},
		{
			name: "Stopped, and they run",
			mutate: func(in *Input) {
				atRest(in)
				hookPhase(in, "app", observed.HooksStopping)
			},
		},
	})
}

// without declares app alone.
func without(in *Input) {
	redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
	in.Memory.SpecHash = in.Desired.WorkHash
	in.Observed.Record.LimitsHash = in.Desired.LimitsHash
}

// atRest is a sandbox that is declared Stopped, and is.
func atRest(in *Input) {
	redeclare(in, desiredtest.State(desired.Stopped))
	in.Memory.SpecHash = in.Desired.WorkHash
	for _, name := range []string{"app", "web"} {
		end(in, name, 0, time.Minute)
		e := *containerOf(in, name).Exit
		recall(&in.Memory, name, func(c *ContainerMemory) {
			c.Seen, c.StartedAt, c.Exit, c.Fresh = c.Live, startedAt, &e, true
		})
	}
	noProcess(in)
	recordState(in, observed.SandboxStopped)
}
