package plan

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

var before = &desired.PreStop{Sleep: &desired.SleepAction{Seconds: 5}}

// careful has app declared with something to do before it is stopped.
func careful(d *desired.Sandbox) { d.Spec.Containers[0].Lifecycle.PreStop = before }

// carefully is the base case with it, remembered as declared.
func carefully(in *Input, changes ...func(*desired.Sandbox)) {
	*in = settled(newDeclared(careful))
	recall(&in.Memory, "app", func(c *ContainerMemory) { c.PreStop = before })
	if len(changes) > 0 {
		in.Desired = newDeclared(append(changes, careful)...)
		in.Memory.SpecHash = in.Desired.WorkHash
	}
}

// begun says that app has begun it so long ago, and what is known of that.
func begun(in *Input, ago time.Duration, is observed.PreStop) {
	recall(&in.Memory, "app", func(c *ContainerMemory) {
		c.StopID, c.StopAsked, c.PreStopping = "box.app.1", t0.Add(-ago), "box.app.1"
	})
	containerOf(in, "app").PreStop = is
}

func preStopApp(reason, class string, until time.Duration) Action {
	return Action{Verb: PreStop, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Reason: reason, Class: class,
		PreStop: before, Until: t0.Add(until)}
}

func TestPlanPreStop(t *testing.T) {
	const changed = `container "app" was changed`
	change := func(in *Input) { containerOf(in, "app").Hash = "old" }
	beginning := func(m *Memory) {
		recall(m, "app", func(c *ContainerMemory) { c.StopID, c.StopAsked, c.PreStopping = "box.app.1", t0, "box.app.1" })
	}
	signalled := func(m *Memory) {
		recall(m, "app", func(c *ContainerMemory) { c.PreStopping, c.SignalledAt = "", t0 })
	}
	afterSignal := func(in *Input, asked, signal time.Duration) {
		begun(in, asked, observed.PreStopOver)
		recall(&in.Memory, "app", func(c *ContainerMemory) { c.PreStopping, c.SignalledAt = "", t0.Add(-signal) })
	}
	webAsked := func(ago time.Duration) func(m *Memory) {
		return func(m *Memory) {
			m.StopAsked = t0.Add(-ago)
			recall(m, "web", func(c *ContainerMemory) { c.StopID, c.StopAsked = "box.web.1", t0.Add(-ago) })
		}
	}
	run(t, []row{
		{name: "nothing is stopped", mutate: func(in *Input) { carefully(in) }},
		{
			name:    "changed: it is done first",
			mutate:  func(in *Input) { carefully(in); change(in) },
			actions: []Action{preStopApp(changed+"; it has 30s to end, and begins with its preStop", classContainer, 30*time.Second)},
			memory:  beginning,
		},
		{
			name:   "it goes on",
			mutate: func(in *Input) { carefully(in); change(in); begun(in, 5*time.Second, observed.PreStopRuns) },
			again:  25 * time.Second,
		},
		{
			name:    "it is over: the signal",
			mutate:  func(in *Input) { carefully(in); change(in); begun(in, 5*time.Second, observed.PreStopOver) },
			actions: []Action{signalApp(changed+"; it is past its preStop", classContainer)},
			memory:  signalled,
		},
		{
			name:    "it has taken all the time: the signal too",
			mutate:  func(in *Input) { carefully(in); change(in); begun(in, 30*time.Second, observed.PreStopRuns) },
			actions: []Action{signalApp(changed+"; it is past its preStop", classContainer)},
			memory:  signalled,
		},
		{
			name:   "after the signal the rest of the time",
			mutate: func(in *Input) { carefully(in); change(in); afterSignal(in, 10*time.Second, time.Second) },
			again:  20 * time.Second,
		},
		{
			name:   "after the signal two seconds at least",
			mutate: func(in *Input) { carefully(in); change(in); afterSignal(in, 30*time.Second, time.Second) },
			again:  time.Second,
		},
		{
			name:   "then no more",
			mutate: func(in *Input) { carefully(in); change(in); afterSignal(in, 32*time.Second, 2*time.Second) },
			actions: []Action{{Verb: Start, Sandbox: "box", Container: "app", ContainerID: "box.app.1", Sentry: sentry, Class: classContainer,
				Reason: changed + "; its grace period of 30s is over"}},
		},
		{
			name:    "a new daemon knows nothing of it: it is begun anew, for the time that is left",
			mutate:  func(in *Input) { carefully(in); change(in); begun(in, 5*time.Second, observed.PreStopNone) },
			actions: []Action{preStopApp(changed+"; it has 30s to end, and begins with its preStop", classContainer, 25*time.Second)},
		},
		{
			name: "it was taken out of the manifest meanwhile",
			mutate: func(in *Input) {
				carefully(in)
				change(in)
				begun(in, 5*time.Second, observed.PreStopNone)
				in.Desired = newDeclared()
			},
			actions: []Action{signalApp(changed+"; it is past its preStop", classContainer)},
			memory: func(m *Memory) {
				signalled(m)
				m.SpecHash = newDeclared().WorkHash
				recall(m, "app", func(c *ContainerMemory) { c.PreStop = nil })
			},
		},
		{
			name:   "called off while it went on: nothing follows",
			mutate: func(in *Input) { carefully(in); begun(in, 5*time.Second, observed.PreStopOver) },
		},
		{
			name:   "called off long ago: forgotten",
			mutate: func(in *Input) { carefully(in); begun(in, time.Minute, observed.PreStopOver) },
			memory: func(m *Memory) {
				recall(m, "app", func(c *ContainerMemory) { c.StopID, c.StopAsked, c.PreStopping = "", time.Time{}, "" })
			},
		},
		{
			name:    "stopped: each in its own way",
			mutate:  func(in *Input) { carefully(in, desiredtest.State(desired.Stopped)) },
			actions: []Action{preStopApp(whyStopped+`; container "app" has 30s to end, and begins with its preStop`, classInPlace, 30*time.Second), webStops()},
			memory:  func(m *Memory) { beginning(m); webAsked(0)(m) },
			again:   30 * time.Second,
		},
		{
			name: "stopped: one is late, and gets its signal after the grace period",
			mutate: func(in *Input) {
				carefully(in, desiredtest.State(desired.Stopped))
				begun(in, 30*time.Second, observed.PreStopRuns)
				webAsked(30 * time.Second)(&in.Memory)
			},
			actions: []Action{signalApp(whyStopped+`; container "app" is past its preStop`, classInPlace)},
			memory:  signalled,
			again:   0,
		},
		{
			name: "stopped: its two seconds",
			mutate: func(in *Input) {
				carefully(in, desiredtest.State(desired.Stopped))
				afterSignal(in, 31*time.Second, time.Second)
				webAsked(31 * time.Second)(&in.Memory)
			},
			again: time.Second,
		},
		{
			name: "declared no more: what is remembered is done",
			mutate: func(in *Input) {
				carefully(in)
				undeclare(in)
				end(in, "web", 0, time.Second)
			},
			actions: []Action{preStopApp(`the sandbox is declared no more; container "app" has 30s to end, and begins with its preStop`, "", 30*time.Second)},
			memory:  func(m *Memory) { beginning(m); m.StopAsked = t0 },
			again:   30 * time.Second,
		},
		{
			name: "no grace period: nothing is done",
			mutate: func(in *Input) {
				carefully(in, desiredtest.State(desired.Stopped), noGrace)
				in.Memory.GraceSeconds = new(int64(0))
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classInPlace,
				Reason: whyStopped + "; it has no grace period"}},
			memory: func(m *Memory) {
				for _, name := range []string{"app", "web"} {
					recall(m, name, func(c *ContainerMemory) { c.StopID, c.StopAsked = "box."+name+".1", t0 })
				}
			},
		},
		{
			name: "an unhealthy container does it too",
			mutate: func(in *Input) {
				*in = settled(newDeclared(careful, desiredtest.Probed))
				recall(&in.Memory, "app", func(c *ContainerMemory) { c.PreStop = before })
				health(in, Health{Failed: LivenessProbe, Liveness: "no"})
			},
			actions: []Action{withExit(preStopApp(`container "app" is unhealthy: its liveness probe failed: no; it has 30s to end, and begins with its preStop`,
				"", 30*time.Second), "its liveness probe failed: no")},
			memory: func(m *Memory) {
				beginning(m)
				recall(m, "app", func(c *ContainerMemory) {
					c.StopReason, c.StopMessage = observed.ReasonUnhealthy, "its liveness probe failed: no"
				})
			},
		},
		{
			name:    "ended by itself: nothing is done",
			mutate:  func(in *Input) { carefully(in); end(in, "app", 3, time.Second) },
			actions: []Action{restartOf("app", `container "app" ended with exit code 3; restart 1 at once`)},
			memory:  counted(observed.Exit{Known: true, Code: 3, Reason: "Error", At: t0.Add(-time.Second)}, nil),
		},
	})
}

func noGrace(d *desired.Sandbox) { d.Spec.TerminationGracePeriodSeconds = new(int64(0)) }

func webStops() Action {
	return Action{Verb: Signal, Sandbox: "box", Container: "web", ContainerID: "box.web.1", Sentry: sentry, Signal: "SIGTERM", Class: classInPlace,
		Reason: whyStopped + `; container "web" has 30s to end`}
}

// What could not be begun was not: it is begun anew, also where an earlier one is
// over, and its time with it.
func TestPreStopNotBegun(t *testing.T) {
	in := settled(newDeclared(careful))
	carefully(&in)
	c := containerOf(&in, "app")
	c.Hash, c.PreStop = "old", observed.PreStopOver
	first := Decide(in)
	in.Memory = first.Memory
	for _, a := range first.Actions {
		in.Memory = in.Memory.Failed(a, in.Desired, errFailed, in.Now)
	}
	in.Now = in.Now.Add(10 * time.Second)
	second := Decide(in)
	if len(second.Actions) != 1 || second.Actions[0].Verb != PreStop || !second.Actions[0].Until.Equal(in.Now.Add(30*time.Second)) {
		t.Errorf("then %+v", second.Actions)
	}
}
