package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	created = now.Add(-time.Hour)
	sentry  = observed.Process{PID: 4711, StartTime: 7}
)

func exit(code int, reason string) *observed.Exit {
	return &observed.Exit{Known: true, Code: code, At: now.Add(-time.Minute), Reason: reason}
}

// base is a sandbox of two containers that runs as declared; edit changes the
// declaration first, the rest is derived from it.
func base(edit func(*desired.Sandbox)) Input {
	s := &desired.Sandbox{Name: "web", Source: "web.yaml", Labels: map[string]string{"tier": "front"}, Spec: desired.Spec{
		State: desired.Running, Runtime: "gvisor", Containers: []desired.Container{
			{Name: "app", RestartPolicy: desired.Always}, {Name: "aid", RestartPolicy: desired.OnFailure}}}}
	if edit != nil {
		edit(s)
	}
	d := plan.Declare(s)
	in := Input{Now: now, Pass: reconcile.Pass{Name: "web", Declared: d}}
	in.Pass.Observed = observed.Sandbox{Name: "web", Sentry: observed.Alive, CgroupExists: true, CgroupProcs: 4,
		Record: &observed.Record{Name: "web", Runtime: "gvisor", State: observed.SandboxUp, SandboxHash: d.SandboxHash,
			Cgroup: "/sandboxer/web", Sentry: sentry, CreatedAt: created},
		Scores: []observed.Score{{PID: 1, Value: 5}, {PID: sentry.PID, Value: 200}}}
	in.Pass.Memory.Containers = map[string]plan.ContainerMemory{}
	for i, c := range s.Spec.Containers {
		id := "web." + c.Name + ".1"
		in.Pass.Observed.Containers = append(in.Pass.Observed.Containers, observed.Container{
			State: observed.Running, GoferRun: observed.Alive, ContainerRecord: observed.ContainerRecord{Name: c.Name, ID: id,
				Hash: d.ContainerHash[i], StartedAt: created, Gofer: observed.Process{PID: 4700 + i}}})
		in.Pass.Memory.Containers[c.Name] = plan.ContainerMemory{Hash: d.ContainerHash[i], Live: id}
	}
	return in
}

// ends makes the i-th container one that has ended.
func ends(in *Input, i int, e *observed.Exit, next time.Duration) {
	c := &in.Pass.Observed.Containers[i]
	c.State, c.Exit, c.GoferRun = observed.Stopped, e, observed.Gone
	cm := in.Pass.Memory.Containers[c.Name]
	cm.Seen, cm.Exit, cm.StartedAt = c.ID, e, created
	if next != 0 {
		cm.NextStart = now.Add(next)
	}
	in.Pass.Memory.Containers[c.Name] = cm
}

// down leaves only records.
func down(in *Input) {
	o := &in.Pass.Observed
	o.Record.State, o.Sentry, o.CgroupExists, o.CgroupProcs, o.Scores = observed.SandboxStopped, observed.Gone, false, 0, nil
	for i := range o.Containers {
		o.Containers[i].State = observed.Stopped
	}
}

func bare(in *Input) {
	in.Pass.Observed = observed.Sandbox{Name: "web"}
	in.Pass.Memory = plan.Memory{}
}

func pending(in *Input, verb plan.Verb, reason string) {
	in.Pass.Pending = []plan.Action{{Verb: verb, Sandbox: "web", Reason: reason}}
}

func policies(a, b desired.RestartPolicy) func(*desired.Sandbox) {
	return func(s *desired.Sandbox) {
		s.Spec.Containers[0].RestartPolicy, s.Spec.Containers[1].RestartPolicy = a, b
	}
}

func state(st desired.State) func(*desired.Sandbox) {
	return func(s *desired.Sandbox) { s.Spec.State = st }
}

// line is what a table test compares: phase, ready, reason, message, then each
// container's name, state, exit code, reason, and next start.
func line(s api.Sandbox) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s ready=%v %q %q", s.Status.Phase, s.Status.Ready, s.Status.Reason, s.Status.Message)
	for _, c := range s.Status.Containers {
		fmt.Fprintf(b, " | %s %s", c.Name, c.State)
		if c.ExitCode != nil {
			fmt.Fprintf(b, " %d", *c.ExitCode)
		}
		if c.Reason != "" {
			b.WriteString(" " + c.Reason)
		}
		if c.NextStartAt != nil {
			b.WriteString(" in " + c.NextStartAt.Sub(now).String())
		}
	}
	return b.String()
}

func TestOf(t *testing.T) {
	const both = " | app running | aid running"
	startErr := exit(127, "StartError")
	startErr.Message = "/bin/ap: no such file"
	for _, c := range []struct {
		name    string
		declare func(*desired.Sandbox)
		change  func(*Input)
		want    string
	}{
		{name: "as declared", want: `Running ready=true "" ""` + both},
		{name: "not there yet", change: func(in *Input) { bare(in); pending(in, plan.Create, "it is not there") },
			want: `Pending ready=false "Creating" "it is not there" | app creating | aid creating`},
		{name: "created, commands not started", change: func(in *Input) {
			in.Pass.Observed.Containers, in.Pass.Memory = nil, plan.Memory{}
			pending(in, plan.Start, "not started yet")
		}, want: `Pending ready=false "Starting" "not started yet" | app created | aid created`},
		{name: "created as declared", declare: state(desired.Created), change: func(in *Input) {
			in.Pass.Observed.Containers, in.Pass.Memory = nil, plan.Memory{}
		}, want: `Created ready=false "" "" | app created | aid created`},
		{name: "created, with the records of earlier runs", declare: state(desired.Created), change: func(in *Input) {
			ends(in, 0, exit(0, "Completed"), 0)
			ends(in, 1, exit(0, "Completed"), 0)
			in.Pass.Observed.Record.CreatedAt = now
		}, want: `Created ready=false "" "" | app created | aid created`},
		{name: "to be created, but runs", declare: state(desired.Created), change: func(in *Input) { pending(in, plan.Signal, "Created is declared") },
			want: `Pending ready=false "Stopping" "Created is declared"` + both},
		{name: "paused", declare: state(desired.Paused), change: func(in *Input) {
			in.Pass.Observed.Record.State = observed.SandboxPaused
			in.Pass.Observed.Containers[0].State = observed.Paused
			ends(in, 1, exit(0, "Completed"), 0)
			in.Pass.Observed.Containers[1].State = observed.Paused
		}, want: `Paused ready=false "" "" | app paused | aid stopped 0 Completed`},
		{name: "to be paused", declare: state(desired.Paused), change: func(in *Input) { pending(in, plan.Pause, "Paused is declared") },
			want: `Pending ready=false "Pausing" "Paused is declared"` + both},
		{name: "to be resumed", change: func(in *Input) {
			in.Pass.Observed.Record.State = observed.SandboxPaused
			pending(in, plan.Resume, "Running is declared")
		}, want: `Pending ready=false "Resuming" "Running is declared"` + both},
		{name: "stopped", declare: state(desired.Stopped), change: func(in *Input) { down(in); ends(in, 0, exit(143, "Error"), time.Minute) },
			want: `Stopped ready=false "" "" | app stopped 143 Error | aid stopped`},
		{name: "stopped while a container was being made", declare: state(desired.Stopped), change: func(in *Input) {
			down(in)
			half := &in.Pass.Observed.Containers[0]
			half.State, half.StartedAt = observed.Creating, time.Time{}
			ends(in, 1, exit(0, "Completed"), 0)
			in.Pass.Observed.Containers[1].ID, in.Pass.Observed.Containers[1].State, in.Pass.Observed.Containers[1].Exit = "web.aid.2", observed.Creating, nil
		}, want: `Stopped ready=false "" "" | app stopped | aid stopped 0 Completed`},
		{name: "stopped from the start", declare: state(desired.Stopped), change: bare, want: `Stopped ready=false "" "" | app stopped | aid stopped`},
		{name: "to be stopped", declare: state(desired.Stopped), change: func(in *Input) { pending(in, plan.Stop, "Stopped is declared") },
			want: `Pending ready=false "Stopping" "Stopped is declared"` + both},
		{name: "asked to stop", declare: state(desired.Stopped), change: func(in *Input) {
			in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: "web.app.1", StopID: "web.app.1", StopAsked: now}
		}, want: `Pending ready=false "Stopping" "container \"app\" was asked to end and has time left"` + both},
		{name: "between two looks", declare: state(desired.Stopped), want: `Pending ready=false "Waiting" ""` + both},
		{name: "one ended well for good", change: func(in *Input) { ends(in, 1, exit(0, "Completed"), 0) },
			want: `Running ready=true "" "" | app running | aid stopped 0 Completed`},
		{name: "one failed for good", declare: policies(desired.Always, desired.Never), change: func(in *Input) { ends(in, 1, exit(3, "Error"), 0) },
			want: `Running ready=false "Error" "container \"aid\" ended with exit code 3, for good" | app running | aid stopped 3 Error`},
		{name: "one failed for good, and the other is paused", declare: func(s *desired.Sandbox) {
			policies(desired.Always, desired.Never)(s)
			state(desired.Paused)(s)
		}, change: func(in *Input) {
			ends(in, 1, exit(3, "Error"), 0)
			in.Pass.Observed.Record.State = observed.SandboxPaused
			in.Pass.Observed.Containers[0].State = observed.Paused
		}, want: `Paused ready=false "Error" "container \"aid\" ended with exit code 3, for good" | app paused | aid stopped 3 Error`},
		{name: "one failed for good, and the other crashes", declare: policies(desired.Always, desired.Never), change: func(in *Input) {
			ends(in, 0, exit(1, "Error"), time.Second)
			ends(in, 1, exit(3, "Error"), 0)
		}, want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:01Z; container \"app\" ended with exit code 1" | app stopped 1 Error in 1s | aid stopped 3 Error`},
		{name: "both failed for good", declare: policies(desired.Never, desired.Never), change: func(in *Input) {
			ends(in, 0, exit(4, "Error"), 0)
			ends(in, 1, exit(137, "OOMKilled"), 0)
		}, want: `Failed ready=false "Error" "container \"app\" ended with exit code 4; container \"aid\" ended with exit code 137 (OOMKilled)" | app stopped 4 Error | aid stopped 137 OOMKilled`},
		{name: "all ended well", declare: policies(desired.Never, desired.OnFailure), change: func(in *Input) {
			ends(in, 0, exit(0, "Completed"), 0)
			ends(in, 1, exit(0, "Completed"), 0)
			down(in)
		}, want: `Succeeded ready=false "" "" | app stopped 0 Completed | aid stopped 0 Completed`},
		{name: "all ended, and the records are gone", declare: policies(desired.Never, desired.Never), change: func(in *Input) {
			ends(in, 0, exit(0, "Completed"), 0)
			ends(in, 1, exit(4, "Error"), 0)
			in.Pass.Observed = observed.Sandbox{}
		}, want: `Failed ready=false "Error" "container \"aid\" ended with exit code 4" | app stopped 0 Completed | aid stopped 4 Error`},
		{name: "one was killed for memory, for good", declare: policies(desired.Never, desired.Never), change: func(in *Input) {
			ends(in, 0, exit(137, "OOMKilled"), 0)
			ends(in, 1, exit(0, "Completed"), 0)
		}, want: `Failed ready=false "OOMKilled" "container \"app\" ended with exit code 137 (OOMKilled)" | app stopped 137 OOMKilled | aid stopped 0 Completed`},
		{name: "nobody knows how it ended", declare: policies(desired.Never, desired.Never), change: func(in *Input) {
			ends(in, 0, &observed.Exit{Reason: "SandboxLost", At: now}, 0)
			ends(in, 1, exit(0, "Completed"), 0)
		}, want: `Failed ready=false "SandboxLost" "container \"app\" ended, and nobody knows how (SandboxLost)" | app stopped SandboxLost | aid stopped 0 Completed`},
		{name: "crashes", change: func(in *Input) { ends(in, 0, exit(1, "Error"), 4*time.Second) },
			want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:04Z; container \"app\" ended with exit code 1" | app stopped 1 Error in 4s | aid running`},
		{name: "both crash, the next one counts", declare: policies(desired.Always, desired.Always), change: func(in *Input) {
			ends(in, 0, exit(1, "Error"), 4*time.Second)
			ends(in, 1, exit(2, "Error"), 2*time.Second)
		}, want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:02Z; container \"aid\" ended with exit code 2" | app stopped 1 Error in 4s | aid stopped 2 Error in 2s`},
		{name: "crashed and due", change: func(in *Input) {
			ends(in, 0, exit(1, "Error"), -time.Second)
			pending(in, plan.Start, "restart 1 at once")
		}, want: `Pending ready=false "Starting" "restart 1 at once" | app stopped 1 Error | aid running`},
		{name: "no such command", change: func(in *Input) { ends(in, 0, startErr, 4*time.Second) },
			want: `Failed ready=false "StartError" "container \"app\" can't be started: /bin/ap: no such file; next try at 2026-03-01T12:00:04Z" | app stopped 127 StartError in 4s | aid running`},
		{name: "no such command, until the spec was changed", change: func(in *Input) {
			ends(in, 0, startErr, 4*time.Second)
			cm := in.Pass.Memory.Containers["app"]
			cm.Fresh, cm.NextStart = true, time.Time{}
			in.Pass.Memory.Containers["app"] = cm
			pending(in, plan.Start, "changed")
		}, want: `Pending ready=false "Starting" "changed" | app stopped 127 StartError | aid running`},
		{name: "creation fails", change: func(in *Input) {
			bare(in)
			in.Pass.Memory = plan.Memory{CreateFailures: 2, NextCreate: now.Add(time.Minute), LastError: "no space left"}
			pending(in, plan.Create, "tried again")
		}, want: `Failed ready=false "CreateFailed" "no space left; next try at 2026-03-01T12:01:00Z" | app creating CreateFailed in 1m0s | aid creating CreateFailed in 1m0s`},
		{name: "the sandbox keeps dying", change: func(in *Input) {
			down(in)
			lost := &observed.Exit{Reason: "SandboxLost", At: now}
			ends(in, 0, lost, 0)
			ends(in, 1, lost, 0)
			in.Pass.Memory.Losses, in.Pass.Memory.NextCreate = 3, now.Add(2*time.Second)
		}, want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:02Z; the sandbox was lost" | app stopped SandboxLost in 2s | aid stopped SandboxLost in 2s`},
		{name: "lost and made anew", change: func(in *Input) {
			in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: "web.app.1", Seen: "web.app.0", Restarts: 1,
				Exit: &observed.Exit{Reason: "SandboxLost"}}
		}, want: `Running ready=true "" "" | app running SandboxLost | aid running`},
		{name: "crashed once and runs again", change: func(in *Input) {
			in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: "web.app.1", Seen: "web.app.0", Restarts: 1, Exit: exit(1, "Error")}
		}, want: `Running ready=true "" ""` + both},
		{name: "the planner knows why it was killed", change: func(in *Input) {
			ends(in, 0, exit(137, "GoferLost"), time.Second)
			in.Pass.Observed.Containers[0].Exit = exit(137, "Error")
		}, want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:01Z; container \"app\" ended with exit code 137 (GoferLost)" | app stopped 137 GoferLost in 1s | aid running`},
		{name: "a container is to be changed", change: func(in *Input) {
			in.Pass.Observed.Containers[0].Hash = "old"
			in.Pass.Pending = []plan.Action{{Verb: plan.Signal, Container: "app", Reason: "it was changed"}}
		}, want: `Pending ready=false "Stopping" "it was changed"` + both},
		{name: "the sandbox is to be replaced", change: func(in *Input) {
			in.Pass.Observed.Record.SandboxHash = "old"
			pending(in, plan.Stop, "hostname was changed")
		}, want: `Pending ready=false "Stopping" "hostname was changed"` + both},
		{name: "records are mended", change: func(in *Input) {
			in.Pass.Observed.Record.SandboxHash = "old"
			pending(in, plan.Mend, "a record is damaged")
		}, want: `Pending ready=false "Updating" "a record is damaged"` + both},
		{name: "one is declared no more", declare: func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[:1] }, change: func(in *Input) {
			c := in.Pass.Observed.Containers[0]
			c.Name, c.ID = "old", "web.old.1"
			in.Pass.Observed.Containers = append(in.Pass.Observed.Containers, c)
			in.Pass.Observed.BrokenContainers = map[string]string{"torn": "half a record"}
			pending(in, plan.Remove, "declared no more")
		}, want: `Running ready=true "" "" | app running | old running | torn created RecordBroken`},
		{name: "a record is torn", change: func(in *Input) {
			in.Pass.Observed.Containers = in.Pass.Observed.Containers[1:]
			in.Pass.Observed.BrokenContainers = map[string]string{"app": "half a record"}
			pending(in, plan.Start, "made anew")
		}, want: `Pending ready=false "Starting" "made anew" | app created RecordBroken | aid running`},
		{name: "the sentry is silent", change: func(in *Input) {
			in.Pass.Observed.Unresponsive, in.Pass.Observed.ProbeError = true, "deadline exceeded"
			in.Pass.Conditions = []plan.Condition{{Type: api.RuntimeUnreachable, Reason: "SentrySilent", Message: "no answer"}}
		}, want: `Running ready=false "RuntimeUnreachable" "no answer: deadline exceeded"` + both},
		{name: "a score is denied", change: func(in *Input) {
			in.Pass.Conditions = []plan.Condition{{Type: api.OOMScoreDenied, Reason: "Denied", Message: "EACCES"}}
		}, want: `Running ready=true "OOMScoreDenied" "EACCES"` + both},
		{name: "output is lost", change: func(in *Input) { in.OutputLost = "no space" },
			want: `Running ready=true "OutputLost" "no space"` + both},
		{name: "an edit is rejected and the deletion held", change: func(in *Input) {
			in.Problems = []desired.Problem{{File: "web.yaml", Line: 3, Path: "spec.x", Message: "unknown field"}}
			in.Held = "confirm it"
		}, want: `Running ready=true "ManifestRejected" "web.yaml:3: spec.x: unknown field; DeletionHeld: confirm it"` + both},
		{name: "what fails is more pressing than what is rejected and held", change: func(in *Input) {
			ends(in, 0, exit(1, "Error"), time.Second)
			in.Problems = []desired.Problem{{File: "web.yaml", Message: "bad"}}
			in.Held = "confirm it"
		}, want: `Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:01Z; container \"app\" ended with exit code 1; DeletionHeld: confirm it; ManifestRejected: web.yaml: bad" | app stopped 1 Error in 1s | aid running`},
		{name: "between two looks, and the deletion held", declare: state(desired.Stopped), change: func(in *Input) { in.Held = "confirm it" },
			want: `Pending ready=false "Waiting" "DeletionHeld: confirm it"` + both},
		{name: "declared no more", change: func(in *Input) { in.Pass.Declared = nil; pending(in, plan.Signal, "declared no more") },
			want: `Terminating ready=false "" "declared no more" | aid running | app running`},
		{name: "declared no more, and one has ended as it was asked to", change: func(in *Input) {
			in.Pass.Declared = nil
			ends(in, 0, nil, 0)
			c := &in.Pass.Observed.Containers[0]
			c.Exit = exit(143, "Error")
			in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: c.ID, StopID: c.ID, StopAsked: now}
			pending(in, plan.Signal, "declared no more")
		}, want: `Terminating ready=false "" "declared no more" | aid running | app stopped 143 Stopped`},
		{name: "declared no more, and one was ended for a fault of its own", change: func(in *Input) {
			in.Pass.Declared = nil
			ends(in, 0, nil, 0)
			c := &in.Pass.Observed.Containers[0]
			c.Exit = exit(137, "Error")
			in.Pass.Memory.Containers["app"] = plan.ContainerMemory{Live: c.ID, StopID: c.ID, StopAsked: now, StopReason: "Unhealthy"}
			pending(in, plan.Signal, "declared no more")
		}, want: `Terminating ready=false "" "declared no more" | aid running | app stopped 137 Error`},
		{name: "not declared, and that can't be trusted", change: func(in *Input) {
			in.Pass.Declared, in.Pass.Held, in.Held = nil, true, "the directory is missing"
		}, want: `Running ready=false "DeletionHeld" "the directory is missing" | aid running | app running`},
		{name: "the same, paused", change: func(in *Input) {
			in.Pass.Declared, in.Pass.Held = nil, true
			in.Pass.Observed.Record.State = observed.SandboxPaused
		}, want: `Paused ready=false "" "" | aid running | app running`},
		{name: "the same, with nothing started", change: func(in *Input) {
			in.Pass.Declared, in.Pass.Held = nil, true
			in.Pass.Observed.Containers = nil
		}, want: `Created ready=false "" ""`},
		{name: "the same, with nothing left but records", change: func(in *Input) { in.Pass.Declared, in.Pass.Held = nil, true; down(in) },
			want: `Stopped ready=false "" "" | aid stopped | app stopped`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base(c.declare)
			if c.change != nil {
				c.change(&in)
			}
			// Observed containers come sorted by name.
			if o := in.Pass.Observed.Containers; len(o) > 1 && o[0].Name > o[1].Name {
				o[0], o[1] = o[1], o[0]
			}
			s, ok := Of(in)
			if got := line(s); !ok || got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOfNothing(t *testing.T) {
	in := base(nil)
	bare(&in)
	in.Pass.Declared = nil
	if s, ok := Of(in); ok {
		t.Errorf("nothing shows as %s", line(s))
	}
	in.Pass.Blind, in.Pass.LookErr = true, errors.New("no permission")
	in.Pass.Conditions = []plan.Condition{{Type: api.RuntimeUnreachable, Reason: "LookFailed", Message: "can't tell"}}
	s, ok := Of(in)
	if got := line(s); !ok || got != `Pending ready=false "RuntimeUnreachable" "can't tell: no permission"` {
		t.Errorf("a first look that fails shows as %s", got)
	}
}

func TestBlindnessKeepsWhatWasSeen(t *testing.T) {
	in := base(nil)
	in.Before, _ = Of(in)
	in.Pass.Observed, in.Pass.Blind = observed.Sandbox{}, true
	in.Pass.Conditions = []plan.Condition{{Type: api.RuntimeUnreachable, Reason: "LookFailed", Message: "can't tell"}}
	s, _ := Of(in)
	if got := line(s); got != `Running ready=false "RuntimeUnreachable" "can't tell" | app running | aid running` {
		t.Errorf("got %s", got)
	}
	in = base(nil)
	in.Before = s
	if s, _ := Of(in); line(s) != `Running ready=true "" "" | app running | aid running` || len(s.Status.Conditions) != 0 {
		t.Errorf("afterwards: %s %v", line(s), s.Status.Conditions)
	}
}

func TestConditionsKeepTheirDate(t *testing.T) {
	in := base(nil)
	in.Held = "confirm it"
	in.Before, _ = Of(in)
	in.Now = now.Add(time.Hour)
	in.Held = "confirm them"
	in.Problems = make([]desired.Problem, 7)
	s, _ := Of(in)
	want := []api.Condition{
		{Type: "DeletionHeld", Status: "True", Reason: "DeletionHeld", Message: "confirm them", Since: now},
		{Type: "ManifestRejected", Status: "True", Reason: "ManifestRejected", Since: in.Now,
			Message: ": ; : ; : ; : ; : ; and 2 more (sandboxer validate lists all)"}}
	if fmt.Sprint(s.Status.Conditions) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", s.Status.Conditions, want)
	}
}

func TestOfInJSON(t *testing.T) {
	in := base(nil)
	ends(&in, 1, exit(0, "Completed"), 0)
	s, _ := Of(in)
	s.Status.SpecHash = "hash"
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "name": "web",
 "source": "web.yaml",
 "desiredState": "Running",
 "labels": {
  "tier": "front"
 },
 "status": {
  "phase": "Running",
  "ready": true,
  "reason": "",
  "message": "",
  "specHash": "hash",
  "runtime": "gvisor",
  "sandboxPid": 4711,
  "oomScoreAdj": 200,
  "cgroup": "/sandboxer/web",
  "createdAt": "2026-03-01T11:00:00Z",
  "conditions": [],
  "containers": [
   {
    "name": "app",
    "id": "web.app.1",
    "state": "running",
    "ready": true,
    "pid": 1,
    "goferPid": 4700,
    "goferRestarts": 0,
    "restartCount": 0,
    "exitCode": null,
    "reason": "",
    "startedAt": "2026-03-01T11:00:00Z",
    "finishedAt": null,
    "nextStartAt": null
   },
   {
    "name": "aid",
    "id": "web.aid.1",
    "state": "stopped",
    "ready": false,
    "pid": 0,
    "goferPid": null,
    "goferRestarts": 0,
    "restartCount": 0,
    "exitCode": 0,
    "reason": "Completed",
    "startedAt": "2026-03-01T11:00:00Z",
    "finishedAt": "2026-03-01T11:59:00Z",
    "nextStartAt": null,
    "final": true
   }
  ]
 }
}`
	if string(b) != want {
		t.Errorf("got %s", b)
	}
}

func TestRejected(t *testing.T) {
	problems := []desired.Problem{
		{File: "a.yaml", Line: 2, Message: "no name"},
		{File: "a.yaml", Line: 9, Path: "spec.x", Message: "bad", Name: "new"},
		{File: "a.yaml", Line: 10, Message: "worse", Name: "new"},
		{File: "web.yaml", Message: "bad", Name: "web"},
	}
	accepted := func(name string) bool { return name == "web" }
	items := Rejected(problems, accepted, nil, now)
	var got []string
	for _, s := range items {
		got = append(got, s.Name+": "+line(s))
	}
	want := `a.yaml: Invalid ready=false "ManifestRejected" "a.yaml:2: no name"` + "\n" +
		`new: Invalid ready=false "ManifestRejected" "a.yaml:9: spec.x: bad; a.yaml:10: worse"`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	again := Rejected(problems, accepted, items, now.Add(time.Hour))
	if since := again[0].Status.Conditions[0].Since; !since.Equal(now) {
		t.Errorf("since %v", since)
	}
}

func TestDescribe(t *testing.T) {
	in := base(nil)
	pending(&in, plan.Start, "why")
	in.Pass.Again = now
	s, _ := Of(in)
	d := Describe(s, in.Pass, make([]events.Event, 30))
	if len(d.Events) != api.DescribeEvents || d.Spec == nil || d.Labels["tier"] != "front" || !d.NextTry.Equal(now) ||
		fmt.Sprint(d.Pending) != "[{web  start why }]" {
		t.Errorf("got %+v", d)
	}
	d = Describe(s, reconcile.Pass{}, nil)
	if d.Events == nil || d.Pending == nil || d.Spec != nil || d.NextTry != nil {
		t.Errorf("of nothing: %+v", d)
	}
}
