package plan

import (
	"fmt"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// row is the base case with one mutation, and the complete expected result.
type row struct {
	name       string
	mutate     func(in *Input)
	actions    []Action
	memory     func(m *Memory) // nil: as it was
	again      time.Duration   // after t0; 0: no need
	conditions []Condition
	notices    []Notice
}

func run(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			in := settled(newDeclared())
			if r.mutate != nil {
				r.mutate(&in)
			}
			checkPlan(t, in, r.actions, r.memory, r.again, r.conditions, r.notices)
		})
	}
}

func start(name, id, reason string) Action {
	return Action{Verb: Start, Sandbox: "box", Container: name, ContainerID: id, Sentry: sentry, Reason: reason}
}

func TestPlanSandbox(t *testing.T) {
	run(t, []row{
		{name: "nothing to do"},
		{
			name:   "nothing declared, nothing there",
			mutate: func(in *Input) { nothingThere(in); undeclare(in) },
		},
		{
			name:   "nothing declared, nothing there any more: memory goes",
			mutate: func(in *Input) { m := in.Memory; nothingThere(in); in.Memory = m; undeclare(in) },
			memory: func(m *Memory) { *m = Memory{} },
		},
		{
			name:    "create",
			mutate:  nothingThere,
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox is declared and was not there"}},
			memory: func(m *Memory) {
				d := newDeclared()
				*m = Memory{
					GraceSeconds: new(int64(30)), SpecHash: d.WorkHash,
					Containers: map[string]ContainerMemory{
						"app": {Hash: d.ContainerHash[0], StopSignal: "SIGINT"},
						"web": {Hash: d.ContainerHash[1], StopSignal: "SIGTERM"},
					},
				}
			},
		},
		{
			name: "creation failed, not yet due",
			mutate: func(in *Input) {
				m := in.Memory
				nothingThere(in)
				in.Memory = m
				in.Memory.Containers = map[string]ContainerMemory{"app": {Hash: m.Containers["app"].Hash, StopSignal: "SIGINT"}, "web": {Hash: m.Containers["web"].Hash, StopSignal: "SIGTERM"}}
				in.Memory.CreateFailures, in.Memory.NextCreate, in.Memory.LastError = 2, t0.Add(time.Second), "no space left"
			},
			again:      time.Second,
			conditions: []Condition{{CreateFailed, "CreateFailed", "no space left (failed 2 times in a row)"}},
		},
		{
			name: "creation failed, due",
			mutate: func(in *Input) {
				m := in.Memory
				nothingThere(in)
				in.Memory = m
				in.Memory.Containers = map[string]ContainerMemory{"app": {Hash: m.Containers["app"].Hash, StopSignal: "SIGINT"}, "web": {Hash: m.Containers["web"].Hash, StopSignal: "SIGTERM"}}
				in.Memory.CreateFailures, in.Memory.NextCreate, in.Memory.LastError = 1, t0, "no space left"
			},
			actions:    []Action{{Verb: Create, Sandbox: "box", Reason: "tried again after creating the sandbox failed once"}},
			conditions: []Condition{{CreateFailed, "CreateFailed", "no space left (failed once in a row)"}},
		},
		{
			name: "creation failed, not due, changed declaration pre-empts",
			mutate: func(in *Input) {
				nothingThere(in)
				in.Memory = Memory{GraceSeconds: new(int64(30)), SpecHash: "old", CreateFailures: 7, NextCreate: t0.Add(time.Minute), LastError: "bad", Losses: 3}
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox is declared and was not there"}},
			memory: func(m *Memory) {
				d := newDeclared()
				*m = Memory{
					GraceSeconds: new(int64(30)), SpecHash: d.WorkHash,
					Containers: map[string]ContainerMemory{
						"app": {Hash: d.ContainerHash[0], StopSignal: "SIGINT"},
						"web": {Hash: d.ContainerHash[1], StopSignal: "SIGTERM"},
					},
				}
			},
		},
		{
			name: "created: failures are forgotten",
			mutate: func(in *Input) {
				in.Memory.CreateFailures, in.Memory.NextCreate, in.Memory.LastError = 1, t0, "no space left"
			},
			memory: func(m *Memory) { m.CreateFailures, m.NextCreate, m.LastError = 0, time.Time{}, "" },
		},
		{
			name:       "blind",
			mutate:     func(in *Input) { in.Observed, in.Blind = observed.Sandbox{}, true },
			again:      2 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "LookFailed", "what runs of the sandbox can't be told; nothing is done until it can"}},
		},
		{
			name:       "blind and undeclared: memory stays",
			mutate:     func(in *Input) { in.Observed, in.Blind = observed.Sandbox{}, true; undeclare(in) },
			again:      2 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "LookFailed", "what runs of the sandbox can't be told; nothing is done until it can"}},
		},
		{
			name:   "held: absence is not acted upon",
			mutate: func(in *Input) { undeclare(in); in.Held = true },
		},
		{
			name:   "held and nothing there: memory stays",
			mutate: func(in *Input) { m := in.Memory; nothingThere(in); in.Memory = m; undeclare(in); in.Held = true },
		},
		{
			name:   "rejected document: the accepted one holds",
			mutate: func(in *Input) { in.Held = true },
		},
		{
			name: "rejected document: the accepted one is kept true",
			mutate: func(in *Input) {
				in.Held, in.Memory.MendFailed = true, true
				in.Observed.Containers = in.Observed.Containers[:1]
			},
			actions: []Action{start("web", "", `container "web" was lost with its sandbox; restart 1 at once`)},
			memory:  missed("web"),
		},
		{
			name: "half-made sandbox",
			mutate: func(in *Input) {
				recordState(in, observed.SandboxCreating)
				in.Observed.Containers = nil
				forgetLive(in)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox was left half-made", ExitReason: observed.ReasonSandboxLost}},
		},
		{
			name:    "unfinished stop",
			mutate:  func(in *Input) { recordState(in, observed.SandboxStopping) },
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "an earlier stop of the sandbox was cut short", ExitReason: observed.ReasonSandboxLost}},
		},
		{
			name: "foreign process: a cgroup that no record explains",
			mutate: func(in *Input) {
				nothingThere(in)
				in.Memory = settled(in.Desired).Memory
				forgetLive(in)
				in.Observed.CgroupExists, in.Observed.CgroupProcs = true, 3
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Reason: "the sandbox's cgroup holds 3 processes that no record explains", ExitReason: observed.ReasonSandboxLost}},
		},
		{
			name: "foreign process, and nobody remembers anything: what may have run is not run again under Never",
			mutate: func(in *Input) {
				nothingThere(in)
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Observed.CgroupExists, in.Observed.CgroupProcs = true, 3
			},
			actions:    []Action{{Verb: Stop, Sandbox: "box", Reason: "the sandbox's cgroup holds 3 processes that no record explains", ExitReason: observed.ReasonSandboxLost}},
			conditions: []Condition{{RecordDamaged, RecordDamaged, unexplainedNever}},
			notices:    []Notice{{"", RecordDamaged, unexplainedNever}},
			memory: func(m *Memory) {
				*m = settled(newDeclared(desiredtest.Policy(desired.Never))).Memory
				m.Damage, m.RanIn = unexplainedNever, observed.Process{}
				for name, c := range m.Containers {
					m.Containers[name] = ContainerMemory{Hash: c.Hash, StopSignal: c.StopSignal, Live: unknownInstance, Seen: unknownInstance, Attempts: 1,
						Exit: &observed.Exit{Reason: "Error", Message: "the sandbox's cgroup held 3 processes that no record explains", At: t0}}
				}
			},
		},
		{
			name: "foreign process, nothing declared",
			mutate: func(in *Input) {
				nothingThere(in)
				undeclare(in)
				in.Observed.CgroupExists, in.Observed.CgroupProcs = true, 3
			},
			actions: []Action{{Verb: Destroy, Sandbox: "box", Reason: "the sandbox is declared no more; nothing runs in it that could be asked to end"}},
		},
		{
			name: "torn sandbox record",
			mutate: func(in *Input) {
				in.Observed.Record, in.Observed.Broken, in.Observed.Sentry = nil, "unexpected end of JSON input", observed.None
				in.Observed.CgroupProcs = 0
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Reason: "the sandbox's record can't be used: unexpected end of JSON input", ExitReason: observed.ReasonSandboxLost}},
		},
		{
			name:    "pid reused: the recorded sentry is gone",
			mutate:  noProcess,
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry is gone", ExitReason: observed.ReasonSandboxLost}},
			memory:  func(m *Memory) { m.Losses, m.LostSentry = 1, sentry },
		},
		{
			name: "lost again soon: back-off",
			mutate: func(in *Input) {
				noProcess(in)
				in.Observed.Record.CreatedAt = t0.Add(-time.Minute)
				in.Memory.Losses, in.Memory.LostSentry = 2, observed.Process{PID: 1, StartTime: 1}
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry is gone", ExitReason: observed.ReasonSandboxLost}},
			memory: func(m *Memory) {
				m.Losses, m.LostSentry = 3, sentry
				m.NextCreate = t0.Add(restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "", 3))
			},
		},
		{
			name:       "silent sentry",
			mutate:     func(in *Input) { in.Observed.Unresponsive = true },
			memory:     func(m *Memory) { m.UnresponsiveSince = t0 },
			again:      30 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "silent sentry without a gofer: that comes first",
			mutate: func(in *Input) {
				in.Observed.Unresponsive = true
				containerOf(in, "app").GoferRun = observed.Gone
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Replaced: appGofer,
				Reason: `the gofer of container "app" (process 4710) died; the container runs on`}},
			memory:     func(m *Memory) { m.UnresponsiveSince = t0 },
			again:      30 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "silent sentry for too long",
			mutate: func(in *Input) {
				in.Observed.Unresponsive = true
				in.Memory.UnresponsiveSince = t0.Add(-30 * time.Second)
			},
			actions:    []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry has not answered for 30s", ExitReason: observed.ReasonSandboxLost}},
			memory:     func(m *Memory) { m.Losses, m.LostSentry = 1, sentry },
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "silent sentry that is stopped",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Stopped: true}
				in.Memory.UnresponsiveSince = t0.Add(-time.Hour)
			},
			memory:     func(m *Memory) { m.HeldAt, m.Stall = t0, observed.Stall{Stopped: true} },
			again:      30 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", fmt.Sprintf("the sandbox's sentry lives and does not answer: its process (%d) was stopped by a signal or is traced; let it go on (kill -CONT), or ask for a restart of the sandbox", sentry.PID)}},
		},
		{
			name: "silent sentry in a frozen cgroup",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Frozen: true}
				in.Memory.UnresponsiveSince = t0.Add(-time.Hour)
			},
			memory:     func(m *Memory) { m.HeldAt, m.Stall = t0, observed.Stall{Frozen: true} },
			again:      30 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer: its cgroup is frozen; thaw it, or ask for a restart of the sandbox"}},
		},
		{
			name: "silent sentry that gets no processor",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Ran: 11 * time.Second, Waited: time.Minute}
				in.Memory.UnresponsiveSince, in.Memory.Stall = t0.Add(-40*time.Second), observed.Stall{Ran: 10 * time.Second, Waited: 40 * time.Second}
			},
			memory:     func(m *Memory) { m.HeldAt, m.Stall = t0, observed.Stall{Ran: 11 * time.Second, Waited: time.Minute} },
			again:      30 * time.Second,
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer: it waits for a processor: of the last 40s it had 1s"}},
		},
		{
			name: "silent sentry that had a processor for long enough",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Ran: 12 * time.Second, Waited: time.Minute}
				in.Memory.UnresponsiveSince, in.Memory.Stall = t0.Add(-40*time.Second), observed.Stall{Ran: 10 * time.Second}
			},
			actions:    []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry has not answered for 30s", ExitReason: observed.ReasonSandboxLost}},
			memory:     func(m *Memory) { m.Losses, m.LostSentry = 1, sentry },
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "silent sentry that waited for nothing",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Waited: 14 * time.Second}
				in.Memory.UnresponsiveSince = t0.Add(-30 * time.Second)
			},
			actions:    []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry has not answered for 30s", ExitReason: observed.ReasonSandboxLost}},
			memory:     func(m *Memory) { m.Losses, m.LostSentry = 1, sentry },
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "stopped sentry of a sandbox that is to be made anew",
			mutate: func(in *Input) {
				in.Observed.Unresponsive, in.Observed.Stall = true, observed.Stall{Stopped: true}
				in.Memory.UnresponsiveSince = t0.Add(-30 * time.Second)
				in.Memory.RestartAsked = t0.Add(-30 * time.Second)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry has not answered for 30s", ExitReason: observed.ReasonSandboxLost}},
			memory: func(m *Memory) {
				m.Losses, m.LostSentry, m.HeldAt, m.Stall = 1, sentry, t0, observed.Stall{Stopped: true}
			},
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", fmt.Sprintf("the sandbox's sentry lives and does not answer: its process (%d) was stopped by a signal or is traced; let it go on (kill -CONT), or ask for a restart of the sandbox", sentry.PID)}},
		},
		{
			name: "silent sentry answers again",
			mutate: func(in *Input) {
				in.Memory.UnresponsiveSince = t0.Add(-29 * time.Second)
			},
			memory: func(m *Memory) { m.UnresponsiveSince = time.Time{} },
		},
		{
			name: "silent and undeclared, without grace",
			mutate: func(in *Input) {
				in.Observed.Unresponsive = true
				in.Memory.GraceSeconds = new(int64(0))
				undeclare(in)
			},
			actions:    []Action{{Verb: Destroy, Sandbox: "box", Sentry: sentry, Reason: "the sandbox is declared no more; its sentry has not answered for 0s"}},
			memory:     func(m *Memory) { m.UnresponsiveSince = t0 },
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "drift: hostname",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Hostname = "other" })
				in.Memory.SpecHash = in.Desired.WorkHash
			},
			actions: []Action{
				signal("app", "SIGINT", `the sandbox was changed: hostname; container "app" has 30s to end`, classSandbox),
				signal("web", "SIGTERM", `the sandbox was changed: hostname; container "web" has 30s to end`, classSandbox),
			},
			memory: asked(true, "app", "web"),
			again:  30 * time.Second,
		},
		{
			name: "drift: hostname, all have ended",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Hostname = "other" })
				in.Memory.SpecHash = in.Desired.WorkHash
				asked(true, "app", "web")(&in.Memory)
				end(in, "app", 143, 0)
				end(in, "web", 143, 0)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox was changed: hostname; no container runs", Class: classSandbox}},
			memory: func(m *Memory) {
				m.StopAsked = time.Time{}
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) {
						c.StopID, c.StopAsked, c.Fresh = "", time.Time{}, true
						c.Seen, c.StartedAt = c.Live, startedAt
						c.Exit = &observed.Exit{Known: true, Code: 143, Reason: observed.ReasonStopped, Message: "ended, as it was asked to", At: t0}
					})
				}
			},
		},
		{
			name: "drift: hostname, stopped",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Hostname = "other" })
				in.Memory.SpecHash = in.Desired.WorkHash
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				in.Observed.Containers = nil
				forgetLive(in)
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox was changed: hostname", Class: classSandbox}},
		},
		{
			name: "limits drift",
			mutate: func(in *Input) {
				in.Observed.Record.LimitsHash = "cpu=none,memory=none"
			},
			actions: []Action{{Verb: SetLimits, Sandbox: "box", Sentry: sentry, Class: classInPlace,
				Reason: "the limits in force (cpu=none,memory=none) were not those declared (cpu=1500m,memory=201326592)"}},
		},
		{
			name: "limits refused: not tried again at once",
			mutate: func(in *Input) {
				in.Observed.Record.LimitsHash = "cpu=none,memory=none"
				in.Memory.LimitsDenied, in.Memory.LimitsDeniedFor = "busy", in.Desired.LimitsHash
				in.Memory.LimitsRetry = t0.Add(time.Minute)
			},
			again:      time.Minute,
			conditions: []Condition{{LimitsDenied, "WriteRefused", "busy"}},
		},
		{
			name:   "userLog renamed: begun anew",
			mutate: userLogMoved,
			actions: []Action{{Verb: ReopenUserLog, Sandbox: "box", Sentry: sentry,
				Reason: "the userLog /var/log/box was renamed or removed, and is begun anew"}},
		},
		{
			name:   "labels change nothing",
			mutate: func(in *Input) { redeclare(in, func(s *desired.Sandbox) { s.Labels = nil }) },
		},
	})
}

func userLogMoved(in *Input) {
	in.Observed.Record.UserLog, in.Observed.UserLogMoved = &observed.Object{What: "the userLog", Path: "/var/log/box"}, true
}

func signal(name, sig, reason, class string) Action {
	return Action{Verb: Signal, Sandbox: "box", Container: name, ContainerID: "box." + name + ".1",
		Sentry: sentry, Signal: sig, Reason: reason, Class: class}
}

// asked is the memory after these containers were sent their signals at t0.
func asked(whole bool, names ...string) func(*Memory) {
	return func(m *Memory) {
		if whole {
			m.StopAsked = t0
		}
		for _, name := range names {
			recall(m, name, func(c *ContainerMemory) { c.StopAsked, c.StopID = t0, "box."+name+".1" })
		}
	}
}

// missed is the memory after the end of a container that nobody saw.
func missed(name string) func(*Memory) {
	return func(m *Memory) {
		recall(m, name, func(c *ContainerMemory) {
			c.Seen, c.Attempts = c.Live, 1
			c.Exit = &observed.Exit{At: t0, Reason: observed.ReasonSandboxLost, Message: "its record is gone"}
		})
	}
}

// forgetLive is the memory of a sandbox whose containers never ran.
func forgetLive(in *Input) {
	in.Memory.RanIn = observed.Process{}
	for name := range in.Memory.Containers {
		recall(&in.Memory, name, func(c *ContainerMemory) { c.Live = "" })
	}
}

func TestPlanRemoval(t *testing.T) {
	const why = "the sandbox is declared no more"
	run(t, []row{
		{
			name:   "remove: running containers are asked to end",
			mutate: undeclare,
			actions: []Action{
				signal("app", "SIGINT", why+`; container "app" has 30s to end`, ""),
				signal("web", "SIGTERM", why+`; container "web" has 30s to end`, ""),
			},
			memory: asked(true, "app", "web"),
			again:  30 * time.Second,
		},
		{
			name:   "remove: waiting",
			mutate: func(in *Input) { asked(true, "app", "web")(&in.Memory); in.Now = t0; undeclare(in) },
			again:  30 * time.Second,
		},
		{
			name: "remove: the declared grace is remembered",
			mutate: func(in *Input) {
				in.Memory.GraceSeconds = new(int64(5))
				asked(true, "app", "web")(&in.Memory)
				undeclare(in)
			},
			again: 5 * time.Second,
		},
		{
			name: "remove: all have ended",
			mutate: func(in *Input) {
				asked(true, "app", "web")(&in.Memory)
				end(in, "app", 0, 0)
				end(in, "web", 0, 0)
				undeclare(in)
			},
			actions: []Action{{Verb: Destroy, Sandbox: "box", Sentry: sentry, Reason: why + "; no container runs"}},
			memory:  func(m *Memory) { m.StopAsked = time.Time{} },
		},
		{
			name: "remove: grace is over",
			mutate: func(in *Input) {
				asked(true, "app", "web")(&in.Memory)
				in.Memory.StopAsked = t0.Add(-30 * time.Second)
				undeclare(in)
			},
			actions: []Action{{Verb: Destroy, Sandbox: "box", Sentry: sentry, Reason: why + "; the grace period of 30s is over"}},
		},
		{
			name:    "remove: no grace",
			mutate:  func(in *Input) { in.Memory.GraceSeconds = new(int64(0)); undeclare(in) },
			actions: []Action{{Verb: Destroy, Sandbox: "box", Sentry: sentry, Reason: why + "; it has no grace period"}},
		},
		{
			name: "remove: memory was lost, the default grace holds",
			mutate: func(in *Input) {
				in.Memory = Memory{}
				in.Observed.Containers = in.Observed.Containers[:1]
				undeclare(in)
			},
			actions: []Action{signal("app", "SIGTERM", why+`; container "app" has 30s to end`, "")},
			memory: func(m *Memory) {
				m.StopAsked = t0
				m.Containers = map[string]ContainerMemory{"app": {StopAsked: t0, StopID: "box.app.1"}}
			},
			again: 30 * time.Second,
		},
		{
			name:   "remove: frozen is thawed first",
			mutate: func(in *Input) { freeze(in); undeclare(in) },
			actions: []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry,
				Reason: why + "; its containers are thawed so that they can end"}},
			memory: asked(true),
			again:  30 * time.Second,
		},
		{
			name: "remove: frozen, and thawing takes too long",
			mutate: func(in *Input) {
				freeze(in)
				in.Memory.StopAsked = t0.Add(-31 * time.Second)
				undeclare(in)
			},
			actions: []Action{{Verb: Destroy, Sandbox: "box", Sentry: sentry, Reason: why + "; the grace period of 30s is over"}},
		},
		{
			name: "remove: called off",
			mutate: func(in *Input) {
				asked(true, "app")(&in.Memory)
			},
			memory: func(m *Memory) { m.StopAsked = time.Time{} },
		},
		{
			name: "remove: called off, and the container outlived its signal",
			mutate: func(in *Input) {
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.StopAsked, c.StopID = t0.Add(-30*time.Second), "box.app.1" })
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.StopAsked, c.StopID = time.Time{}, "" })
			},
		},
		{
			name: "remove: called off, and the signal had its effect: started again, at once, no restart",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				asked(false, "app")(&in.Memory)
				end(in, "app", 143, 0)
			},
			actions: []Action{start("app", "box.app.1", `container "app" runs again under what is declared now`)},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.StopID, c.StopAsked, c.Fresh = "", time.Time{}, true
					c.Seen, c.StartedAt = c.Live, startedAt
					c.Exit = &observed.Exit{Known: true, Code: 143, Reason: observed.ReasonStopped, Message: "ended, as it was asked to", At: t0}
				})
			},
		},
	})
}

const unexplainedNever = "the sandbox's cgroup held 3 processes that no record explains: nobody knows which containers have run, and those whose restart policy is Never are not run again"
