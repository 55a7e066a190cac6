package plan

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

const mib = 1 << 20

// using has the base case's containers use that many MiB, as was found when
// their cgroup used 40 MiB more than both.
func using(app, web int64) func(in *Input) {
	return func(in *Input) {
		in.Observed.Memory = observed.Memory{
			UsageBytes: (app + web + 40) * mib, ContainersAt: (app + web + 40) * mib, PeakBytes: (app + web + 40) * mib, LimitBytes: 288 * mib,
			Containers: map[string]int64{"box.app.1": app * mib, "box.web.1": web * mib},
		}
	}
}

// kernelKilled has the kernel have killed that many times, last that process.
func kernelKilled(kills uint64, pid int) func(in *Input) {
	return func(in *Input) {
		in.Observed.Memory = observed.Memory{UsageBytes: 288 * mib, PeakBytes: 288 * mib, LimitBytes: 288 * mib, Kills: kills, KilledPID: pid}
	}
}

func both(changes ...func(*Input)) func(*Input) {
	return func(in *Input) {
		for _, change := range changes {
			change(in)
		}
	}
}

func TestPlanOverLimit(t *testing.T) {
	const why = `container "app" used 64.5 MiB of memory, more than its limit of 64.0 MiB`
	over := func(in *Input) {
		using(0, 100)(in)
		in.Observed.Memory.Containers["box.app.1"] = 64*mib + mib/2
	}
	killed := observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "Error", Message: "ended by SIGKILL", At: t0}
	run(t, []row{
		{name: "within its limit", mutate: using(64, 128)},
		{
			name:   "over its limit: killed, and nobody else",
			mutate: over,
			actions: []Action{{Verb: Kill, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry,
				Reason: why, ExitReason: observed.ReasonOOMKilled, ExitMessage: why + "; all its processes were killed"}},
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason, c.StopMessage = t0, "box.app.1", observed.ReasonOOMKilled, why+"; all its processes were killed"
				})
			},
		},
		{
			name: "killed a moment ago: about to end",
			mutate: both(over, func(in *Input) {
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason, c.StopMessage = t0.Add(-oomAgain/2), "box.app.1", observed.ReasonOOMKilled, why
				})
			}),
			again: oomAgain / 2,
		},
		{
			name: "killed for its limit: named and restarted",
			mutate: func(in *Input) {
				endWith(in, "app", killed)
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason, c.StopMessage = t0, "box.app.1", observed.ReasonOOMKilled, why
				})
			},
			actions: []Action{restartOf("app", `container "app" was killed for want of memory; restart 1 at once`)},
			memory: counted(observed.Exit{Known: true, Code: 137, Signal: 9, Reason: observed.ReasonOOMKilled, Message: why, At: t0},
				func(c *ContainerMemory) { c.StopID, c.StopReason, c.StopMessage, c.StopAsked = "", "", "", time.Time{} }),
			notices: []Notice{{"app", observed.ReasonOOMKilled, why}},
		},
		{
			name: "over its limit while it is frozen: it can take no more",
			mutate: both(over, freeze, func(in *Input) {
				redeclare(in, desiredtest.State(desired.Paused))
				in.Memory.SpecHash = in.Desired.WorkHash
			}),
		},
		{
			name: "no limit",
			mutate: func(in *Input) {
				redeclare(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Resources.Limits.Memory = nil })
				in.Observed.Record.LimitsHash, in.Memory.SpecHash = in.Desired.LimitsHash, in.Desired.WorkHash
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.MemoryLimit = 0 })
				using(1000, 0)(in)
			},
		},
	})
}

// A limit that is lowered below what is in use kills nobody: it waits.
func TestPlanLimitChanged(t *testing.T) {
	limited := func(limit string) func(in *Input) {
		return func(in *Input) {
			redeclare(in, func(s *desired.Sandbox) {
				s.Spec.Containers[0].Resources.Limits.Memory = new(resource.MustParse(limit))
			})
			in.Observed.Record.LimitsHash, in.Memory.SpecHash = in.Desired.LimitsHash, in.Desired.WorkHash
		}
	}
	inForce := func(bytes int64) func(m *Memory) {
		return func(m *Memory) { recall(m, "app", func(c *ContainerMemory) { c.MemoryLimit = bytes }) }
	}
	run(t, []row{
		{name: "raised", mutate: both(limited("96Mi"), using(50, 0)), memory: inForce(96 * mib)},
		{name: "lowered, above use", mutate: both(limited("32Mi"), using(32, 0)), memory: inForce(32 * mib)},
		{
			name: "lowered, below use: waits", mutate: both(limited("32Mi"), using(50, 0)),
			conditions: []Condition{{LimitsDenied, "InUse", `container "app" uses 50.0 MiB, more than its new memory limit of 32.0 MiB; ` +
				`until it uses less the one of 64.0 MiB is in force`}},
		},
		{
			name: "lowered, nobody asked yet, and the whole sandbox uses less", mutate: both(limited("32Mi"), func(in *Input) {
				in.Observed.Memory.UsageBytes = 32 * mib
			}),
			memory: inForce(32 * mib),
		},
		{
			name: "lowered, nobody asked yet: waits for the answer", mutate: both(limited("32Mi"), func(in *Input) {
				in.Observed.Memory.UsageBytes = 33 * mib
			}),
			conditions: []Condition{{LimitsDenied, "InUse", `container "app" uses an unknown amount, more than its new memory limit of 32.0 MiB; ` +
				`until it uses less the one of 64.0 MiB is in force`}},
		},
	})
}

func TestPlanKernelKill(t *testing.T) {
	const reached = "the sandbox reached its limit of 288.0 MiB (peak 288.0 MiB) and the kernel killed "
	sentryGone := func(in *Input) {
		noProcess(in)
		in.Observed.CgroupExists = true
		for i := range in.Observed.Containers {
			in.Observed.Containers[i].Exit = &observed.Exit{Reason: observed.ReasonSandboxLost}
		}
	}
	stop := func(reason, exit, message string) []Action {
		return []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: reason, ExitReason: exit, ExitMessage: message}}
	}
	lossOf := func(reason, message string) func(m *Memory) {
		return func(m *Memory) {
			m.Losses, m.LostSentry = 1, sentry
			for _, name := range []string{"app", "web"} {
				recall(m, name, func(c *ContainerMemory) {
					c.Seen, c.StartedAt, c.Attempts = c.Live, startedAt, 1
					c.Exit = &observed.Exit{At: t0, Reason: reason, Message: message}
				})
			}
		}
	}
	told := func(m *Memory) { m.OOMKills, m.OOMSentry, m.OOMSeen = 1, sentry, t0.Add(-time.Minute) }
	signalled := observed.Exit{Known: true, Code: 137, Signal: 9, Reason: "Error", At: t0}
	run(t, []row{
		{
			name:    "the sentry: the sandbox is lost for it",
			mutate:  both(sentryGone, kernelKilled(1, sentry.PID)),
			actions: stop("the sandbox's sentry is gone: "+reached+"its sentry (process 4711)", observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			memory:  lossOf(observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			notices: []Notice{{"app", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}, {"web", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}},
		},
		{
			name:    "the sentry and, last, a gofer",
			mutate:  both(sentryGone, kernelKilled(2, appGofer.PID)),
			actions: stop("the sandbox's sentry is gone: "+reached+"its sentry (process 4711)", observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			memory:  lossOf(observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			notices: []Notice{{"app", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}, {"web", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}},
		},
		{
			name:    "the sentry is gone, and only an old kill is counted",
			mutate:  both(sentryGone, kernelKilled(1, 5), func(in *Input) { told(&in.Memory) }),
			actions: stop("the sandbox's sentry is gone", observed.ReasonSandboxLost, ""),
			memory:  lossOf(observed.ReasonSandboxLost, ""),
		},
		{
			name:    "the sentry is gone, and a kill was told of while it lived",
			mutate:  both(sentryGone, kernelKilled(1, 0), func(in *Input) { told(&in.Memory); in.Memory.OOMSeen = t0.Add(-time.Second) }),
			actions: stop("the sandbox's sentry is gone: "+reached+"its sentry (process 4711)", observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			memory:  lossOf(observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			notices: []Notice{{"app", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}, {"web", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}},
		},
		{
			name:    "the sentry is gone, and a kill that was told of is known to be its",
			mutate:  both(sentryGone, kernelKilled(1, sentry.PID), func(in *Input) { told(&in.Memory) }),
			actions: stop("the sandbox's sentry is gone: "+reached+"its sentry (process 4711)", observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			memory:  lossOf(observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			notices: []Notice{{"app", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}, {"web", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}},
		},
		{
			name: "the sentry is gone, and the kill that was told of was another sandbox's",
			mutate: both(sentryGone, kernelKilled(1, 0), func(in *Input) {
				told(&in.Memory)
				in.Memory.OOMSentry.PID++
			}),
			actions: stop("the sandbox's sentry is gone: "+reached+"its sentry (process 4711)", observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			memory:  lossOf(observed.ReasonOOMKilled, reached+"its sentry (process 4711)"),
			notices: []Notice{{"app", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}, {"web", observed.ReasonOOMKilled, reached + "its sentry (process 4711)"}},
		},
		{
			name: "the host's memory, not the sandbox's",
			mutate: both(kernelKilled(1, appGofer.PID), func(in *Input) {
				in.Observed.Memory.LimitBytes, in.Observed.Memory.PeakBytes = 0, 50*mib
			}),
			memory: func(m *Memory) { m.OOMKills, m.OOMSentry, m.OOMSeen = 1, sentry, t0 },
			notices: []Notice{{"", observed.ReasonOOMKilled,
				`the host ran out of memory and the kernel killed the gofer of container "app" (process 4710); the sandbox had used 50.0 MiB at most`}},
		},
		{
			name:    "nobody says whom",
			mutate:  kernelKilled(1, 0),
			memory:  func(m *Memory) { m.OOMKills, m.OOMSentry, m.OOMSeen = 1, sentry, t0 },
			notices: []Notice{{"", observed.ReasonOOMKilled, reached + "one of its processes"}},
		},
		{
			name:   "told of before",
			mutate: both(kernelKilled(1, 5), func(in *Input) { told(&in.Memory) }),
		},
		{
			name:    "a stub: its container ends for it",
			mutate:  both(kernelKilled(1, 5), func(in *Input) { endWith(in, "app", signalled) }),
			actions: []Action{restartOf("app", `container "app" was killed for want of memory; restart 1 at once`)},
			memory: func(m *Memory) {
				counted(observed.Exit{Known: true, Code: 137, Signal: 9, Reason: observed.ReasonOOMKilled, Message: reached + "process 5, an application's", At: t0}, nil)(m)
				m.OOMKills, m.OOMSentry, m.OOMSeen = 1, sentry, t0
			},
			notices: []Notice{{"", observed.ReasonOOMKilled, reached + "process 5, an application's"}, {"app", observed.ReasonOOMKilled, reached + "process 5, an application's"}},
		},
		{
			name: "an end long after a kill is another matter",
			mutate: both(kernelKilled(1, 5), func(in *Input) {
				endWith(in, "app", signalled)
				told(&in.Memory)
			}),
			actions: []Action{restartOf("app", `container "app" was ended by SIGKILL; restart 1 at once`)},
			memory:  counted(signalled, nil),
		},
		{
			name: "an end that was asked for is another matter",
			mutate: both(kernelKilled(1, 5), func(in *Input) {
				endWith(in, "app", signalled)
				recall(&in.Memory, "app", func(c *ContainerMemory) {
					c.StopAsked, c.StopID, c.StopReason = t0, "box.app.1", observed.ReasonGoferLost
				})
			}),
			actions: []Action{restartOf("app", `container "app" lost its gofer; restart 1 at once`)},
			memory: func(m *Memory) {
				counted(observed.Exit{Known: true, Code: 137, Signal: 9, Reason: observed.ReasonGoferLost, At: t0},
					func(c *ContainerMemory) { c.StopID, c.StopReason, c.StopAsked = "", "", time.Time{} })(m)
				m.OOMKills, m.OOMSentry, m.OOMSeen = 1, sentry, t0
			},
			notices: []Notice{{"", observed.ReasonOOMKilled, reached + "process 5, an application's"}},
		},
	})
}

func TestMemoryMark(t *testing.T) {
	for _, c := range []struct {
		name   string
		mutate func(in *Input)
		want   int64
	}{
		{"nobody was asked: the smallest limit", func(in *Input) {}, 64 * mib},
		{"what is left to the one that is nearest to its limit", using(20, 100), (20 + 100 + 40 + 28) * mib},
		{"at its limit: a step", using(64, 100), 204*mib + MemoryStep},
		{"one that has started since has used nothing", both(using(60, 100), func(in *Input) {
			delete(in.Observed.Memory.Containers, "box.app.1")
		}), (60 + 100 + 40 + 28) * mib},
		{"what ended does not count", both(using(60, 0), func(in *Input) { end(in, "app", 0, 0) }), (60 + 40 + 128) * mib},
		{"no limits", func(in *Input) {
			redeclare(in, func(s *desired.Sandbox) {
				for i := range s.Spec.Containers {
					s.Spec.Containers[i].Resources = desired.Resources{}
				}
			})
		}, 0},
		{"nothing is declared", undeclare, 0},
		{"nothing runs", noProcess, 0},
	} {
		in := settled(newDeclared())
		c.mutate(&in)
		if got := Decide(in).MemoryMark; got != c.want {
			t.Errorf("%s: %d MiB, want %d MiB", c.name, got/mib, c.want/mib)
		}
	}
}

// No container can be more than a step over its limit before the mark is
// reached, so long as nobody gives memory back.
func TestMemoryMarkIsInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := settled(newDeclared())
		used := []int64{rapid.Int64Range(0, 64*mib).Draw(t, "app"), rapid.Int64Range(0, 128*mib).Draw(t, "web")}
		rest := rapid.Int64Range(0, 100*mib).Draw(t, "rest")
		at := used[0] + used[1] + rest
		in.Observed.Memory = observed.Memory{UsageBytes: at}
		if rapid.Bool().Draw(t, "asked") {
			in.Observed.Memory.ContainersAt = at
			in.Observed.Memory.Containers = map[string]int64{"box.app.1": used[0], "box.web.1": used[1]}
		}
		mark := Decide(in).MemoryMark
		// They take as much as they like, in any order.
		for _, more := range rapid.SliceOf(rapid.Int64Range(0, 40*mib)).Draw(t, "more") {
			who := rapid.IntRange(0, 1).Draw(t, "who")
			used[who] += more
			at += more
			limits := []int64{64 * mib, 128 * mib}
			over := slices.ContainsFunc([]int{0, 1}, func(i int) bool { return used[i] > limits[i]+MemoryStep })
			if over && at < mark {
				t.Fatalf("app uses %d, web %d, the cgroup %d, and the mark is %d", used[0], used[1], at, mark)
			}
		}
	})
}
