package plan

import (
	"fmt"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

func restartOf(name, reason string) Action { return start(name, "box."+name+".1", reason) }

// counted is the memory after an end of app's first instance was counted.
func counted(e observed.Exit, change func(*ContainerMemory)) func(*Memory) {
	return func(m *Memory) {
		recall(m, "app", func(c *ContainerMemory) {
			c.Seen, c.StartedAt, c.Exit, c.Attempts = c.Live, startedAt, &e, 1
			if change != nil {
				change(c)
			}
		})
	}
}

// waiting is a container that has ended n times in a row, the last time ago.
func waiting(in *Input, n int, ago time.Duration) {
	end(in, "app", 3, ago)
	e := *containerOf(in, "app").Exit
	recall(&in.Memory, "app", func(c *ContainerMemory) {
		c.Seen, c.StartedAt, c.Exit, c.Attempts, c.Restarts = c.Live, startedAt, &e, n, n-1
		c.NextStart = e.At.Add(restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", n))
	})
}

func TestPlanContainers(t *testing.T) {
	failed := observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0.Add(-time.Second)}
	third := restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", 3)
	tornNever := `the record containers/app.json and its copy could not be used (torn): nobody knows how container "app" has ended, and its restart policy does not have it run again`
	run(t, []row{
		{
			name: "first start of all",
			mutate: func(in *Input) {
				in.Observed.Containers, in.Observed.Scores = nil, in.Observed.Scores[:1]
				forgetLive(in)
			},
			actions: []Action{start("app", "", `first start of container "app"`), start("web", "", `first start of container "web"`)},
			memory:  func(m *Memory) { m.RanIn = sentry },
		},
		{
			name: "started: remembered",
			mutate: func(in *Input) {
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Live, c.LiveAt = "", time.Time{} })
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.Live, c.LiveAt = "box.app.1", startedAt })
			},
		},
		{
			name:    "first end: restart at once",
			mutate:  func(in *Input) { end(in, "app", 3, time.Second) },
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 1 at once`)},
			memory:  counted(failed, nil),
		},
		{
			name:    "first end while the userLog is gone: restart at once, whatever becomes of that",
			mutate:  func(in *Input) { userLogMoved(in); end(in, "app", 3, time.Second) },
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 1 at once`)},
			memory:  counted(failed, nil),
		},
		{
			name: "second end soon: crash back-off",
			mutate: func(in *Input) {
				end(in, "app", 3, 0)
				containerOf(in, "app").StartedAt = t0.Add(-2 * time.Second)
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Attempts, c.Restarts, c.LiveAt = 1, 1, t0.Add(-2*time.Second) })
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.Seen, c.StartedAt, c.Attempts, c.Restarts = c.Live, t0.Add(-2*time.Second), 2, 1
					c.LiveAt = c.StartedAt
					c.Exit = &observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0}
					c.NextStart = t0.Add(restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", 2))
				})
			},
			again: restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", 2),
		},
		{
			name:   "not yet due",
			mutate: func(in *Input) { waiting(in, 3, time.Second) },
			again:  third - time.Second,
		},
		{
			name:    "due",
			mutate:  func(in *Input) { waiting(in, 3, third) },
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 3 after back-off of `+third.Round(100*time.Millisecond).String())},
		},
		{
			name: "restarted: counted",
			mutate: func(in *Input) {
				waiting(in, 3, third)
				c := containerOf(in, "app")
				c.ID, c.State, c.Exit, c.GoferRun, c.KeeperRun, c.StartedAt = "box.app.2", observed.Running, nil, observed.Alive, observed.Alive, t0
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.Live, c.LiveAt, c.Restarts, c.NextStart = "box.app.2", t0, 3, time.Time{}
				})
			},
		},
		{
			name: "IDs begin anew after a loss: the same ID, another instance",
			mutate: func(in *Input) {
				waiting(in, 1, time.Minute)
				c := containerOf(in, "app")
				c.StartedAt = t0.Add(-50 * time.Second)
				c.Exit = &observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0}
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.LiveAt, c.StartedAt, c.Attempts, c.Restarts = t0.Add(-50*time.Second), t0.Add(-50*time.Second), 2, 1
					c.Exit = &observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0}
					c.NextStart = t0.Add(restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", 2))
				})
			},
			again: restartDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", "app", 2),
		},
		{
			name: "a long run resets the back-off",
			mutate: func(in *Input) {
				end(in, "app", 3, time.Second)
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Attempts, c.Restarts = 6, 6 })
			},
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 7 at once`)},
			memory:  counted(failed, nil),
		},
		{
			name: "an update pre-empts back-off",
			mutate: func(in *Input) {
				waiting(in, 9, time.Second)
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"fixed"} })
			},
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: `container "app" was changed: args`, Class: classContainer}},
			memory: func(m *Memory) {
				d := newDeclared(func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"fixed"} })
				m.SpecHash = d.WorkHash
				recall(m, "app", func(c *ContainerMemory) {
					c.Hash, c.Attempts, c.NextStart, c.Fresh = d.ContainerHash[0], 0, time.Time{}, true
				})
			},
		},
		{
			name: "an update of something else pre-empts back-off too",
			mutate: func(in *Input) {
				waiting(in, 9, time.Second)
				redeclare(in, func(s *desired.Sandbox) { s.Spec.RestartBackoff.Max = desired.Duration(time.Minute) })
			},
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 9 at once`)},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(func(s *desired.Sandbox) { s.Spec.RestartBackoff.Max = desired.Duration(time.Minute) }).WorkHash
				recall(m, "app", func(c *ContainerMemory) { c.Attempts, c.NextStart = 0, time.Time{} })
			},
		},
		{
			name: "OOM-killed",
			mutate: func(in *Input) {
				endWith(in, "app", observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "OOMKilled", Message: "why", At: t0})
			},
			actions: []Action{restartOf("app", `container "app" was killed for want of memory; restart 1 at once`)},
			memory:  counted(observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "OOMKilled", Message: "why", At: t0}, nil),
			notices: []Notice{{"app", "OOMKilled", "why"}},
		},
		{
			name: "could not be started",
			mutate: func(in *Input) {
				endWith(in, "app", observed.Exit{Known: true, Code: 128, Reason: "StartError", Message: "no such file", At: t0})
				containerOf(in, "app").StartedAt = time.Time{}
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.LiveAt = time.Time{} })
			},
			actions: []Action{restartOf("app", `container "app" could not be started the last time; restart 1 at once`)},
			memory: counted(observed.Exit{Known: true, Code: 128, Reason: "StartError", Message: "no such file", At: t0},
				func(c *ContainerMemory) { c.StartedAt = time.Time{} }),
		},
		{
			name: "OnFailure and success: nothing",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.OnFailure))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 0, 0)
			},
			memory: counted(observed.Exit{Known: true, Reason: "Completed", At: t0}, nil),
		},
		{
			name: "OnFailure and failure: restart",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.OnFailure))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 3, time.Second)
			},
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 1 at once`)},
			memory:  counted(failed, nil),
		},
		{
			name: "Never and failure: nothing",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 3, time.Second)
			},
			memory: counted(failed, nil),
		},
		{
			name: "Never, changed and changed back while it ran: its end counts",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Fresh = true })
				end(in, "app", 3, time.Second)
			},
			memory: counted(failed, func(c *ContainerMemory) { c.Fresh = false }),
		},
		{
			name: "torn record of what is not to run again: removed",
			mutate: func(in *Input) {
				finish(in)
				in.Observed.Containers[1] = settled(newDeclared()).Observed.Containers[1]
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Seen, c.Exit, c.StartedAt, c.Attempts = "", nil, time.Time{}, 0 })
				in.Observed.Containers = in.Observed.Containers[1:]
				in.Observed.BrokenContainers = map[string]string{"app": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Remove, Sandbox: "box", Container: "app", Sentry: sentry,
				Reason: `the record of container "app" can't be used (torn), and it is not to run again`}},
		},
		{
			name: "torn record of what nobody remembers, under Never: it may have run, and is not run again",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Live, c.LiveAt = "", time.Time{} })
				in.Observed.Containers = in.Observed.Containers[1:]
				in.Observed.BrokenContainers = map[string]string{"app": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Remove, Sandbox: "box", Container: "app", Sentry: sentry,
				Reason: `the record of container "app" can't be used (torn), and it is not to run again`}},
			conditions: []Condition{{RecordDamaged, RecordDamaged, tornNever}},
			notices:    []Notice{{"", RecordDamaged, tornNever}},
			memory: func(m *Memory) {
				m.Damage, m.DamageIn = tornNever, sentry
				recall(m, "app", func(c *ContainerMemory) {
					c.Live, c.Seen, c.Attempts = unknownInstance, unknownInstance, 1
					c.Exit = &observed.Exit{Reason: "Error", Message: "torn", At: t0}
				})
			},
		},
		{
			name: "Never, all have ended: the sandbox is stopped",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 3, time.Second)
				end(in, "web", 3, time.Second)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "every container has ended and is not to run again"}},
			memory: func(m *Memory) {
				counted(failed, nil)(m)
				recall(m, "web", func(c *ContainerMemory) {
					c.Seen, c.StartedAt, c.Exit, c.Attempts = c.Live, startedAt, &failed, 1
				})
			},
		},
		{
			name: "Never, all have ended, nothing is left after a reboot: not run again",
			mutate: func(in *Input) {
				finish(in)
				in.Observed = observed.Sandbox{Name: "box"}
			},
		},
		{
			name: "Never, all have ended, changed spec: run again",
			mutate: func(in *Input) {
				finish(in)
				in.Observed = observed.Sandbox{Name: "box"}
				in.Memory.SpecHash, in.Memory.Identity = "old", "old"
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox is declared and was not there"}},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.Attempts, c.Fresh = 0, true })
				}
			},
		},
		{
			name: "Never, all have ended, changed in place: not run again",
			mutate: func(in *Input) {
				finish(in)
				in.Observed = observed.Sandbox{Name: "box"}
				in.Memory.SpecHash = "old"
			},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.Attempts = 0 })
				}
			},
		},
		{
			name: "Never, all have ended, changed before anybody noted what of it: not run again",
			mutate: func(in *Input) {
				finish(in)
				in.Observed = observed.Sandbox{Name: "box"}
				in.Memory.SpecHash, in.Memory.Identity = "old", ""
			},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.Attempts = 0 })
				}
			},
		},
		{
			name: "Never, one has ended, changed spec elsewhere: the ended one stays ended",
			mutate: func(in *Input) {
				finish(in)
				in.Observed.Containers[1] = settled(newDeclared()).Observed.Containers[1]
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Seen, c.Exit, c.StartedAt, c.Attempts = "", nil, time.Time{}, 0 })
				in.Memory.SpecHash, in.Memory.Identity = "old", "old"
			},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash
				recall(m, "app", func(c *ContainerMemory) { c.Attempts = 0 })
			},
		},
		{
			name: "sandbox lost under Never: failed, not created anew",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				for i := range in.Observed.Containers {
					in.Observed.Containers[i].Exit = &observed.Exit{Reason: observed.ReasonSandboxLost, At: t0}
				}
			},
			memory: func(m *Memory) {
				lostExit := observed.Exit{Reason: observed.ReasonSandboxLost, At: t0}
				counted(lostExit, nil)(m)
				recall(m, "web", func(c *ContainerMemory) {
					c.Seen, c.StartedAt, c.Exit, c.Attempts = c.Live, startedAt, &lostExit, 1
				})
			},
		},
		{
			name: "sandbox lost: created anew at once",
			mutate: func(in *Input) {
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				in.Observed.Containers = in.Observed.Containers[:1]
				in.Observed.Containers[0].Exit = &observed.Exit{Reason: observed.ReasonSandboxLost, At: t0}
				in.Memory.Losses, in.Memory.LostSentry = 1, sentry
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Live = "" })
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox was lost and is made anew"}},
			memory:  counted(observed.Exit{Reason: observed.ReasonSandboxLost, At: t0}, nil),
		},
		{
			name:   "gofer died: another takes over",
			mutate: func(in *Input) { containerOf(in, "app").GoferRun = observed.Gone },
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `the gofer of container "app" (process 4710) died; the container runs on`}},
		},
		{
			name:   "gofer silent: another takes over",
			mutate: func(in *Input) { containerOf(in, "app").GoferRun = observed.Silent },
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `the gofer of container "app" (process 4710) answered nobody any more; the container runs on`}},
		},
		{
			name: "new gofers asked for: one after the other",
			mutate: func(in *Input) {
				in.Memory = RestartGofers([]string{"app", "web"}, t0)(in.Memory)
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `a new gofer for container "app" was asked for`}},
		},
		{
			name: "new gofer asked for and there: forgotten",
			mutate: func(in *Input) {
				in.Memory = RestartGofers([]string{"app"}, t0)(in.Memory)
				containerOf(in, "app").GoferSince = t0
			},
			memory: func(m *Memory) { recall(m, "app", func(c *ContainerMemory) { c.GoferAsked = time.Time{} }) },
		},
		{
			name: "restart asked for: graceful",
			mutate: func(in *Input) {
				in.Memory = Restart([]string{"app"}, t0)(in.Memory)
			},
			actions: []Action{{Verb: Signal, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Signal: "SIGINT",
				Reason: `a restart of container "app" was asked for; it has 30s to end`}},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.StopAsked, c.StopID = t0, "box.app.1" })
			},
		},
		{
			name: "restart asked for of one that has ended for good: it runs again",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 0, 0)
				in.Memory = Restart([]string{"app"}, t0)(in.Memory)
			},
			actions: []Action{start("app", "box.app.1", `container "app" runs again under what is declared now`)},
			memory: counted(observed.Exit{Known: true, Reason: "Completed", At: t0}, func(c *ContainerMemory) {
				c.RestartAsked, c.Fresh, c.Attempts = time.Time{}, true, 0
			}),
		},
		{
			name: "keeper died: another holds",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.KeeperRun, c.Keeper = observed.Gone, observed.Process{PID: 8, StartTime: 8}
			},
			actions: []Action{{Verb: Keep, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Replaced: observed.Process{PID: 8, StartTime: 8},
				Reason: `the keeper of the gofer of container "app" is gone: another gets its sockets, without which none could take over after the daemon's end`}},
		},
		{
			name: "restored, without a keeper: it gets one",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.KeeperRun, c.Keeper = observed.None, observed.Process{}
			},
			actions: []Action{{Verb: Keep, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: `the gofer of container "app" had no keeper yet: one gets its sockets, without which none could take over after the daemon's end`}},
		},
		{
			name: "keeper and gofer died: first the gofer",
			mutate: func(in *Input) {
				containerOf(in, "app").KeeperRun = observed.Gone
				containerOf(in, "app").GoferRun = observed.Gone
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `the gofer of container "app" (process 4710) died; the container runs on`}},
		},
		{
			name: "gofer died again soon: back-off while the container runs on",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.GoferRun, c.GoferFailures, c.GoferSince = observed.Gone, 3, t0.Add(-100*time.Millisecond)
			},
			again: 300 * time.Millisecond,
		},
		{
			name: "gofer died again, back-off over: another takes over",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.GoferRun, c.GoferFailures, c.GoferSince = observed.Gone, 3, t0.Add(-400*time.Millisecond)
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `the gofer of container "app" (process 4710) died; the container runs on`}},
		},
		{
			name: "gofer of an earlier instance lost: another takes over for this one",
			mutate: func(in *Input) {
				containerOf(in, "app").GoferRun = observed.Gone
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.GoferLost = "box.app.0" })
			},
			actions: []Action{{Verb: ReplaceGofer, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Replaced: appGofer, Reason: `the gofer of container "app" (process 4710) died; the container runs on`}},
		},
		{
			name: "gofer lost: only that container",
			mutate: func(in *Input) {
				containerOf(in, "app").GoferRun = observed.Gone
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.GoferLost = "box.app.1" })
			},
			actions: []Action{{Verb: Kill, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: `container "app" lost its gofer`, ExitReason: observed.ReasonGoferLost}},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason = t0, "box.app.1", observed.ReasonGoferLost
				})
			},
		},
		{
			name: "gofer lost, killed: restarted and named",
			mutate: func(in *Input) {
				endWith(in, "app", observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "Error", At: t0})
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason = t0, "box.app.1", observed.ReasonGoferLost
				})
			},
			actions: []Action{restartOf("app", `container "app" lost its gofer; restart 1 at once`)},
			memory: counted(observed.Exit{Known: true, Code: 137, Signal: 9, Reason: observed.ReasonGoferLost, At: t0},
				func(c *ContainerMemory) { c.StopID, c.StopReason, c.StopAsked = "", "", time.Time{} }),
		},
		{
			name: "gofer missed because its container had just ended: no loss",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.OnFailure))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 0, 0)
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason = t0, "box.app.1", observed.ReasonGoferLost
				})
			},
			memory: counted(observed.Exit{Known: true, Reason: "Completed", At: t0},
				func(c *ContainerMemory) { c.StopID, c.StopReason, c.StopAsked = "", "", time.Time{} }),
		},
		{
			name: "an ended container's gofer has ended too: no loss",
			mutate: func(in *Input) {
				redeclare(in, desiredtest.Policy(desired.Never))
				in.Memory.SpecHash = in.Desired.WorkHash
				end(in, "app", 0, 0)
			},
			memory: counted(observed.Exit{Known: true, Reason: "Completed", At: t0}, nil),
		},
		{
			name: "half-made container",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.State, c.StartedAt, c.GoferRun = observed.Creating, time.Time{}, observed.Gone
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Live = "" })
			},
			actions: []Action{start("app", "box.app.1", `container "app" had been left half-made`)},
		},
		{
			name: "made, not started",
			mutate: func(in *Input) {
				c := containerOf(in, "app")
				c.State, c.StartedAt = observed.Created, time.Time{}
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.Live = "" })
			},
			actions: []Action{start("app", "box.app.1", `container "app" had been made, and its command not begun`)},
		},
		{
			name: "torn container record: its instance is looked for first, and nothing counts as its end",
			mutate: func(in *Input) {
				in.Observed.Containers = in.Observed.Containers[1:]
				in.Observed.BrokenContainers = map[string]string{"app": "torn"}
			},
			actions:    []Action{look("app", "torn")},
			conditions: []Condition{{RecordDamaged, RecordDamaged, lookedFor("app", "torn")}},
			notices:    []Notice{{"", RecordDamaged, lookedFor("app", "torn")}},
			memory:     func(m *Memory) { m.Damage, m.DamageIn = lookedFor("app", "torn"), sentry },
		},
		{
			name:       "no record of what is remembered to run: likewise",
			mutate:     func(in *Input) { in.Observed.Containers = in.Observed.Containers[1:] },
			actions:    []Action{look("app", "it and its copies are missing")},
			conditions: []Condition{{RecordDamaged, RecordDamaged, lookedFor("app", "it and its copies are missing")}},
			notices:    []Notice{{"", RecordDamaged, lookedFor("app", "it and its copies are missing")}},
			memory:     func(m *Memory) { m.Damage, m.DamageIn = lookedFor("app", "it and its copies are missing"), sentry },
		},
		{
			name: "the record of a gofer of volumes: likewise",
			mutate: func(in *Input) {
				in.Observed.Servers = []observed.Container{{ContainerRecord: observed.ContainerRecord{Name: "_volumes.1"}}}
			},
			actions:    []Action{look("_volumes.1", "it and its copies are missing")},
			conditions: []Condition{{RecordDamaged, RecordDamaged, lookedFor("_volumes.1", "it and its copies are missing")}},
			notices:    []Notice{{"", RecordDamaged, lookedFor("_volumes.1", "it and its copies are missing")}},
			memory: func(m *Memory) {
				m.Damage, m.DamageIn = lookedFor("_volumes.1", "it and its copies are missing"), sentry
			},
		},
		{
			name: "a record that was lost and made anew, without when it was started: the instance is the same",
			mutate: func(in *Input) {
				in.Observed.Containers[0].StartedAt = time.Time{}
				in.Memory.MendFailed = true
			},
			memory: func(m *Memory) {
				m.MendFailed = false
				recall(m, "app", func(c *ContainerMemory) { c.LiveAt = time.Time{} })
			},
		},
		{
			name: "torn container record of which nothing is found",
			mutate: func(in *Input) {
				in.Observed.Containers = in.Observed.Containers[1:]
				in.Observed.BrokenContainers = map[string]string{"app": "unexpected end"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", Sentry: sentry,
				Reason: `the record of container "app" can't be used (unexpected end): made anew`, ExitReason: "Error"}},
			memory: counted(observed.Exit{Reason: "Error", Message: "unexpected end", At: t0},
				func(c *ContainerMemory) { c.StartedAt = time.Time{} }),
		},
		{
			name: "changed container: asked to end, its sibling left alone",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
			},
			actions: []Action{signal("app", "SIGINT", `container "app" was changed: args; it has 30s to end`, classContainer)},
			memory: func(m *Memory) {
				changedApp(m)
				asked(false, "app")(m)
			},
		},
		{
			name: "changed container: waiting",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				changedApp(&in.Memory)
				asked(false, "app")(&in.Memory)
			},
			again: 30 * time.Second,
		},
		{
			name: "changed container: grace is over",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				changedApp(&in.Memory)
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.StopAsked, c.StopID = t0.Add(-30*time.Second), "box.app.1" })
			},
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Class: classContainer,
				Reason: `container "app" was changed: args; its grace period of 30s is over`}},
		},
		{
			name: "restart asked for: grace is over",
			mutate: func(in *Input) {
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.RestartAsked, c.StopAsked, c.StopID = t0.Add(-30*time.Second), t0.Add(-30*time.Second), "box.app.1"
				})
			},
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: `a restart of container "app" was asked for; its grace period of 30s is over`}},
		},
		{
			name: "changed container: ended",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				changedApp(&in.Memory)
				asked(false, "app")(&in.Memory)
				end(in, "app", 3, time.Second)
			},
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Class: classContainer,
				Reason: `container "app" was changed: args`}},
			memory: counted(AsAsked(failed), func(c *ContainerMemory) { c.Attempts, c.StopID, c.StopAsked, c.Fresh = 0, "", time.Time{}, true }),
		},
		{
			name: "changed container: made anew is no restart",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				changedApp(&in.Memory)
				counted(failed, func(c *ContainerMemory) { c.Attempts, c.Restarts = 0, 4 })(&in.Memory)
				c := containerOf(in, "app")
				c.ID, c.Hash = "box.app.2", in.Desired.ContainerHash[0]
			},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.Live, c.Fresh = "box.app.2", false })
			},
		},
		{
			name: "container declared no more",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				in.Memory.SpecHash = in.Desired.WorkHash
				in.Observed.Record.LimitsHash = in.Desired.LimitsHash
			},
			actions: []Action{signal("web", "SIGTERM", `container "web" is declared no more; it has 30s to end`, classContainer)},
			memory:  asked(false, "web"),
		},
		{
			name: "container declared no more, ended: removed",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				in.Memory.SpecHash = in.Desired.WorkHash
				in.Observed.Record.LimitsHash = in.Desired.LimitsHash
				end(in, "web", 0, 0)
			},
			actions: []Action{{Verb: Remove, Sandbox: "box", Container: "web", ContainerID: "box.web.1", Sentry: sentry, Class: classContainer,
				Reason: `container "web" is declared no more; it has ended`}},
		},
		{
			name: "container declared no more, removed: forgotten",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				in.Memory.SpecHash = in.Desired.WorkHash
				in.Observed.Record.LimitsHash = in.Desired.LimitsHash
				in.Observed.Containers, in.Observed.Scores = in.Observed.Containers[:1], in.Observed.Scores[:2]
			},
			memory: func(m *Memory) { delete(m.Containers, "web") },
		},
		{
			name: "torn record of a container that nobody declares",
			mutate: func(in *Input) {
				in.Observed.BrokenContainers = map[string]string{"zzz": "torn", "aaa": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{
				{Verb: Remove, Sandbox: "box", Container: "aaa", Sentry: sentry, Class: classContainer, Reason: `container "aaa" is declared no more`},
				{Verb: Remove, Sandbox: "box", Container: "zzz", Sentry: sentry, Class: classContainer, Reason: `container "zzz" is declared no more`},
			},
		},
	})
}

func changedApp(m *Memory) {
	d := newDeclared(func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
	m.SpecHash = d.WorkHash
	recall(m, "app", func(c *ContainerMemory) { c.Hash, c.Fresh = d.ContainerHash[0], true })
}

// finish declares Never and has both containers ended, counted and stopped.
func finish(in *Input) {
	redeclare(in, desiredtest.Policy(desired.Never))
	in.Memory.SpecHash = in.Desired.WorkHash
	for _, name := range []string{"app", "web"} {
		end(in, name, 0, time.Minute)
		e := *containerOf(in, name).Exit
		recall(&in.Memory, name, func(c *ContainerMemory) {
			c.Seen, c.StartedAt, c.Exit, c.Attempts = c.Live, startedAt, &e, 1
		})
	}
}

// resetAfter is how long a run has to last that forgives.
func TestResetAfter(t *testing.T) {
	b := desired.RestartBackoff{ResetAfter: desired.Duration(time.Minute)}
	for ran, want := range map[time.Duration]bool{0: false, 59 * time.Second: false, time.Minute: true, time.Hour: true, -time.Hour: false} {
		if got := ranLongEnough(b, t0, t0.Add(ran)); got != want {
			t.Errorf("a run of %s forgives: %t", ran, got)
		}
	}
}

// look is the action that looks for a container whose record is lost.
func look(name, why string) Action {
	return Action{Verb: Mend, Sandbox: "box", Container: name, Sentry: sentry,
		Reason: fmt.Sprintf("the record of container %q can't be used: %s; what is in the sandbox of it is looked for", name, why)}
}

// lookedFor is what is told of that.
func lookedFor(name, why string) string {
	return fmt.Sprintf("the record containers/%s.json and its copy could not be used (%s); what is found of the container in its sandbox goes on", name, why)
}
