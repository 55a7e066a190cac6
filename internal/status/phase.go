package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// The reasons that are ours; the others are the runtime's (observed.Exit).
const (
	createFailed = plan.CreateFailed
)

// phase says where the sandbox stands and, where that is not as declared, why.
func (v *view) phase(list []api.Container) (phase api.Phase, reason, message string) {
	if v.d == nil {
		return v.undeclared()
	}
	state := v.d.Spec.State
	if v.suspended() || state == desired.Suspended {
		if phase, reason, message, ok := v.suspension(); ok {
			return phase, reason, message
		}
	}
	if v.mem.CreateFailures > 0 && !v.alive() && state != desired.Stopped {
		return api.Failed, v.creation(), v.mem.LastError + nextTry(v.mem.NextCreate, v.Now)
	}
	switch state {
	case desired.Stopped:
		if v.o.Sentry != observed.Alive && v.o.CgroupProcs == 0 && (v.o.Image == nil || v.d.Leaving) {
			return api.Stopped, "", ""
		}
	case desired.Created:
		if v.alive() && v.o.Record.State == observed.SandboxUp && v.current() &&
			!slices.ContainsFunc(v.o.Containers, func(c observed.Container) bool { return v.ranHere(&c) }) {
			return api.Created, "", ""
		}
	default:
		return v.running(list)
	}
	return v.onItsWay()
}

// running is phase for what is declared Running or Paused.
func (v *view) running(list []api.Container) (phase api.Phase, reason, message string) {
	if all, failed := plan.Ended(v.d, v.mem); all {
		if failed {
			reason, message := v.failures(list)
			return api.Failed, reason, message
		}
		return api.Succeeded, "", ""
	}
	if phase, reason, message, ok := v.beforehand(list); ok {
		return phase, reason, message
	}
	if c, ok := v.waiting(list, func(c api.Container) bool { return c.Reason == observed.ReasonStartError }); ok {
		return api.Failed, observed.ReasonStartError, howItEnded(c) + nextStart(c, v.Now)
	}
	switch {
	case v.alive() && v.current() && v.o.Record.State == observed.SandboxPaused && v.d.Spec.State == desired.Paused:
		return api.Paused, "", ""
	case v.alive() && v.current() && v.o.Record.State == observed.SandboxUp && v.d.Spec.State == desired.Running && v.allRun():
		return api.Running, "", ""
	}
	if c, ok := v.waiting(list, func(c api.Container) bool { return c.NextStartAt != nil }); ok && len(v.Pass.Pending) == 0 {
		if !v.alive() && v.mem.NextCreate.After(v.Now) {
			return api.Pending, api.CrashLoopBackOff, inTurn(&v.mem.NextCreate, v.Now) + "the sandbox was lost"
		}
		return api.Pending, api.CrashLoopBackOff, inTurn(c.NextStartAt, v.Now) + howItEnded(c)
	}
	return v.onItsWay()
}

// undeclared is phase for what is to go, or would be if its absence could be
// trusted.
func (v *view) undeclared() (phase api.Phase, reason, message string) {
	if !v.Pass.Held {
		_, _, message = v.onItsWay()
		return api.Terminating, "", message
	}
	return v.standing(), "", ""
}

// standing is the phase of what is, whatever is declared.
func (v *view) standing() api.Phase {
	switch {
	case v.suspended():
		return api.Suspended
	case v.alive() && v.o.Record.State == observed.SandboxPaused:
		return api.Paused
	case slices.ContainsFunc(v.o.Containers, func(c observed.Container) bool { return live(&c) }):
		return api.Running
	case v.alive():
		return api.Created
	}
	return api.Stopped
}

// onItsWay is the phase between two states, explained by what is done next.
func (v *view) onItsWay() (phase api.Phase, reason, message string) {
	if len(v.Pass.Pending) == 0 {
		if slices.ContainsFunc(v.Pass.Conditions, func(c plan.Condition) bool { return c.Type == plan.StartBlocked }) {
			return v.standing(), "", "" // as with a manifest that was rejected: the condition says why
		}
		switch c := v.asked(); {
		case v.o.Unresponsive:
			return api.Pending, "", "" // the condition says why
		case c != "":
			return api.Pending, "Stopping", fmt.Sprintf("container %q was asked to end and has time left", c)
		}
		if c := v.hooked(); c != "" {
			return api.Pending, "Hooks", fmt.Sprintf("hooks of container %q run", c)
		}
		return api.Pending, "Waiting", ""
	}
	a := v.Pass.Pending[0]
	//exhaustive:enforce
	switch a.Verb {
	case plan.Create:
		reason = "Creating"
	case plan.Start:
		reason = "Starting"
	case plan.Pause:
		reason = "Pausing"
	case plan.Resume:
		reason = "Resuming"
	case plan.Suspend:
		reason = "Suspending"
	case plan.Restore:
		reason = "Restoring"
	case plan.Discard:
		reason = "Discarding"
	case plan.SetLimits, plan.ReopenUserLog, plan.SetOOMScore, plan.Remove, plan.ReplaceGofer, plan.Keep, plan.Mend:
		reason = "Updating"
	case plan.PreStop, plan.Signal, plan.Kill, plan.Release, plan.Stop, plan.Destroy:
		reason = "Stopping"
	}
	return api.Pending, reason, a.Reason
}

// asked names a container that was asked to end and has not yet; empty: none.
func (v *view) asked() string {
	for i := range v.o.Containers {
		c := &v.o.Containers[i]
		if cm := v.mem.Containers[c.Name]; live(c) && cm.StopID == c.ID && !cm.StopAsked.IsZero() {
			return c.Name
		}
	}
	return ""
}

// hooked names a container whose hooks are waited for; empty: none.
func (v *view) hooked() string {
	for i := range v.o.Containers {
		c := &v.o.Containers[i]
		if c.HookPhase == observed.HooksCreating || c.HookPhase == observed.HooksStopping {
			return c.Name
		}
	}
	return ""
}

// current reports whether the sandbox was made from what is declared now.
func (v *view) current() bool { return v.d.IsOf(v.o.Record) }

// ranHere reports whether a container's command ran in the present sandbox:
// records of containers outlive its replacement.
func (v *view) ranHere(c *observed.Container) bool {
	return live(c) || !c.StartedAt.IsZero() && !c.StartedAt.Before(v.o.Record.CreatedAt)
}

// allRun reports whether every declared container runs as declared, or has
// ended as its restart policy allows.
func (v *view) allRun() bool {
	for i := range v.d.Spec.Containers {
		dc := &v.d.Spec.Containers[i]
		c := v.find(dc.Name)
		if runs := c != nil && live(c) && c.Hash == v.d.ContainerHash[i]; !runs && !finished(dc, v.mem.Containers[dc.Name]) {
			return false
		}
	}
	return true
}

// failures says of the containers that failed for good how they ended, and of
// the first the reason; an empty message: there are none.
func (v *view) failures(list []api.Container) (reason, message string) {
	var texts []string
	for _, c := range list {
		dc, _ := v.d.Container(c.Name)
		cm := v.mem.Containers[c.Name]
		if dc == nil || !finished(dc, cm) || cm.Exit.Known && cm.Exit.Code == 0 {
			continue
		}
		if len(texts) == 0 {
			reason = c.Reason
		}
		texts = append(texts, howItEnded(c))
	}
	return reason, strings.Join(texts, "; ")
}

// finished reports whether a container has ended and is not to run again until
// something else is declared.
func finished(c *desired.Container, cm plan.ContainerMemory) bool {
	if cm.Fresh || cm.Exit == nil || cm.Seen != cm.Live {
		return false
	}
	return c.RestartPolicy == desired.Never ||
		c.RestartPolicy == desired.OnFailure && cm.Exit.Known && cm.Exit.Code == 0 && cm.Exit.Reason != observed.ReasonUnhealthy
}

// waiting finds the declared container that does not run, is meant to, and of
// those that are chosen is tried next.
func (v *view) waiting(list []api.Container, chosen func(api.Container) bool) (found api.Container, ok bool) {
	for i := range v.d.Spec.Containers {
		dc := &v.d.Spec.Containers[i]
		cm := v.mem.Containers[dc.Name]
		k := slices.IndexFunc(list, func(c api.Container) bool { return c.Name == dc.Name })
		if k < 0 || cm.Fresh || list[k].State != string(observed.Stopped) || finished(dc, cm) || !chosen(list[k]) {
			continue
		}
		if !ok || earlier(list[k].NextStartAt, found.NextStartAt) {
			found, ok = list[k], true
		}
	}
	return found, ok
}

func earlier(a, b *time.Time) bool { return a != nil && b != nil && a.Before(*b) }

// howItEnded is a sentence about a container that does not run.
func howItEnded(c api.Container) string {
	how := "ended, and nobody knows how"
	if c.Reason == observed.ReasonStartError {
		how = "can't be started"
	} else if c.ExitCode != nil {
		how = fmt.Sprintf("ended with exit code %d", *c.ExitCode)
	}
	text := fmt.Sprintf("container %q %s", c.Name, how)
	switch c.Reason {
	case "", observed.ReasonError, observed.ReasonCompleted, observed.ReasonStartError:
	default:
		text += " (" + c.Reason + ")"
	}
	if c.Message != "" {
		text += ": " + c.Message
	}
	return text
}

func nextStart(c api.Container, now time.Time) string {
	if c.NextStartAt == nil {
		return ""
	}
	return nextTry(*c.NextStartAt, now)
}

// What is said of times is in UTC and marked as that: whoever shows it knows what
// time is local there.

// inTurn says when what ended, and of which the text that follows tells, is tried
// again: first, as the end of a message is cut in a narrow table.
func inTurn(at *time.Time, now time.Time) string {
	if at == nil || !at.After(now) {
		return ""
	}
	return "next try at " + at.UTC().Format(time.RFC3339) + "; "
}

// nextTry says when what failed is tried again.
func nextTry(at, now time.Time) string {
	if !at.After(now) {
		return ""
	}
	return "; next try at " + at.UTC().Format(time.RFC3339)
}
