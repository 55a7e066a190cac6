package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// early is the base case with two init containers, of which done have
// succeeded, and nothing else started.
func early(done int, edits ...func(*desired.Sandbox)) Input {
	in := base(func(s *desired.Sandbox) {
		s.Spec.InitContainers = []desired.Container{{Name: "make"}, {Name: "fill"}}
		for _, edit := range edits {
			edit(s)
		}
	})
	in.Pass.Observed.Containers, in.Pass.Memory.InitIn, in.Pass.Memory.InitDone = nil, sentry, done
	in.Pass.Memory.Containers = map[string]plan.ContainerMemory{}
	for i := range in.Pass.Declared.Init {
		name := in.Pass.Declared.Init[i].Name
		in.Pass.Memory.Containers[name] = plan.ContainerMemory{Hash: in.Pass.Declared.InitHash[i], Fresh: true}
		if i < done {
			begin(&in, name)
			ends(&in, i, exit(0, "Completed"), 0)
		}
	}
	return in
}

// begin has an init container run.
func begin(in *Input, name string) {
	c, hash := in.Pass.Declared.Container(name)
	in.Pass.Observed.Containers = append(in.Pass.Observed.Containers, observed.Container{
		State: observed.Running, GoferRun: observed.Alive, ContainerRecord: observed.ContainerRecord{
			Name: c.Name, ID: "web." + name + ".1", Hash: hash, StartedAt: created}})
	in.Pass.Memory.Containers[name] = plan.ContainerMemory{Hash: hash, Live: "web." + name + ".1"}
}

// initLine is line with the init containers before the others.
func initLine(s api.Sandbox) string {
	ready := 0
	for _, c := range s.Status.InitContainers {
		if c.Ready {
			ready++
		}
	}
	s.Status.Containers = s.Status.All()
	return fmt.Sprintf("%d/%d %s", ready, len(s.Status.InitContainers), line(s))
}

func TestOfInit(t *testing.T) {
	never := func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never }
	const waiting = " | app created | aid created"
	for _, c := range []struct {
		name   string
		in     Input
		change func(*Input)
		want   string
	}{
		{"the first one runs", early(0), func(in *Input) { begin(in, "make") },
			`0/2 Pending ready=false "Initializing" "init container \"make\" (1 of 2) runs" | make running | fill created` + waiting},
		{"the second one comes", early(1), func(in *Input) { pending(in, plan.Start, "it was not started yet") },
			`1/2 Pending ready=false "Initializing" "init container \"fill\" (2 of 2) is about to be started" | make stopped 0 Completed | fill created` + waiting},
		{"in back-off", early(1), func(in *Input) { begin(in, "fill"); ends(in, 1, exit(3, "Error"), time.Second) },
			`1/2 Pending ready=false "CrashLoopBackOff" "next try at 2026-03-01T12:00:01Z; init container \"fill\" ended with exit code 3" | make stopped 0 Completed | fill stopped 3 Error in 1s` + waiting},
		{"can't be started", early(0), func(in *Input) { begin(in, "make"); ends(in, 0, exit(128, "StartError"), time.Second) },
			`0/2 Failed ready=false "StartError" "init container \"make\" can't be started; next try at 2026-03-01T12:00:01Z" | make stopped 128 StartError in 1s | fill created` + waiting},
		{"failed for good", early(1, never), func(in *Input) {
			begin(in, "fill")
			ends(in, 1, exit(3, "Error"), 0)
			down(in)
		}, `1/2 Failed ready=false "Error" "container \"fill\" ended with exit code 3" | make stopped 0 Completed | fill stopped 3 Error | app creating | aid creating`},
		{"done", early(2), func(in *Input) { pending(in, plan.Start, "not started yet") },
			`2/2 Pending ready=false "Starting" "not started yet" | make stopped 0 Completed | fill stopped 0 Completed` + waiting},
		{"again in another sandbox", early(2), func(in *Input) {
			in.Pass.Observed.Record.Sentry.PID = 4712
			pending(in, plan.SetLimits, "limits")
		}, `0/2 Pending ready=false "Updating" "limits" | make created | fill created` + waiting},
		{"paused meanwhile", early(0, state(desired.Paused)), func(in *Input) {
			begin(in, "make")
			in.Pass.Observed.Record.State, in.Pass.Observed.Containers[0].State = observed.SandboxPaused, observed.Paused
		}, `0/2 Paused ready=false "" "" | make paused | fill created` + waiting},
		{"stopped meanwhile", early(1, state(desired.Stopped)), down,
			`1/2 Stopped ready=false "" "" | make stopped 0 Completed | fill stopped | app stopped | aid stopped`},
		{"declared no more", early(1), func(in *Input) {
			in.Before, _ = Of(*in)
			in.Pass.Declared = nil
			pending(in, plan.Destroy, "it is declared no more")
		}, `1/2 Terminating ready=false "" "it is declared no more" | make stopped 0 Completed | fill created`},
		{"waits for others", early(0), func(in *Input) {
			bare(in)
			in.Pass.Conditions = []plan.Condition{{Type: plan.DependencyMissing, Reason: plan.DependencyMissing, Message: "for one"},
				{Type: plan.DependencyNotReady, Reason: plan.DependencyNotReady, Message: "for another"}}
		}, `0/2 Pending ready=false "DependencyMissing" "for one; for another" | make creating | fill creating | app creating | aid creating`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(&c.in)
			s, visible := Of(c.in)
			if got := initLine(s); !visible || got != c.want {
				t.Errorf("visible %v\n got %s\nwant %s", visible, got, c.want)
			}
		})
	}
}

// A log is followed to the end of what will not run again.
func TestOverInit(t *testing.T) {
	in := early(1)
	begin(&in, "fill")
	over := func() string {
		var names []string
		for _, name := range []string{"make", "fill", "app"} {
			if Over(in.Pass, name) {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := over(); got != "make" {
		t.Errorf("while the second one runs, over are %q", got)
	}
	in = early(1, func(s *desired.Sandbox) { s.Spec.RestartPolicy = desired.Never })
	begin(&in, "fill")
	ends(&in, 1, exit(3, "Error"), 0)
	if got := over(); got != "make fill app" {
		t.Errorf("where the second one has failed for good, over are %q", got)
	}
}
