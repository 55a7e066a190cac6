package plan

import (
	"fmt"
	"time"

	"sandboxer/desired"
)

const (
	whyStopped = "the declared state is Stopped"
	whyCreated = "the declared state is Created and commands were started"
	whyRenewed = "a restart of the whole sandbox was asked for"
)

// seek plans the next step to the declared state from a world that is whole:
// absent, stopped, up, paused or between.
func (p *planner) seek() {
	switch {
	case p.suspended():
		p.seekSuspended()
	case p.want == desired.Stopped:
		p.seekStopped()
	case p.want == desired.Created:
		p.seekCreated()
	default:
		p.seekRunning()
	}
}

func (p *planner) running() bool { return p.world == up || p.world == paused || p.world == between }

// seekStopped wants no process. Where nothing ever ran the state is reached
// without an action: what there is to record is the declaration itself.
func (p *planner) seekStopped() {
	if !p.running() {
		return
	}
	if how, done := p.end(whyStopped, classInPlace); done {
		p.stop(whyStopped+"; "+how, classInPlace, "")
	}
}

// seekCreated wants a sandbox in which no command was ever started: one in
// which a command ran is replaced.
func (p *planner) seekCreated() {
	if !p.running() {
		p.create(time.Time{})
		return
	}
	why, class := "", classInPlace
	switch {
	case p.outdated():
		why, class = p.whyReplaced(), classSandbox
	case p.mem.RanIn == p.o.Record.Sentry || p.o.Record.Restored:
		why = whyCreated
	}
	switch {
	case why != "":
		if how, done := p.end(why, class); done {
			p.stop(why+"; "+how, class, "")
		}
	case p.world != up:
		p.act(Action{Verb: Resume, Reason: "the declared state is Created", Class: classInPlace})
	case len(p.o.BrokenContainers) > 0:
		for _, name := range p.torn() {
			p.apply(step{verb: Remove, name: name,
				reason: fmt.Sprintf("the record of container %q can't be used (%s), and no command is to run", name, p.o.BrokenContainers[name])})
		}
	case !p.limits():
		p.scores()
	}
}

// seekRunning wants every container to run, or to have ended as its policy
// allows; for Paused and Suspended, it wants that first and the sandbox frozen,
// or on disk, then.
func (p *planner) seekRunning() {
	switch {
	case !p.running():
		if due, wanted := p.nextStart(); wanted && !p.waits() {
			p.create(due)
		}
	case p.outdated() && !p.kept():
		if how, done := p.end(p.whyReplaced(), classSandbox); done {
			p.stop(p.whyReplaced()+"; "+how, classSandbox, "")
		}
	case p.renewed() && !p.kept():
		if how, done := p.end(whyRenewed, ""); done {
			p.stop(whyRenewed+"; "+how, "", "")
		}
	case p.world != up:
		p.seekFrozen()
	default:
		p.seekUp()
	}
}

// seekFrozen leaves a frozen sandbox alone if it is to be frozen, or to go to
// disk as it is, but for work that was declared since: that needs it thawed.
func (p *planner) seekFrozen() {
	if p.want == desired.Running {
		p.act(Action{Verb: Resume, Reason: fmt.Sprintf("the declared state is %s", p.d.Spec.State), Class: classInPlace})
		return
	}
	var thaw step
	done := false
	for s := range p.steps() {
		switch {
		case s.frozen:
			p.apply(s)
			done = true
		case s.verb != "" && !s.rests && thaw.verb == "":
			thaw = s
		}
	}
	switch {
	case done:
		return
	case thaw.verb != "":
		p.act(Action{Verb: Resume, Reason: "thawed for a while: " + thaw.reason, Class: thaw.class})
		return
	}
	p.again = time.Time{} // restarts rest while it is frozen
	switch {
	case p.finished():
		p.stopFinished()
	case p.want == desired.Suspended && !p.blocked():
		p.suspend()
	case p.world == between:
		p.act(Action{Verb: Pause, Reason: "the declared state is Paused, and an earlier pause was cut short", Class: classInPlace})
	case !p.limits():
		p.scores()
	}
}

func (p *planner) seekUp() {
	if p.limits() {
		return
	}
	if !p.begun() && p.waits() {
		p.upkeep()
		return
	}
	if r := p.o.Record; p.d.Spec.RestoreFrom != "" && !r.Restored && p.mem.RanIn != r.Sentry {
		p.stop("the sandbox was made anew, and is to be restored from "+p.d.Spec.RestoreFrom, classSandbox, "")
		return
	}
	waits := false
	for s := range p.steps() {
		waits = waits || s.waits
		p.apply(s)
	}
	switch {
	case len(p.actions) > 0:
	case waits:
		p.upkeep()
	case p.finished():
		p.stopFinished()
	case p.blocked() && p.want == desired.Suspended:
		p.upkeep() // what would be written is not what is declared
	case p.want == desired.Suspended:
		p.again = time.Time{} // restarts rest while it is on disk
		p.suspend()
	case p.want == desired.Paused:
		p.again = time.Time{} // restarts rest while it is frozen
		p.act(Action{Verb: Pause, Reason: "the declared state is Paused", Class: classInPlace})
	default:
		p.upkeep()
	}
}

// upkeep is what is done where nothing is in the way of it, and is in nobody's way
// where it can't be done: a log that can't be begun anew must not keep containers
// from being restarted.
func (p *planner) upkeep() {
	p.scores()
	if len(p.actions) == 0 && p.o.UserLogMoved {
		p.act(Action{Verb: ReopenUserLog, Reason: "the userLog " + p.o.Record.UserLog.Path + " was renamed or removed, and is begun anew"})
	}
}

// stopFinished frees the memory of a sandbox in which nothing will run.
func (p *planner) stopFinished() {
	why := "every container has ended and is not to run again"
	if c := initFailed(p.d, p.mem); c != nil {
		why = fmt.Sprintf("init container %q has failed and is not to run again", c.Name)
	}
	p.stop(why, "", "")
}

// outdated reports whether the sandbox was made from fields that have changed
// since and can't be changed in place. Where nobody knows any more what it was
// made from, that is no change: what has ended for good must not run again.
func (p *planner) outdated() bool {
	r := p.o.Record
	return r != nil && r.SandboxHash != "" && !p.d.IsOf(r)
}

// create makes the sandbox once the containers' back-off (due) and the
// sandbox's own allow it.
func (p *planner) create(due time.Time) {
	if p.mem.NextCreate.After(due) {
		due = p.mem.NextCreate
	}
	if p.now.Before(due) {
		p.lookAt(due)
		return
	}
	verb, reason, class := Create, "the sandbox is declared and was not there", ""
	if p.d.Spec.RestoreFrom != "" && p.want != desired.Created {
		verb = Restore
	}
	switch r := p.o.Record; {
	case p.mem.CreateFailures > 0:
		reason = fmt.Sprintf("tried again after creating the sandbox failed %s", times(p.mem.CreateFailures))
	case p.outdated():
		reason, class = p.whyReplaced(), classSandbox
	case r != nil && p.mem.Losses > 0 && p.mem.LostSentry == p.mem.RanIn:
		reason = "the sandbox was lost and is made anew"
	case r != nil:
		reason = fmt.Sprintf("the declared state is %s and no process was left", p.d.Spec.State)
	}
	// Whom it expects to meet is nobody: the record's sentry has ended.
	p.actions = append(p.actions, Action{Verb: verb, Sandbox: p.in.Name, Reason: reason, Class: class})
}

// nextStart is when the first container is due that is to run (zero: now);
// wanted is false where none is to.
func (p *planner) nextStart() (due time.Time, wanted bool) {
	if initFailed(p.d, p.mem) != nil {
		return time.Time{}, false
	}
	for i := range p.d.Spec.Containers {
		c := &p.d.Spec.Containers[i]
		cm := p.mem.Containers[c.Name]
		if finished(c, cm) {
			continue
		}
		if !wanted || cm.NextStart.Before(due) {
			due = cm.NextStart
		}
		wanted = true
	}
	return due, wanted
}

func (p *planner) finished() bool {
	_, wanted := p.nextStart()
	return !wanted
}
