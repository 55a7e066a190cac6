package status

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// onDisk leaves a checkpoint, in which app runs and aid had ended, and no
// records.
func onDisk(in *Input) {
	ends(in, 1, exit(3, "Error"), 0)
	o := &in.Pass.Observed
	o.Image = &observed.Image{}
	for _, c := range o.Containers {
		c.ContainerRecord.Exit = c.Exit
		o.Image.Containers = append(o.Image.Containers, c.ContainerRecord)
	}
	down(in)
	o.Containers = nil
}

func TestOfSuspended(t *testing.T) {
	const both, disk = " | app running | aid running", " | app stopped Suspended | aid stopped 3 Error"
	condition := func(in *Input, typ, message string) {
		in.Pass.Conditions = []plan.Condition{{Type: typ, Reason: "Why", Message: message}}
	}
	for _, c := range []struct {
		name    string
		declare func(*desired.Sandbox)
		change  func(*Input)
		want    string
	}{
		{name: "suspended", declare: state(desired.Suspended), change: onDisk, want: `Suspended ready=false "" ""` + disk},
		{name: "suspended, rebooted", declare: state(desired.Suspended), change: func(in *Input) {
			onDisk(in)
			in.Pass.Observed.Record = nil
		}, want: `Suspended ready=false "" ""` + disk},
		{name: "suspended, and can't be restored", declare: state(desired.Suspended), change: func(in *Input) {
			onDisk(in)
			condition(in, plan.RestoreFailed, "of another version")
		}, want: `Suspended ready=false "RestoreFailed" "of another version"` + disk},
		{name: "to be suspended", declare: state(desired.Suspended), change: func(in *Input) { pending(in, plan.Suspend, "declared") },
			want: `Pending ready=false "Suspending" "declared"` + both},
		{name: "the checkpoint is written", declare: state(desired.Suspended), change: func(in *Input) {
			in.Pass.Observed.Image = &observed.Image{}
			pending(in, plan.Stop, "it is written")
		}, want: `Pending ready=false "Stopping" "it is written"` + both},
		{name: "suspending fails", declare: state(desired.Suspended), change: func(in *Input) {
			in.Pass.Memory.SuspendFailures, in.Pass.Memory.NextSuspend = 1, now.Add(time.Second)
			condition(in, plan.SuspendFailed, "disk full")
		}, want: `Running ready=true "SuspendFailed" "disk full; next try at 2026-03-01T12:00:01Z"` + both},
		{name: "can't be suspended at all", declare: state(desired.Suspended), change: func(in *Input) { condition(in, api.Unsupported, "host network") },
			want: `Running ready=true "Unsupported" "host network"` + both},
		{name: "nothing is left to suspend", declare: func(s *desired.Sandbox) {
			s.Spec.State = desired.Suspended
			policies(desired.Never, desired.OnFailure)(s)
		}, change: func(in *Input) {
			ends(in, 0, exit(0, "Completed"), 0)
			ends(in, 1, exit(0, "Completed"), 0)
			down(in)
		}, want: `Succeeded ready=false "" "" | app stopped 0 Completed | aid stopped 0 Completed`},
		{name: "to be restored", change: func(in *Input) { onDisk(in); pending(in, plan.Restore, "declared") },
			want: `Pending ready=false "Restoring" "declared"` + disk},
		{name: "refused", change: func(in *Input) { onDisk(in); condition(in, plan.RestoreFailed, "of another version") },
			want: `Failed ready=false "RestoreFailed" "of another version"` + disk},
		{name: "restoring fails", change: func(in *Input) {
			onDisk(in)
			in.Pass.Memory.CreateFailures, in.Pass.Memory.LastError, in.Pass.Memory.NextCreate = 1, "no volume", now.Add(time.Second)
			condition(in, plan.RestoreFailed, "no volume (failed once in a row)")
			pending(in, plan.Restore, "tried again")
		}, want: `Failed ready=false "RestoreFailed" "no volume; next try at 2026-03-01T12:00:01Z"` + disk},
		{name: "restoring from elsewhere fails", declare: func(s *desired.Sandbox) { s.Spec.RestoreFrom = "/image" }, change: func(in *Input) {
			bare(in)
			in.Pass.Memory = plan.Memory{CreateFailures: 1, NextCreate: now.Add(time.Minute), LastError: "no checkpoint"}
		}, want: `Failed ready=false "RestoreFailed" "no checkpoint; next try at 2026-03-01T12:01:00Z" | app creating RestoreFailed in 1m0s | aid creating RestoreFailed in 1m0s`},
		{name: "to be discarded", declare: state(desired.Stopped), change: func(in *Input) { onDisk(in); pending(in, plan.Discard, "declared") },
			want: `Pending ready=false "Discarding" "declared"` + disk},
		{name: "kept while the daemon ends", declare: state(desired.Stopped), change: func(in *Input) { onDisk(in); in.Pass.Declared.Leaving = true }, want: `Stopped ready=false "" ""` + disk},
		{name: "declared no more", change: func(in *Input) {
			onDisk(in)
			in.Pass.Declared = nil
			pending(in, plan.Destroy, "declared no more")
		}, want: `Terminating ready=false "" "declared no more" | aid stopped 3 Error | app stopped Suspended`},
		{name: "not declared, and that can't be trusted", change: func(in *Input) {
			onDisk(in)
			in.Pass.Declared, in.Pass.Held, in.Held = nil, true, "the directory is missing"
		}, want: `Suspended ready=false "DeletionHeld" "the directory is missing" | aid stopped 3 Error | app stopped Suspended`},
		{name: "only the checkpoint is left", change: func(in *Input) {
			onDisk(in)
			in.Pass.Declared, in.Pass.Observed.Record, in.Pass.Observed.Sentry = nil, nil, observed.None
			pending(in, plan.Destroy, "declared no more")
		}, want: `Terminating ready=false "" "declared no more" | aid stopped 3 Error | app stopped Suspended`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base(c.declare)
			if c.change != nil {
				c.change(&in)
			}
			s, ok := Of(in)
			if got := line(s); !ok || got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
