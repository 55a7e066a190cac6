package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// initializing is the base case while the first of so many init containers
// have succeeded: nothing else was started. It is the world in which nothing
// runs at the moment.
func initializing(in *Input, done int, changes ...func(*desired.Sandbox)) {
	*in = settled(newDeclared(append([]func(*desired.Sandbox){desiredtest.Init}, changes...)...))
	in.Observed.Containers = nil
	in.Observed.Scores = []observed.Score{{PID: sentry.PID, Value: 100}}
	for name := range in.Memory.Containers {
		recall(&in.Memory, name, func(c *ContainerMemory) { c.Live, c.LiveAt, c.MemoryLimit = "", time.Time{}, 0 })
	}
	in.Memory.InitIn, in.Memory.InitDone = sentry, done
	for i := range in.Desired.Init {
		name := in.Desired.Init[i].Name
		in.Memory.Containers[name] = ContainerMemory{Hash: in.Desired.InitHash[i], Fresh: true}
		if i < done {
			initRuns(in, name)
			initEnds(in, name, 0)
			in.Observed.Scores[0].Value = 200
		}
	}
}

// initialized is the base case with all init containers done.
func initialized(in *Input, changes ...func(*desired.Sandbox)) {
	var before Input
	initializing(&before, 2, changes...)
	*in = settled(before.Desired)
	in.Observed.Containers = append(in.Observed.Containers, before.Observed.Containers...)
	in.Memory.InitIn, in.Memory.InitDone = sentry, 2
	for _, name := range []string{"make", "fill"} {
		in.Memory.Containers[name] = before.Memory.Containers[name]
	}
}

// initRuns has an init container run that was seen to.
func initRuns(in *Input, name string) {
	_, hash := in.Desired.Container(name)
	c := observed.Container{State: observed.Running, GoferRun: observed.Alive, KeeperRun: observed.Alive}
	c.Sandbox, c.Name, c.ID, c.Attempt, c.Hash, c.State, c.StartedAt = "box", name, "box."+name+".1", 1, hash, observed.Running, startedAt
	c.ContainerRecord.State = observed.Running
	in.Observed.Containers = append(in.Observed.Containers, c)
	recall(&in.Memory, name, func(cm *ContainerMemory) { cm.Live, cm.LiveAt, cm.Fresh = c.ID, startedAt, false })
}

// initEnds has it end, which was seen too.
func initEnds(in *Input, name string, code int) {
	end(in, name, code, time.Minute)
	exit := containerOf(in, name).Exit
	recall(&in.Memory, name, func(cm *ContainerMemory) {
		cm.Seen, cm.Exit, cm.StartedAt, cm.Attempts = cm.Live, exit, startedAt, 1
	})
}

func TestPlanInit(t *testing.T) {
	run(t, []row{
		{
			name: "a new sandbox: the first one",
			mutate: func(in *Input) {
				initializing(in, 0)
				in.Memory.InitIn, in.Memory.RanIn = observed.Process{}, observed.Process{}
				in.Memory.Containers["make"] = ContainerMemory{Hash: in.Desired.InitHash[0]}
			},
			actions: []Action{start("make", "", `first start of container "make"`)},
			memory: func(m *Memory) {
				m.InitIn, m.RanIn = sentry, sentry
				recall(m, "make", func(c *ContainerMemory) { c.Fresh = true })
			},
		},
		{
			name: "one that runs is waited for",
			mutate: func(in *Input) {
				initializing(in, 0)
				initRuns(in, "make")
			},
		},
		{
			name: "one that runs has its gofer replaced",
			mutate: func(in *Input) {
				initializing(in, 0)
				initRuns(in, "make")
				containerOf(in, "make").GoferRun = observed.Gone
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "make", ContainerID: "box.make.1", Sentry: sentry,
				Reason: `the gofer of container "make" (process 0) died; the container runs on`}},
		},
		{
			name:    "success: the next one, and its score counts no more",
			mutate:  func(in *Input) { initializing(in, 1) },
			actions: []Action{start("fill", "", `first start of container "fill"`)},
		},
		{
			name: "its score counts no more",
			mutate: func(in *Input) {
				initializing(in, 1)
				initRuns(in, "fill")
				in.Observed.Scores[0].Value = 100
			},
			actions: []Action{{Verb: SetOOMScore, Sandbox: "box", Sentry: sentry, Class: classInPlace, InitDone: 1,
				Reason: "process 4711 of the sandbox had the OOM score 100 and not 200 (declared)"}},
		},
		{
			name:   "all have succeeded: the containers",
			mutate: func(in *Input) { initializing(in, 2); in.Memory.InitDone = 1 },
			actions: []Action{
				start("app", "", `first start of container "app"`),
				start("web", "", `first start of container "web"`),
			},
			memory: func(m *Memory) { m.InitDone = 2 },
		},
		{
			name: "failure: once more at once, and nothing else",
			mutate: func(in *Input) {
				initializing(in, 1)
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
			},
			actions: []Action{start("fill", "box.fill.1", `container "fill" ended with exit code 3; restart 1 at once`)},
		},
		{
			name: "failure again: back-off",
			mutate: func(in *Input) {
				initializing(in, 1)
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
				recall(&in.Memory, "fill", func(c *ContainerMemory) { c.Attempts, c.NextStart = 3, t0.Add(time.Second) })
			},
			again: time.Second,
		},
		{
			name: "a changed declaration pre-empts its back-off",
			mutate: func(in *Input) {
				initializing(in, 1)
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
				recall(&in.Memory, "fill", func(c *ContainerMemory) { c.NextStart = t0.Add(time.Second) })
				in.Memory.SpecHash = "old"
			},
			actions: []Action{start("fill", "box.fill.1", `container "fill" ended with exit code 3; restart 1 at once`)},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Init).WorkHash
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Attempts, c.NextStart = 0, time.Time{} })
				}
			},
		},
		{
			name: "failure under Never: nothing more",
			mutate: func(in *Input) {
				initializing(in, 1, func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never })
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: `init container "fill" has failed and is not to run again`}},
		},
		{
			name: "failed for good, and stopped: stays so",
			mutate: func(in *Input) {
				initializing(in, 1, func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never })
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
				noProcess(in)
				recordState(in, observed.SandboxStopped)
			},
		},
		{
			name: "failed for good, and lost with the host: stays so",
			mutate: func(in *Input) {
				initializing(in, 1, func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never })
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
				in.Observed = observed.Sandbox{Name: "box"}
			},
		},
		{
			name:   "all is as declared",
			mutate: func(in *Input) { initialized(in) },
		},
		{
			name: "one container ended: it alone",
			mutate: func(in *Input) {
				initialized(in)
				end(in, "app", 1, time.Second)
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.Seen, c.Exit, c.StartedAt, c.Attempts = c.Live, containerOf(in, "app").Exit, startedAt, 1
				})
			},
			actions: []Action{start("app", "box.app.1", `container "app" ended with exit code 1; restart 1 at once`)},
		},
		{
			name: "a torn record of one whose turn is over is removed",
			mutate: func(in *Input) {
				initialized(in)
				in.Observed.Containers = in.Observed.Containers[:3] // without fill
				in.Observed.BrokenContainers = map[string]string{"fill": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Remove, Sandbox: "box", Container: "fill", Sentry: sentry,
				Reason: `the record of init container "fill" can't be used (torn), and its turn is over`}},
		},
		{
			name: "memory was lost: where containers run there is nothing to make up for",
			mutate: func(in *Input) {
				initialized(in)
				in.Memory.InitIn, in.Memory.InitDone = observed.Process{}, 0
			},
			memory: func(m *Memory) {
				m.InitIn, m.InitDone = sentry, 2
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Fresh = true })
				}
			},
		},
		{
			name: "memory was lost: where the second one runs the first has succeeded",
			mutate: func(in *Input) {
				initializing(in, 1)
				initRuns(in, "fill")
				in.Memory.InitIn, in.Memory.InitDone = observed.Process{}, 0
			},
			memory: func(m *Memory) {
				m.InitIn, m.InitDone = sentry, 1
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Fresh = true })
				}
			},
		},
		{
			name: "made anew: all of them again",
			mutate: func(in *Input) {
				initializing(in, 2)
				in.Memory.InitIn = webGofer // any other process
				in.Observed.Scores[0].Value = 100
			},
			actions: []Action{start("make", "box.make.1", `init container "make" is to run before the containers are started`)},
			memory: func(m *Memory) {
				m.InitIn, m.InitDone = sentry, 0
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Fresh = true })
				}
			},
		},
		{
			name: "restored: none of them",
			mutate: func(in *Input) {
				initialized(in)
				in.Memory.InitIn = webGofer
				in.Observed.Record.Restored = true
			},
			memory: func(m *Memory) { m.InitIn = sentry },
		},
		{
			name: "restored while the first one ran: it goes on",
			mutate: func(in *Input) {
				initializing(in, 0)
				initRuns(in, "make")
				in.Memory.InitIn = webGofer
				in.Observed.Record.Restored = true
			},
			memory: func(m *Memory) { m.InitIn = sentry },
		},
		{
			name: "changed: the sandbox is made anew",
			mutate: func(in *Input) {
				initialized(in)
				in.Desired = newDeclared(desiredtest.Init, func(s *desired.Sandbox) {
					s.Spec.InitContainers[1].Args = []string{"x"}
					s.Spec.TerminationGracePeriodSeconds = new(int64(0))
				})
				in.Memory.SpecHash, in.Memory.GraceSeconds = in.Desired.WorkHash, new(int64(0))
				recall(&in.Memory, "fill", func(c *ContainerMemory) { c.Hash, c.Attempts = in.Desired.InitHash[1], 0 })
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classSandbox, Reason: "the sandbox was changed: initContainers[fill].args; it has no grace period"}},
			memory: func(m *Memory) {
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.StopID, c.StopAsked = c.Live, t0 })
				}
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Fresh, c.Attempts = true, 0 })
				}
			},
		},
		{
			name: "paused while one runs",
			mutate: func(in *Input) {
				initializing(in, 1, desiredtest.State(desired.Paused))
				initRuns(in, "fill")
			},
			actions: []Action{{Verb: Pause, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Paused"}},
		},
		{
			name: "suspended while one runs",
			mutate: func(in *Input) {
				initializing(in, 1, desiredtest.State(desired.Suspended))
				initRuns(in, "fill")
			},
			actions: []Action{{Verb: Suspend, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Suspended"}},
		},
		{
			name: "created: none is started",
			mutate: func(in *Input) {
				initializing(in, 0, desiredtest.State(desired.Created))
				in.Memory.RanIn = observed.Process{}
			},
		},
		{
			name: "stopped while one runs",
			mutate: func(in *Input) {
				initializing(in, 0, desiredtest.State(desired.Stopped))
				initRuns(in, "make")
			},
			actions: []Action{signal("make", "SIGTERM", whyStopped+`; container "make" has 30s to end`, classInPlace)},
			memory: func(m *Memory) {
				m.StopAsked = t0
				recall(m, "make", func(c *ContainerMemory) { c.StopID, c.StopAsked = "box.make.1", t0 })
			},
			again: 30 * time.Second,
		},
		{
			name: "a restart of the sandbox was asked for",
			mutate: func(in *Input) {
				initialized(in)
				in.Memory = Renew([]string{"app", "web"}, t0.Add(-time.Second))(in.Memory)
			},
			actions: []Action{
				signal("app", "SIGINT", whyRenewed+`; container "app" has 30s to end`, ""),
				signal("web", "SIGTERM", whyRenewed+`; container "web" has 30s to end`, ""),
			},
			memory: func(m *Memory) {
				m.StopAsked = t0
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.StopID, c.StopAsked = c.Live, t0 })
				}
			},
			again: 30 * time.Second,
		},
		{
			name: "a restart was asked for, and one had failed for good: all again",
			mutate: func(in *Input) {
				initializing(in, 1, func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never })
				initRuns(in, "fill")
				initEnds(in, "fill", 3)
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				in.Memory = Renew(nil, t0.Add(-time.Second))(in.Memory)
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the declared state is Running and no process was left"}},
			memory: func(m *Memory) {
				m.RestartAsked = time.Time{}
				for _, name := range []string{"make", "fill"} {
					recall(m, name, func(c *ContainerMemory) { c.Fresh, c.Attempts = true, 0 })
				}
			},
		},
	})
}
