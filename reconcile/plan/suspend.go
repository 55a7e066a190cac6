package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// suspended reports whether the sandbox is on disk, or on its way back from
// there: what its containers do is then not to be read from their records.
func (p *planner) suspended() bool { return p.o.Image != nil || p.world == restoring }

// wanted is the state that is sought: the declared one, unless the sandbox
// can't be in it. It is then left as it was.
func (p *planner) wanted() desired.State {
	other := p.otherGVisor()
	switch terminal := p.d.Spec.WithTerminal(); {
	case p.d.Spec.State != desired.Suspended || p.d.Spec.Network.Mode != desired.NetworkHost && terminal == "" && other == "":
		return p.d.Spec.State
	case other != "" && p.d.Spec.Network.Mode != desired.NetworkHost && terminal == "":
		p.condition(Unsupported, "OtherGVisor",
			"its sentry is of gVisor %s and this daemon has gVisor %s, which could not restore its checkpoint; the sandbox is left as it was: declare Stopped, so that it is made anew, and Suspended then",
			other, p.in.GVisor)
	case terminal != "":
		p.condition(Unsupported, "Terminal",
			"gVisor can't restore the terminal of container %q; the sandbox is left as it was: declare another state, or terminal: false", terminal)
	default:
		p.condition(Unsupported, "HostNetwork",
			"gVisor can't write a checkpoint of a sandbox with the host's network; the sandbox is left as it was: declare another state, or network.mode: none")
	}
	switch {
	case p.world == paused || p.world == between:
		return desired.Paused
	case p.world == up && p.mem.RanIn != p.o.Record.Sentry:
		return desired.Created
	case p.world == up || p.world == silent:
		return desired.Running
	}
	return desired.Stopped
}

// otherGVisor is the version of the sentry that runs where that is not the one of
// this daemon; empty: it is, or nothing runs that a checkpoint would be made of.
func (p *planner) otherGVisor() string {
	r := p.o.Record
	if p.in.GVisor == "" || p.suspended() || !p.running() && p.world != silent || r.GVisor == p.in.GVisor {
		return ""
	}
	return cmp.Or(r.GVisor, "an unknown version")
}

// seekSuspended plans for a sandbox that has a checkpoint. Until it is removed
// nothing has run since it was made, so that what is frozen beside it can be
// ended without loss; only what is being restored may have run on.
func (p *planner) seekSuspended() {
	switch {
	case p.world == up:
		p.discard("the sandbox has run since its checkpoint was made")
	case p.world == restoring && p.want.Runs():
		p.act(Action{Verb: Restore, Reason: "an earlier restore of the sandbox was cut short"})
	case p.world == restoring:
		p.stop(fmt.Sprintf("the declared state is %s, and the sandbox is being restored", p.d.Spec.State), classInPlace, "")
	case p.want == desired.Suspended && p.running():
		p.act(Action{Verb: Stop, Class: classInPlace, Reason: "the declared state is Suspended and the checkpoint is written"})
	case p.want == desired.Suspended:
		p.refused()
	case p.want == desired.Stopped && p.d.Leaving:
		// What is on disk is there for the next daemon.
		if p.running() {
			p.act(Action{Verb: Stop, Reason: "the daemon ends and the checkpoint is written"})
		}
	case p.running() || !p.want.Runs():
		p.discard(fmt.Sprintf("the declared state is %s", p.d.Spec.State))
	default:
		p.restore()
	}
}

func (p *planner) discard(why string) {
	p.act(Action{Verb: Discard, Reason: why + ": the checkpoint is discarded", Class: classInPlace})
}

// suspend writes the checkpoint, unless that failed a short while ago.
func (p *planner) suspend() {
	if p.mem.SuspendFailures > 0 {
		p.condition(SuspendFailed, SuspendFailed, "%s (failed %s in a row); the sandbox goes on as it was", p.mem.SuspendError, times(p.mem.SuspendFailures))
		if p.now.Before(p.mem.NextSuspend) {
			p.lookAt(p.mem.NextSuspend)
			switch {
			case p.world == between:
				p.act(Action{Verb: Resume, Reason: "the checkpoint could not be written", Class: classInPlace})
			case !p.limits():
				p.scores()
			}
			return
		}
	}
	p.act(Action{Verb: Suspend, Reason: "the declared state is Suspended", Class: classInPlace})
}

// restore brings a suspended sandbox back once no earlier failure stands
// against it.
func (p *planner) restore() {
	if p.refused() || p.waits() {
		return
	}
	if p.now.Before(p.mem.NextCreate) {
		p.lookAt(p.mem.NextCreate)
		return
	}
	// Whom it expects to meet is nobody.
	p.actions = append(p.actions, Action{Verb: Restore, Sandbox: p.in.Name, Class: classInPlace,
		Reason: fmt.Sprintf("the declared state is %s and the sandbox was suspended", p.d.Spec.State)})
}

// refused says, as a condition, why nothing can be restored from the
// checkpoint under what is declared now.
func (p *planner) refused() bool {
	why := Refusal(p.o.Image, p.d)
	if why == "" {
		return false
	}
	p.condition(RestoreFailed, "Refused", "%s; the checkpoint is kept: undo that, or declare Stopped to discard it", why)
	return true
}

// Refusal says why what d declares can't be restored from an image; empty: it
// can be tried.
func Refusal(image *observed.Image, d *Declared) string {
	if image.Unusable != "" {
		return "the checkpoint can't be used: " + image.Unusable
	}
	var was desired.Spec
	if err := json.Unmarshal(image.Spec, &was); err != nil {
		return fmt.Sprintf("the checkpoint can't be used: what it was made of can't be understood: %v", err)
	}
	paths := desired.Differences(&was, &d.Spec)
	if len(paths) == 0 {
		return ""
	}
	return fmt.Sprintf("the checkpoint of %s is of another specification, in %s", image.CreatedAt.Format(time.DateTime), strings.Join(paths, ", "))
}
