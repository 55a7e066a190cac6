package plan

import (
	"slices"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// plans are what is planned in each of some worlds, by the world's name.
type plans map[string][]string

type builder struct {
	name  string
	build func(in *Input)
}

// worlds are the observed states that a declared state can meet.
var worlds = []builder{
	{"absent", func(in *Input) { in.Observed = observed.Sandbox{Name: in.Name}; forgetLive(in) }},
	{"broken", func(in *Input) {
		in.Observed.Record, in.Observed.Broken = nil, "torn"
		in.Memory.MendFailed = true
	}},
	{"damaged", func(in *Input) { in.Observed.Record, in.Observed.Broken = nil, "torn" }},
	{"stood in for", func(in *Input) { in.Observed.Damaged = map[string]string{"sandbox.json": "torn"} }},
	{"half-made", func(in *Input) { recordState(in, observed.SandboxCreating) }},
	{"stopping", func(in *Input) { recordState(in, observed.SandboxStopping) }},
	{"stopped", func(in *Input) {
		noProcess(in)
		recordState(in, observed.SandboxStopped)
		for _, name := range []string{"app", "web"} {
			containerOf(in, name).Exit = &observed.Exit{Known: true, Code: 143, Reason: "Error", At: t0.Add(-time.Minute)}
		}
	}},
	{"lost", noProcess},
	{"silent", func(in *Input) {
		in.Observed.Unresponsive = true
		in.Memory.UnresponsiveSince = t0.Add(-time.Minute)
	}},
	{"up, nothing started", func(in *Input) {
		in.Observed.Containers, in.Observed.Scores = nil, in.Observed.Scores[:1]
		forgetLive(in)
	}},
	{"up, running", func(*Input) {}},
	{"paused", freeze},
	{"pausing", func(in *Input) { freeze(in); recordState(in, observed.SandboxPausing) }},
	{"resuming", func(in *Input) { freeze(in); recordState(in, observed.SandboxResuming) }},
}

// TestPlanStates tries every declared state on every observed one.
func TestPlanStates(t *testing.T) {
	const (
		cleared = "stop: the sandbox's record can't be used: torn"
		rebuild = "mend: the sandbox's record can't be used: torn; what runs of the sandbox is looked for"
		mend    = "mend: the record sandbox.json was damaged (torn); its copy is used, and what was damaged is kept as sandbox.json.damaged"
		made    = "stop: the sandbox was left half-made"
		halfway = "stop: an earlier stop of the sandbox was cut short"
		gone    = "stop: the sandbox's sentry is gone"
		mute    = "stop: the sandbox's sentry has not answered for 30s"
		create  = "create: the sandbox is declared and was not there"
		reviveR = "create: the declared state is Running and no process was left"
		reviveP = "create: the declared state is Paused and no process was left"
		reviveC = "create: the declared state is Created and no process was left"
		reviveS = "create: the declared state is Suspended and no process was left"
		save    = "suspend: the declared state is Suspended"
		startA  = `start app: first start of container "app"`
		startW  = `start web: first start of container "web"`
		thawR   = "resume: the declared state is Running"
		thawN   = "resume: the sandbox is declared no more; its containers are thawed so that they can end"
		thawS   = "resume: the declared state is Stopped; its containers are thawed so that they can end"
		thawC   = whyCreated + "; its containers are thawed so that they can end"
		left    = "destroy: the sandbox is declared no more; nothing runs in it that could be asked to end"
		refreez = "pause: the declared state is Paused, and an earlier pause was cut short"
	)
	asks := func(why string) []string {
		return []string{
			"signal app: " + why + `; container "app" has 30s to end`,
			"signal web: " + why + `; container "web" has 30s to end`,
		}
	}
	one := func(s string) []string { return []string{s} }
	want := map[desired.State]plans{
		desired.Running: {
			"absent": one(create), "broken": one(cleared), "damaged": one(rebuild), "stood in for": one(mend), "half-made": one(made), "stopping": one(halfway),
			"stopped": one(reviveR), "lost": one(gone), "silent": one(mute),
			"up, nothing started": {startA, startW}, "up, running": nil,
			"paused": one(thawR), "pausing": one(thawR), "resuming": one(thawR),
		},
		desired.Paused: {
			"absent": one(create), "broken": one(cleared), "damaged": one(rebuild), "stood in for": one(mend), "half-made": one(made), "stopping": one(halfway),
			"stopped": one(reviveP), "lost": one(gone), "silent": one(mute),
			"up, nothing started": {startA, startW}, "up, running": one("pause: the declared state is Paused"),
			"paused": nil, "pausing": one(refreez), "resuming": one(refreez),
		},
		desired.Stopped: {
			"absent": nil, "broken": one(cleared), "damaged": one(rebuild), "stood in for": one(mend), "half-made": one(made), "stopping": one(halfway),
			"stopped": nil, "lost": one(gone), "silent": one(mute),
			"up, nothing started": one("stop: the declared state is Stopped; no container runs"),
			"up, running":         asks(whyStopped),
			"paused":              one(thawS), "pausing": one(thawS), "resuming": one(thawS),
		},
		desired.Suspended: {
			"absent": one(create), "broken": one(cleared), "damaged": one(rebuild), "stood in for": one(mend), "half-made": one(made), "stopping": one(halfway),
			"stopped": one(reviveS), "lost": one(gone), "silent": one(mute),
			"up, nothing started": {startA, startW}, "up, running": one(save),
			"paused": one(save), "pausing": one(save), "resuming": one(save),
		},
		desired.Created: {
			"absent": one(create), "broken": one(cleared), "damaged": one(rebuild), "stood in for": one(mend), "half-made": one(made), "stopping": one(halfway),
			"stopped": one(reviveC), "lost": one(gone), "silent": one(mute),
			"up, nothing started": nil, "up, running": asks(whyCreated),
			"paused": one("resume: " + thawC), "pausing": one("resume: " + thawC), "resuming": one("resume: " + thawC),
		},
		"": { // no manifest
			"absent": nil, "broken": one(left), "damaged": one(left), "stood in for": asks("the sandbox is declared no more"), "half-made": one(left), "stopping": one(left),
			"stopped": one(left), "lost": one(left),
			"silent":              one("destroy: the sandbox is declared no more; its sentry has not answered for 30s"),
			"up, nothing started": one("destroy: the sandbox is declared no more; no container runs"),
			"up, running":         asks("the sandbox is declared no more"),
			"paused":              one(thawN), "pausing": one(thawN), "resuming": one(thawN),
		},
	}
	checkStates(t, worlds, want)
}

// checkStates tries the declared states on worlds; "" is no manifest.
func checkStates(t *testing.T, worlds []builder, want map[desired.State]plans) {
	t.Helper()
	for s, plans := range want {
		for _, w := range worlds {
			t.Run(string(s)+"/"+w.name, func(t *testing.T) {
				expected, ok := plans[w.name]
				if !ok {
					t.Fatal("no row")
				}
				in := settled(newDeclared())
				w.build(&in)
				in.Observed.Scores = nil // the scores have rows of their own
				if s == "" {
					undeclare(&in)
				} else {
					redeclare(&in, desiredtest.State(s))
					in.Memory.SpecHash = in.Desired.WorkHash
				}
				var got []string
				for _, a := range Decide(in).Actions {
					line := string(a.Verb)
					if a.Container != "" {
						line += " " + a.Container
					}
					got = append(got, line+": "+a.Reason)
				}
				if !slices.Equal(got, expected) {
					t.Errorf("planned %q, expected %q", got, expected)
				}
			})
		}
	}
}

// TestPlanStateDetails holds what the matrix of states does not show.
func TestPlanStateDetails(t *testing.T) {
	declared := func(in *Input, changes ...func(*desired.Sandbox)) {
		redeclare(in, changes...)
		in.Memory.SpecHash = in.Desired.WorkHash
	}
	run(t, []row{
		{
			name: "Created: what ran in an earlier sandbox does not count",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Created))
				finishAs(in, 143)
				in.Memory.RanIn = observed.Process{PID: 1, StartTime: 1}
			},
		},
		{
			name: "Created: what ended in this sandbox does",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Created))
				finishAs(in, 143)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: whyCreated + "; no container runs"}},
		},
		{
			name: "Created: a torn record's container is taken out",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Created))
				in.Observed.Containers, in.Observed.Scores = nil, nil
				forgetLive(in)
				in.Observed.BrokenContainers = map[string]string{"app": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Remove, Sandbox: "box", Container: "app", Sentry: sentry,
				Reason: `the record of container "app" can't be used (torn), and no command is to run`}},
		},
		{
			name: "Stopped: ends are remembered as asked for",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Stopped))
				asked(true, "app")(&in.Memory)
				in.Observed.Containers, in.Observed.Scores = in.Observed.Containers[:1], nil
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Live = "" })
				end(in, "app", 143, 0)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: whyStopped + "; no container runs"}},
			memory: func(m *Memory) {
				m.StopAsked = time.Time{}
				counted(observed.Exit{Known: true, Code: 143, Reason: observed.ReasonStopped, Message: "ended, as it was asked to", At: t0}, func(c *ContainerMemory) {
					c.Attempts, c.StopID, c.StopAsked, c.Fresh = 0, "", time.Time{}, true
				})(m)
			},
		},
		{
			name: "Stopped: a silent sentry has the grace period and no more",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Stopped), func(s *desired.Sandbox) { s.Spec.TerminationGracePeriodSeconds = new(int64(4)) })
				in.Observed.Unresponsive = true
				in.Memory.UnresponsiveSince = t0.Add(-4 * time.Second)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the sandbox's sentry has not answered for 4s", ExitReason: "SandboxLost"}},
			memory: func(m *Memory) {
				m.GraceSeconds, m.Losses, m.LostSentry = new(int64(4)), 1, sentry
			},
			conditions: []Condition{{RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer"}},
		},
		{
			name: "Stopped, then Running: what had ended under Never runs again",
			mutate: func(in *Input) {
				finish(in)
				noProcess(in)
				recordState(in, observed.SandboxStopped)
				for _, name := range []string{"app", "web"} {
					recall(&in.Memory, name, func(c *ContainerMemory) { c.Fresh, c.Attempts = true, 0 })
				}
				in.Memory.SpecHash = newDeclared(desiredtest.Policy(desired.Never), desiredtest.State(desired.Stopped)).WorkHash
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the declared state is Running and no process was left"}},
			memory:  func(m *Memory) { m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash },
		},
		{
			name: "Paused: restarts rest",
			mutate: func(in *Input) {
				waiting(in, 3, time.Hour)
				declared(in, desiredtest.State(desired.Paused))
				freeze(in)
			},
		},
		{
			name: "Paused, up, one waits in back-off: frozen all the same",
			mutate: func(in *Input) {
				waiting(in, 9, time.Second)
				declared(in, desiredtest.State(desired.Paused))
			},
			actions: []Action{{Verb: Pause, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Paused"}},
		},
		{
			name: "Paused, up, one was asked to end: waits",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Paused), func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] })
				in.Observed.Record.LimitsHash = in.Desired.LimitsHash
				asked(false, "web")(&in.Memory)
			},
			again: 30 * time.Second,
		},
		{
			name: "Paused, a container was changed: thawed for a while",
			mutate: func(in *Input) {
				changedApp(&in.Memory)
				declared(in, desiredtest.State(desired.Paused), func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				freeze(in)
			},
			actions: []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry, Class: classContainer,
				Reason: `thawed for a while: container "app" was changed: args; it has 30s to end`}},
		},
		{
			name: "Paused, a container was added: thawed for a while",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Paused))
				freeze(in)
				in.Observed.Containers = in.Observed.Containers[:1]
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Live = "" })
			},
			actions: []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry,
				Reason: `thawed for a while: first start of container "web"`}},
		},
		{
			name: "Paused, torn records that nobody declares: explained by the first",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Paused))
				freeze(in)
				in.Observed.BrokenContainers = map[string]string{"z": "torn", "y": "torn", "c": "torn", "b": "torn", "a": "torn"}
				in.Memory.MendFailed = true
			},
			actions: []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry, Class: classContainer,
				Reason: `thawed for a while: container "a" is declared no more`}},
		},
		{
			name: "Paused: limits and scores are kept true",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Paused))
				freeze(in)
				in.Observed.Scores[0].Value = 1
			},
			actions: []Action{{Verb: SetOOMScore, Sandbox: "box", Sentry: sentry, Class: classInPlace,
				Reason: "process 4711 of the sandbox had the OOM score 1 and not 200 (declared)"}},
		},
		{
			name: "Paused, all have ended for good: stopped",
			mutate: func(in *Input) {
				finish(in)
				declared(in, desiredtest.Policy(desired.Never), desiredtest.State(desired.Paused))
				freeze(in)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "every container has ended and is not to run again"}},
		},
		{
			name: "no grace: a stop kills at once, and no back-off follows",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Stopped), func(s *desired.Sandbox) { s.Spec.TerminationGracePeriodSeconds = new(int64(0)) })
				in.Memory.GraceSeconds = new(int64(0))
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: whyStopped + "; it has no grace period"}},
			memory:  asked(false, "app", "web"),
		},
	})
}

// finishAs has both containers ended and counted, as asked for.
func finishAs(in *Input, code int) {
	for _, name := range []string{"app", "web"} {
		end(in, name, code, time.Minute)
		e := *containerOf(in, name).Exit
		recall(&in.Memory, name, func(c *ContainerMemory) {
			c.Seen, c.StartedAt, c.Exit, c.Fresh = c.Live, startedAt, &e, true
		})
	}
	in.Observed.Scores = in.Observed.Scores[:1]
}
