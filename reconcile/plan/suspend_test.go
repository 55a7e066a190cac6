package plan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

// saved gives the sandbox a checkpoint of the base case.
func saved(in *Input) {
	spec, _ := json.Marshal(desiredtest.Sandbox().Spec) // plain data
	in.Observed.Image = &observed.Image{Sandbox: "box", CreatedAt: t0.Add(-time.Hour), Spec: spec}
	for _, c := range in.Observed.Containers {
		in.Observed.Image.Containers = append(in.Observed.Image.Containers, c.ContainerRecord)
	}
}

// suspend is the world in which the sandbox is on disk and nowhere else.
func suspend(in *Input) {
	saved(in)
	noProcess(in)
	recordState(in, observed.SandboxStopped)
	in.Observed.Record.Sentry = observed.Process{}
	in.Observed.Containers = nil
}

// onDisk are the worlds of a sandbox that has a checkpoint, or is about to.
var onDisk = []builder{
	{"suspended", suspend},
	{"suspended, records lost", func(in *Input) {
		suspend(in)
		in.Observed.Record, in.Observed.Sentry = nil, observed.None
	}},
	{"suspended, rebooted", func(in *Input) {
		suspend(in)
		in.Observed.Record, in.Observed.Sentry, in.Observed.Broken = nil, observed.None, "of another boot"
	}},
	{"saving", func(in *Input) { recordState(in, observed.SandboxSaving) }},
	{"saving, written", func(in *Input) { saved(in); recordState(in, observed.SandboxSaving) }},
	{"paused, written", func(in *Input) { saved(in); freeze(in) }},
	{"lost, written", func(in *Input) { saved(in); freeze(in); noProcess(in) }},
	{"up, written", saved},
	{"restoring", func(in *Input) { saved(in); recordState(in, observed.SandboxRestoring) }},
	{"restoring from another", func(in *Input) { recordState(in, observed.SandboxRestoring) }},
	{"restoring, lost", func(in *Input) { saved(in); recordState(in, observed.SandboxRestoring); noProcess(in) }},
}

// TestPlanSuspended tries every declared state on every state of a suspended
// sandbox, or one that is about to be.
func TestPlanSuspended(t *testing.T) {
	const (
		cleared = "stop: the sandbox's record can't be used: of another boot"
		gone    = "stop: the sandbox's sentry is gone"
		stale   = "discard: the sandbox has run since its checkpoint was made: the checkpoint is discarded"
		end     = "stop: the declared state is Suspended and the checkpoint is written"
		goOn    = "restore: an earlier restore of the sandbox was cut short"
		left    = "destroy: the sandbox is declared no more; it is suspended, so nothing runs in it that could be asked to end"
	)
	one := func(s string) []string { return []string{s} }
	restores := func(state string) plans {
		restore := one("restore: the declared state is " + state + " and the sandbox was suspended")
		discard := one("discard: the declared state is " + state + ": the checkpoint is discarded")
		thaw := one("resume: the declared state is Running")
		if state == "Paused" {
			thaw = one("pause: the declared state is Paused, and an earlier pause was cut short")
		}
		return plans{
			"suspended": restore, "suspended, records lost": restore, "suspended, rebooted": one(cleared),
			"saving": thaw, "saving, written": discard, "paused, written": discard,
			"lost, written": one(gone), "up, written": one(stale),
			"restoring": one(goOn), "restoring from another": one(goOn), "restoring, lost": one(gone),
		}
	}
	discards := func(state, thaw string) plans {
		discard := one("discard: the declared state is " + state + ": the checkpoint is discarded")
		kill := one("stop: the declared state is " + state + ", and the sandbox is being restored")
		return plans{
			"suspended": discard, "suspended, records lost": discard, "suspended, rebooted": one(cleared),
			"saving": one("resume: " + thaw + "; its containers are thawed so that they can end"), "saving, written": discard, "paused, written": discard,
			"lost, written": one(gone), "up, written": one(stale),
			"restoring": kill, "restoring from another": kill, "restoring, lost": one(gone),
		}
	}
	checkStates(t, onDisk, map[desired.State]plans{
		desired.Running: restores("Running"),
		desired.Paused:  restores("Paused"),
		desired.Stopped: discards("Stopped", whyStopped),
		desired.Created: discards("Created", whyCreated),
		desired.Suspended: {
			"suspended": nil, "suspended, records lost": nil, "suspended, rebooted": one(cleared),
			"saving": one("suspend: the declared state is Suspended"), "saving, written": one(end), "paused, written": one(end),
			"lost, written": one(gone), "up, written": one(stale),
			"restoring": one(goOn), "restoring from another": one(goOn), "restoring, lost": one(gone),
		},
		"": { // no manifest
			"suspended": one(left), "suspended, records lost": one(left), "suspended, rebooted": one(left),
			"saving":          one("resume: the sandbox is declared no more; its containers are thawed so that they can end"),
			"saving, written": one(left), "paused, written": one(left), "lost, written": one(left), "up, written": one(left),
			"restoring": one(left), "restoring from another": one(left), "restoring, lost": one(left),
		},
	})
}

// TestPlanSuspendDetails holds what the matrix of states does not show.
func TestPlanSuspendDetails(t *testing.T) {
	declared := func(in *Input, changes ...func(*desired.Sandbox)) {
		redeclare(in, changes...)
		in.Memory.SpecHash = in.Desired.WorkHash
	}
	refused := func(why string) []Condition {
		return []Condition{{RestoreFailed, "Refused", why + "; the checkpoint is kept: undo that, or declare Stopped to discard it"}}
	}
	backoff := func(n int) time.Duration { return createDelay(desiredtest.Sandbox().Spec.RestartBackoff, "box", n) }
	hostNetwork := func(s *desired.Sandbox) { s.Spec.Network.Mode = desired.NetworkHost }
	unsupported := []Condition{{Unsupported, "HostNetwork", "gVisor can't write a checkpoint of a sandbox with the host's network; " +
		"the sandbox is left as it was: declare another state, or network.mode: none"}}
	from := func(s *desired.Sandbox) { s.Spec.RestoreFrom = "/srv/image" }
	run(t, []row{
		{
			name: "what is on disk has neither ended nor started",
			mutate: func(in *Input) {
				suspend(in)
				in.Observed.Record = nil
			},
			actions: []Action{{Verb: Restore, Sandbox: "box", Class: classInPlace, Reason: "the declared state is Running and the sandbox was suspended"}},
		},
		{
			name: "a container that had ended for good comes back ended",
			mutate: func(in *Input) {
				finish(in)
				recall(&in.Memory, "web", func(c *ContainerMemory) { c.Seen, c.Exit, c.StartedAt, c.Attempts = "", nil, time.Time{}, 0 })
				in.Memory.SpecHash = newDeclared(desiredtest.Policy(desired.Never), desiredtest.State(desired.Suspended)).WorkHash
				suspend(in)
			},
			actions: []Action{{Verb: Restore, Sandbox: "box", Class: classInPlace, Reason: "the declared state is Running and the sandbox was suspended"}},
			memory: func(m *Memory) {
				m.SpecHash = newDeclared(desiredtest.Policy(desired.Never)).WorkHash
				recall(m, "app", func(c *ContainerMemory) { c.Attempts = 0 })
			},
		},
		{
			name: "a container that was changed: refused, and where",
			mutate: func(in *Input) {
				suspend(in)
				changedApp(&in.Memory)
				declared(in, func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
			},
			conditions: refused("the checkpoint of 2026-03-01 11:00:00 is of another specification, in spec.containers[app].args"),
		},
		{
			name: "a host name that was changed while it is to stay suspended: said beforehand",
			mutate: func(in *Input) {
				suspend(in)
				declared(in, desiredtest.State(desired.Suspended), func(s *desired.Sandbox) { s.Spec.Hostname = "other" })
			},
			conditions: refused("the checkpoint of 2026-03-01 11:00:00 is of another specification, in spec.hostname"),
		},
		{
			name:       "of another version",
			mutate:     func(in *Input) { suspend(in); in.Observed.Image.Unusable = "it was written by A, and this build has B" },
			conditions: refused("the checkpoint can't be used: it was written by A, and this build has B"),
		},
		{
			name: "what is changed in place is no other specification",
			mutate: func(in *Input) {
				suspend(in)
				declared(in, func(s *desired.Sandbox) { s.Spec.Containers[1].OOMScoreAdj = new(7) })
			},
			actions: []Action{{Verb: Restore, Sandbox: "box", Class: classInPlace, Reason: "the declared state is Running and the sandbox was suspended"}},
		},
		{
			name: "restoring failed a short while ago",
			mutate: func(in *Input) {
				suspend(in)
				in.Memory.CreateFailures, in.Memory.LastError, in.Memory.NextCreate = 2, "no volume", t0.Add(time.Second)
			},
			again:      time.Second,
			conditions: []Condition{{RestoreFailed, RestoreFailed, "no volume (failed 2 times in a row)"}},
		},
		{
			name: "a checkpoint failed a short while ago: the sandbox goes on",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Suspended))
				in.Memory.SuspendFailures, in.Memory.SuspendError, in.Memory.NextSuspend = 1, "disk full", t0.Add(backoff(1))
				in.Observed.Scores[0].Value = 1
			},
			actions: []Action{{Verb: SetOOMScore, Sandbox: "box", Sentry: sentry, Class: classInPlace,
				Reason: "process 4711 of the sandbox had the OOM score 1 and not 200 (declared)"}},
			again:      backoff(1),
			conditions: []Condition{{SuspendFailed, SuspendFailed, "disk full (failed once in a row); the sandbox goes on as it was"}},
		},
		{
			name: "a checkpoint failed and left the sandbox who knows how",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Suspended))
				recordState(in, observed.SandboxSaving)
				in.Memory.SuspendFailures, in.Memory.SuspendError, in.Memory.NextSuspend = 1, "no answer", t0.Add(backoff(1))
			},
			actions:    []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the checkpoint could not be written"}},
			again:      backoff(1),
			conditions: []Condition{{SuspendFailed, SuspendFailed, "no answer (failed once in a row); the sandbox goes on as it was"}},
		},
		{
			name: "it is tried again",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Suspended))
				in.Memory.SuspendFailures, in.Memory.SuspendError, in.Memory.NextSuspend = 1, "disk full", t0
			},
			actions:    []Action{{Verb: Suspend, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Suspended"}},
			conditions: []Condition{{SuspendFailed, SuspendFailed, "disk full (failed once in a row); the sandbox goes on as it was"}},
		},
		{
			name: "another state: the failure is forgotten",
			mutate: func(in *Input) {
				in.Memory.SuspendFailures, in.Memory.SuspendError, in.Memory.NextSuspend = 1, "disk full", t0.Add(time.Second)
			},
			memory: func(m *Memory) { m.SuspendFailures, m.SuspendError, m.NextSuspend = 0, "", time.Time{} },
		},
		{
			name: "up, one waits in back-off: to disk all the same",
			mutate: func(in *Input) {
				waiting(in, 9, time.Second)
				declared(in, desiredtest.State(desired.Suspended))
			},
			actions: []Action{{Verb: Suspend, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: "the declared state is Suspended"}},
		},
		{
			name: "paused, a container was changed: thawed before it goes to disk",
			mutate: func(in *Input) {
				changedApp(&in.Memory)
				declared(in, desiredtest.State(desired.Suspended), func(s *desired.Sandbox) { s.Spec.Containers[0].Args = []string{"new"} })
				freeze(in)
			},
			actions: []Action{{Verb: Resume, Sandbox: "box", Sentry: sentry, Class: classContainer,
				Reason: `thawed for a while: container "app" was changed: args; it has 30s to end`}},
		},
		{
			name: "all have ended for good: nothing to suspend",
			mutate: func(in *Input) {
				finish(in)
				declared(in, desiredtest.Policy(desired.Never), desiredtest.State(desired.Suspended))
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "every container has ended and is not to run again"}},
		},
		{
			name:       "the host's network: running, and stays so",
			mutate:     func(in *Input) { hostNetworked(in); declared(in, desiredtest.State(desired.Suspended), hostNetwork) },
			conditions: unsupported,
		},
		{
			name: "a terminal: running, and stays so",
			mutate: func(in *Input) {
				terminal := func(s *desired.Sandbox) { s.Spec.Containers[0].Terminal = true }
				hash := newDeclared(terminal).ContainerHash[0]
				in.Observed.Containers[0].Hash = hash
				app := in.Memory.Containers["app"]
				app.Hash = hash
				in.Memory.Containers["app"] = app
				declared(in, desiredtest.State(desired.Suspended), terminal)
			},
			conditions: []Condition{{Unsupported, "Terminal", "gVisor can't restore the terminal of container \"app\"; " +
				"the sandbox is left as it was: declare another state, or terminal: false"}},
		},
		{
			name: "the host's network: frozen, and stays so",
			mutate: func(in *Input) {
				hostNetworked(in)
				declared(in, desiredtest.State(desired.Suspended), hostNetwork)
				freeze(in)
			},
			conditions: unsupported,
		},
		{
			name: "the host's network: nothing started, and nothing is",
			mutate: func(in *Input) {
				hostNetworked(in)
				declared(in, desiredtest.State(desired.Suspended), hostNetwork)
				in.Observed.Containers, in.Observed.Scores = nil, in.Observed.Scores[:1]
				forgetLive(in)
			},
			conditions: unsupported,
		},
		{
			name: "the host's network: nothing there, and stays so",
			mutate: func(in *Input) {
				nothingThere(in)
				declared(in, desiredtest.State(desired.Suspended), hostNetwork)
				in.Memory = Decide(*in).Memory
			},
			conditions: unsupported,
		},
		{
			name: "the daemon ends: what is on disk stays there",
			mutate: func(in *Input) {
				suspend(in)
				declared(in, desiredtest.State(desired.Stopped))
				in.Desired.Leaving = true
			},
		},
		{
			name: "the daemon ends: what is about to be is finished",
			mutate: func(in *Input) {
				saved(in)
				freeze(in)
				declared(in, desiredtest.State(desired.Stopped))
				in.Desired.Leaving = true
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Reason: "the daemon ends and the checkpoint is written"}},
		},
		{
			name: "restoreFrom: made from there",
			mutate: func(in *Input) {
				nothingThere(in)
				declared(in, from)
				in.Memory = Decide(*in).Memory
			},
			actions: []Action{{Verb: Restore, Sandbox: "box", Reason: "the sandbox is declared and was not there"}},
		},
		{
			name: "restoreFrom, Created: made anew",
			mutate: func(in *Input) {
				nothingThere(in)
				declared(in, from, desiredtest.State(desired.Created))
				in.Memory = Decide(*in).Memory
			},
			actions: []Action{{Verb: Create, Sandbox: "box", Reason: "the sandbox is declared and was not there"}},
		},
		{
			name: "restoreFrom: one in which nothing has run yet is made from there",
			mutate: func(in *Input) {
				declared(in, from)
				in.Observed.Containers, in.Observed.Scores = nil, in.Observed.Scores[:1]
				forgetLive(in)
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classSandbox,
				Reason: "the sandbox was made anew, and is to be restored from /srv/image"}},
		},
		{
			name:   "restoreFrom: one that runs is left alone",
			mutate: func(in *Input) { declared(in, from) },
		},
		{
			name: "restored, all ended: Created makes it anew",
			mutate: func(in *Input) {
				declared(in, desiredtest.State(desired.Created))
				finishAs(in, 143)
				in.Memory.RanIn = observed.Process{}
				in.Observed.Record.Restored = true
			},
			actions: []Action{{Verb: Stop, Sandbox: "box", Sentry: sentry, Class: classInPlace, Reason: whyCreated + "; no container runs"}},
		},
	})
}

// hostNetworked has the base case made with the host's network.
func hostNetworked(in *Input) {
	in.Observed.Record.SandboxHash = newDeclared(func(s *desired.Sandbox) { s.Spec.Network.Mode = desired.NetworkHost }).SandboxHash
}

// A failed checkpoint and a failed restore are tried again later and later.
func TestNoteImageFailures(t *testing.T) {
	d := newDeclared(desiredtest.State(desired.Suspended))
	var m Memory
	for n := 1; n <= 3; n++ {
		m = m.Failed(Action{Verb: Suspend, Sandbox: "box"}, d, errFailed, t0)
		m = m.Failed(Action{Verb: Restore, Sandbox: "box"}, d, errFailed, t0)
		due := t0.Add(createDelay(d.Spec.RestartBackoff, "box", n))
		want := Memory{SuspendFailures: n, NextSuspend: due, SuspendError: errFailed.Error(), CreateFailures: n, NextCreate: due, LastError: errFailed.Error()}
		if !m.Equal(want) {
			t.Errorf("after %d: %s", n, diff(want, m))
		}
	}
}

// An image whose specification can't be read is refused, not guessed at.
func TestRefusalUnreadable(t *testing.T) {
	got := Refusal(&observed.Image{Spec: json.RawMessage(`{"containers": 3}`)}, newDeclared())
	if !strings.Contains(got, "can't be understood") {
		t.Errorf("refused with %q", got)
	}
}

// A sandbox whose sentry is of another gVisor is left as it was: nobody could
// restore its checkpoint. One that is to be made anew in any case is.
func TestOtherGVisorIsNotSuspended(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   Verb // empty: nothing is done, and the condition says why
		says   string
	}{
		{"the same", func(in *Input) { in.Observed.Record.GVisor = "new" }, Suspend, ""},
		{"another", func(in *Input) { in.Observed.Record.GVisor = "old" }, "", "of gVisor old and this daemon has gVisor new"},
		{"unknown", func(*Input) {}, "", "of gVisor an unknown version and this daemon has gVisor new"},
		{"another, frozen", func(in *Input) { in.Observed.Record.GVisor = "old"; freeze(in) }, "", "of gVisor old"},
		{"nobody knows what this is", func(in *Input) { in.Observed.Record.GVisor, in.GVisor = "old", "" }, Suspend, ""},
		{"gone", func(in *Input) { in.Observed.Record.GVisor = "old"; noProcess(in) }, Stop, ""},
	} {
		in := settled(newDeclared(desiredtest.State(desired.Suspended)))
		in.GVisor = "new"
		c.change(&in)
		r := Decide(in)
		if got := len(r.Actions); c.want == "" && got > 0 || c.want != "" && (got != 1 || r.Actions[0].Verb != c.want) {
			t.Errorf("%s: planned %+v", c.name, r.Actions)
		}
		if got := len(r.Conditions); c.says == "" && got > 0 || c.says != "" && (got != 1 || r.Conditions[0].Type != Unsupported || !strings.Contains(r.Conditions[0].Message, c.says)) {
			t.Errorf("%s: the conditions are %+v", c.name, r.Conditions)
		}
	}
}
