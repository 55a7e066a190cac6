package plan

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// step is what one container needs. A zero step: nothing.
type step struct {
	verb   Verb // empty: nothing now
	name   string
	id     string // of the instance that is expected, empty: none
	reason string
	class  string
	exit   string
	// replaced is who gets a successor.
	replaced observed.Process
	// message goes with exit.
	message string
	// until is when what PreStop begins must be over.
	until time.Time
	// replaces: Start meets an instance whose command still runs.
	replaces bool
	// rests: the step follows an end and not a declaration, so it can rest
	// while the sandbox is frozen.
	rests bool
	// frozen: it can be done in a frozen sandbox.
	frozen bool
	// waits: the container has been asked to end and has time left, or its
	// next gofer is not due yet.
	waits bool
}

// steps decides for every declared container whose turn it is, then for those
// that are declared no more. It changes nothing but when to look again.
func (p *planner) steps() iter.Seq[step] {
	return func(yield func(step) bool) {
		for i := range p.o.Servers {
			if !yield(p.stepServer(&p.o.Servers[i])) {
				return
			}
		}
		done := initDone(p.d, p.mem)
		for i := range p.d.Init {
			if !yield(p.stepInit(i, done)) {
				return
			}
		}
		for i := range p.d.Spec.Containers {
			if done == len(p.d.Init) && !yield(p.step(&p.d.Spec.Containers[i], p.d.ContainerHash[i])) {
				return
			}
		}
		for i := range p.o.Containers {
			c := &p.o.Containers[i]
			if dc, _ := p.d.Container(c.Name); dc == nil && !yield(p.leave(c)) {
				return
			}
		}
		for _, name := range p.torn() {
			if dc, _ := p.d.Container(name); dc != nil {
				continue
			}
			if !yield(step{verb: Remove, name: name, class: classContainer,
				reason: fmt.Sprintf("container %q is declared no more", name)}) {
				return
			}
		}
	}
}

// torn names the containers whose records can't be used, sorted.
func (p *planner) torn() []string {
	if len(p.o.BrokenContainers) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(p.o.BrokenContainers))
}

// step decides for a declared container.
func (p *planner) step(dc *desired.Container, hash string) step {
	c := p.find(dc.Name)
	if c != nil && Live(c) {
		return p.stepLive(c, dc, hash)
	}
	if p.kept() && (c == nil || c.Hash != hash) {
		return step{} // it is for the sandbox that could not be started
	}
	if s, due := p.stepHooks(c, hash); due {
		return s
	}
	why, torn := p.o.BrokenContainers[dc.Name]
	cm := p.mem.Containers[dc.Name]
	switch {
	case finished(dc, cm) && torn:
		return step{verb: Remove, name: dc.Name,
			reason: fmt.Sprintf("the record of container %q can't be used (%s), and it is not to run again", dc.Name, why)}
	case finished(dc, cm):
		return step{}
	case p.now.Before(cm.NextStart):
		p.lookAt(cm.NextStart)
		return step{}
	}
	s := step{verb: Start, name: dc.Name}
	if c != nil {
		s.id = c.ID
	}
	switch {
	case torn:
		s.reason = fmt.Sprintf("the record of container %q can't be used (%s): made anew", dc.Name, why)
		s.exit = observed.ReasonError
	case c != nil && c.State == observed.Creating && c.Exit == nil:
		s.reason = fmt.Sprintf("container %q had been left half-made", dc.Name)
	case c != nil && c.State == observed.Created && c.Exit == nil:
		s.reason = fmt.Sprintf("container %q had been made, and its command not begun", dc.Name)
	case c != nil && c.Hash != hash:
		s.reason, s.class = whyChanged(c, dc), classContainer
	case p.added(dc.Name):
		s.reason, s.class = fmt.Sprintf("container %q was added", dc.Name), classContainer
	case cm.Live == "":
		s.reason = fmt.Sprintf("first start of container %q", dc.Name)
	case cm.Fresh:
		s.reason = fmt.Sprintf("container %q runs again under what is declared now", dc.Name)
	default:
		s.rests = true
		s.reason = p.restartReason(dc.Name, cm)
	}
	return s
}

// stepLive decides for the declared container dc, whose command runs.
func (p *planner) stepLive(c *observed.Container, dc *desired.Container, hash string) step {
	cm := p.mem.Containers[c.Name]
	over, isOver := p.overLimit(c)
	switch {
	case unserved(c):
		return p.stepGofer(c)
	case isOver:
		return over
	case c.Hash != hash && !p.stays(c):
		return p.anew(c, whyChanged(c, dc), classContainer)
	case p.superseded(c, hash) && !p.stays(c):
		return p.anew(c, whyAnew(c.Name), "")
	case cm.Health.Failed != "":
		return p.stepUnhealthy(c)
	case c.GoferRun == observed.Alive && c.KeeperRun != observed.Alive:
		return step{verb: Keep, name: c.Name, id: c.ID, replaced: c.Keeper, frozen: true,
			reason: keeping(fmt.Sprintf("container %q", c.Name), c)}
	case c.GoferRun == observed.Alive && p.predates(c.GoferSince, cm.GoferAsked) && !p.rolling:
		p.rolling = true // one after the other
		return step{verb: ReplaceGofer, name: c.Name, id: c.ID, replaced: c.Gofer, frozen: true,
			reason: fmt.Sprintf("a new gofer for container %q was asked for", c.Name)}
	}
	return step{}
}

// keeping is why a gofer gets a keeper: its last one is gone, or it had none yet, as
// one that was restored.
func keeping(whose string, c *observed.Container) string {
	if c.Keeper == (observed.Process{}) {
		return fmt.Sprintf("the gofer of %s had no keeper yet: one gets its sockets, without which none could take over after the daemon's end", whose)
	}
	return fmt.Sprintf("the keeper of the gofer of %s is gone: another gets its sockets, without which none could take over after the daemon's end", whose)
}

// anew ends a container that runs and starts it again.
func (p *planner) anew(c *observed.Container, why, class string) step {
	how, s := p.endOne(c, why, class, p.grace())
	if how != "" {
		s = step{verb: Start, name: c.Name, id: c.ID, reason: why + "; " + how, class: class, replaces: true}
		if c.HookPhase != "" {
			s.verb, s.replaces = Kill, false // hooks come between its end and the next start
		}
	}
	return s
}

// unserved says whether what a container asks its gofer is answered by nobody.
func unserved(c *observed.Container) bool {
	return c.GoferRun == observed.Gone || c.GoferRun == observed.Silent
}

// stepGofer decides for a container that runs without its gofer.
func (p *planner) stepGofer(c *observed.Container) step {
	if p.mem.Containers[c.Name].GoferLost == c.ID {
		// No other gofer can take over, so the container would hang or be
		// killed at its next file; its siblings are left alone.
		return step{verb: Kill, name: c.Name, id: c.ID, exit: observed.ReasonGoferLost, rests: true,
			reason: fmt.Sprintf("container %q lost its gofer", c.Name)}
	}
	if due := c.GoferSince.Add(goferDelay(c.GoferFailures)); c.GoferFailures > 0 && !c.GoferSince.After(p.now) && p.now.Before(due) {
		p.lookAt(due)
		return step{waits: true, frozen: true}
	}
	what := "died"
	if c.GoferRun == observed.Silent {
		what = "answered nobody any more"
	}
	return step{verb: ReplaceGofer, name: c.Name, id: c.ID, replaced: c.Gofer, frozen: true,
		reason: fmt.Sprintf("the gofer of container %q (process %d) %s; the container runs on", c.Name, c.Gofer.PID, what)}
}

// serve has every container that runs without its gofer get another, and
// reports whether one is due: what a task asks of a dead gofer can keep it from
// ending, and silence the whole sentry.
func (p *planner) serve() bool {
	due := false
	for i := range p.o.Servers {
		if s := &p.o.Servers[i]; unserved(s) && p.mem.VolumesLost != p.o.Record.Sentry {
			s := p.stepServer(s)
			p.apply(s)
			due = due || s.verb != ""
		}
	}
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		if Live(c) && unserved(c) && p.mem.Containers[c.Name].GoferLost != c.ID {
			s := p.stepGofer(c)
			p.apply(s)
			due = due || s.verb != ""
		}
	}
	return due
}

// leave decides for a container that is declared no more.
func (p *planner) leave(c *observed.Container) step {
	why := fmt.Sprintf("container %q is declared no more", c.Name)
	how, s := "it has ended", step{}
	if p.kept() && Live(c) {
		return step{}
	}
	if Live(c) {
		how, s = p.endOne(c, why, classContainer, p.grace())
	} else if s, due := p.release(c); due {
		return s
	}
	if how != "" {
		s = step{verb: Remove, name: c.Name, id: c.ID, reason: why + "; " + how, class: classContainer}
		if c.HookPhase != "" {
			s.verb = Kill // hooks come before it is forgotten
		}
	}
	return s
}

// endOne asks one running container to end. It says how it came that no more
// time is given, or the step until then.
func (p *planner) endOne(c *observed.Container, why, class string, grace time.Duration) (how string, s step) {
	if grace <= 0 {
		return "it has no grace period", step{}
	}
	began := p.now
	if p.asked(c) {
		began = p.mem.Containers[c.Name].StopAsked
	}
	s, over := p.ask(c, why, "it", class, grace, began.Add(grace))
	if over {
		return fmt.Sprintf("its grace period of %s is over", grace), step{}
	}
	return "", s
}

// apply turns a step into its action and remembers whom it asked to end.
func (p *planner) apply(s step) {
	if s.verb == "" {
		return
	}
	a := Action{Verb: s.verb, Container: s.name, ContainerID: s.id, Reason: s.reason, Class: s.class, Replaced: s.replaced,
		ExitReason: s.exit, ExitMessage: s.message}
	switch s.verb {
	case Signal:
		a.Signal = p.stopSignal(s.name)
	case PreStop:
		a.PreStop, a.Until = p.preStop(s.name), s.until
	}
	if s.verb == Start {
		p.mem.RanIn = p.o.Record.Sentry // it may run and end before the next look
	}
	if s.verb == PreStop || s.verb == Signal || s.verb == Kill || s.replaces {
		cm := p.mem.Containers[s.name]
		if cm.StopID != s.id || cm.StopAsked.IsZero() {
			cm.StopAsked, cm.PreStopping, cm.SignalledAt = p.now, "", time.Time{}
		}
		switch {
		case s.verb == PreStop:
			cm.PreStopping = s.id
		case s.verb == Signal && cm.PreStopping == s.id:
			cm.PreStopping, cm.SignalledAt = "", p.now
		}
		cm.StopID, cm.StopReason, cm.StopMessage = s.id, s.exit, s.message
		p.setContainer(s.name, cm)
	}
	p.act(a)
}

func (p *planner) restartReason(name string, cm ContainerMemory) string {
	what := "was lost"
	switch e := cm.Exit; {
	case e == nil:
	case e.Reason == observed.ReasonStartError:
		what = "could not be started the last time"
	case e.Reason == observed.ReasonGoferLost:
		what = "lost its gofer"
	case e.Reason == observed.ReasonSandboxLost:
		what = "was lost with its sandbox"
	case e.Reason == observed.ReasonOOMKilled:
		what = "was killed for want of memory"
	case e.Reason == observed.ReasonUnhealthy:
		what = "was unhealthy"
	case !e.Known:
		what = "ended and nobody saw how"
	case e.Signal != 0:
		what = "was ended by " + desired.SignalName(e.Signal)
	default:
		what = fmt.Sprintf("ended with exit code %d", e.Code)
	}
	when := "at once"
	if d := restartDelay(p.d.Spec.RestartBackoff, p.in.Name, name, cm.Attempts); d > 0 {
		when = "after back-off of " + d.Round(100*time.Millisecond).String()
	}
	return fmt.Sprintf("container %q %s; restart %d %s", name, what, cm.Restarts+1, when)
}

// finished reports whether a container has ended as its policy allows, and is
// not to run again until something else is declared.
func finished(c *desired.Container, cm ContainerMemory) bool {
	return !cm.Fresh && cm.Exit != nil && cm.Seen == cm.Live && !Restarts(c.RestartPolicy, cm.Exit)
}

// Ended reports whether every container of d has ended as its restart policy
// allows, or an init container has failed for good, so that nothing will run
// until something else is declared, and whether any of them failed in that.
func Ended(d *Declared, m Memory) (all, failed bool) {
	if c := initFailed(d, m); c != nil {
		_, hash := d.Container(c.Name)
		return m.Containers[c.Name].Hash == hash, true
	}
	for i := range d.Spec.Containers {
		c := &d.Spec.Containers[i]
		cm := m.Containers[c.Name]
		if !finished(c, cm) || cm.Hash != d.ContainerHash[i] {
			return false, false
		}
		failed = failed || !cm.Exit.Known || cm.Exit.Code != 0
	}
	return true, failed
}
