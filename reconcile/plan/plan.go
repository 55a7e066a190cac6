package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// blindAgain is when a failed look is repeated.
const blindAgain = 2 * time.Second

// The classes that actions carry.
const (
	classInPlace   = string(desired.ClassInPlace)
	classContainer = string(desired.ClassContainer)
	classSandbox   = string(desired.ClassSandbox)
)

// Decide says what to do next for one sandbox. It is a pure function: the
// same input gives the same result, and in is not modified. A world that is
// as declared gives no actions.
//
// What acts on the sandbox as a whole is alone in its result; the other actions
// are at most one per container, sorted by container.
func Decide(in Input) Result {
	p := planner{in: &in, d: in.Desired, o: &in.Observed, now: in.Now, mem: in.Memory}
	switch {
	case in.Blind:
		p.condition(RuntimeUnreachable, "LookFailed", "what runs of the sandbox can't be told; nothing is done until it can")
		p.lookAt(p.now.Add(blindAgain))
	case p.d == nil && in.Held:
		// What is there stays as it is, and so does what is remembered.
	case p.d == nil && Nothing(p.o):
		p.mem = Memory{}
	default:
		p.bound()
		p.world = classify(p.o)
		p.noteSilence()
		p.noteDamage()
		if p.d == nil {
			p.remove()
		} else {
			p.want = p.wanted()
			p.remember()
			p.noteReplaced()
			p.noteBlocked()
			if !p.mend() {
				p.keep()
			}
		}
		if !p.ending {
			p.mem.StopAsked = time.Time{}
		}
		if p.mem.Damage != "" {
			p.condition(RecordDamaged, RecordDamaged, "%s", p.mem.Damage)
		}
	}
	if len(p.actions) > 1 {
		slices.SortStableFunc(p.actions, func(a, b Action) int { return cmp.Compare(a.Container, b.Container) })
	}
	SortConditions(p.conditions)
	return Result{Actions: p.actions, Memory: p.mem, Again: p.again, MemoryMark: p.memoryMark(), Conditions: p.conditions, Notices: p.notices}
}

// planner is one call of Decide. The memory's map is the caller's until the
// first change to it.
type planner struct {
	in     *Input
	d      *Declared
	o      *observed.Sandbox
	now    time.Time
	world  world
	want   desired.State // that is sought, where something is declared
	mem    Memory
	cloned bool
	ending bool     // the graceful end of the whole sandbox goes on
	lost   []string // see lostContainers
	// rolling: a gofer that is well is being replaced.
	rolling bool

	actions    []Action
	conditions []Condition
	notices    []Notice
	again      time.Time
}

func (p *planner) lookAt(t time.Time) {
	if p.again.IsZero() || t.Before(p.again) {
		p.again = t
	}
}

// act adds an action on the sandbox as a whole, or on what a names.
func (p *planner) act(a Action) {
	a.Sandbox = p.in.Name
	if p.o.Record != nil {
		a.Sentry = p.o.Record.Sentry
	}
	p.actions = append(p.actions, a)
}

func (p *planner) setContainer(name string, cm ContainerMemory) {
	p.own()
	p.mem.Containers[name] = cm
}

func (p *planner) own() {
	if p.cloned {
		return
	}
	p.cloned = true
	if p.mem.Containers = maps.Clone(p.mem.Containers); p.mem.Containers == nil {
		p.mem.Containers = make(map[string]ContainerMemory)
	}
}

// find gives the observed container of that name, nil where there is none.
func (p *planner) find(name string) *observed.Container {
	for i := range p.o.Containers {
		if p.o.Containers[i].Name == name {
			return &p.o.Containers[i]
		}
	}
	return nil
}

func (p *planner) grace() time.Duration {
	s := p.d.graceSeconds()
	if s == nil {
		s = p.mem.GraceSeconds
	}
	if s == nil {
		return defaultGrace
	}
	return time.Duration(*s) * time.Second
}

// remove plans for a sandbox that is declared no more.
func (p *planner) remove() {
	const why = "the sandbox is declared no more"
	if p.suspended() {
		p.destroy(why + "; it is suspended, so nothing runs in it that could be asked to end")
		return
	}
	switch p.world {
	case up, paused, between:
		if how, done := p.end(why, ""); done {
			p.destroy(why + "; " + how)
		}
	case silent:
		// A signal would not reach anybody: what is left of the grace is the
		// hope that the sentry answers again.
		limit := min(p.grace(), silenceLimit)
		if p.silentFor(p.mem.UnresponsiveSince, limit) {
			p.destroy(fmt.Sprintf("%s; its sentry has not answered for %s", why, limit))
		}
	default:
		p.destroy(why + "; nothing runs in it that could be asked to end")
	}
}

// keep plans for a declared sandbox: what is broken is cleared away first,
// then the declared state is sought.
func (p *planner) keep() {
	switch p.world {
	case broken:
		p.stop(p.brokenReason(), "", observed.ReasonSandboxLost)
	case halfMade:
		p.stop("the sandbox was left half-made", "", observed.ReasonSandboxLost)
	case stopping:
		p.stop("an earlier stop of the sandbox was cut short", "", observed.ReasonSandboxLost)
	case lost:
		p.noteLoss()
		why, exit := "the sandbox's sentry is gone", observed.ReasonSandboxLost
		if p.sentryKilled() {
			why, exit = why+": "+p.killer(), observed.ReasonOOMKilled
		}
		p.stop(why, "", exit)
	case silent:
		p.keepSilent()
	default:
		switch {
		case p.running() && p.volumesLost():
		case p.running() || p.suspended() || !p.releaseAll():
			p.seek()
		}
		p.limitsInUse()
	}
	if p.mem.CreateFailures > 0 {
		typ := CreateFailed
		if p.suspended() || p.d.Spec.RestoreFrom != "" {
			typ = RestoreFailed
		}
		p.condition(typ, typ, "%s (failed %s in a row)", p.mem.LastError, times(p.mem.CreateFailures))
	}
}

func (p *planner) brokenReason() string {
	switch {
	case p.o.Record != nil:
		return fmt.Sprintf("the sandbox's record has the unknown state %q", p.o.Record.State)
	case p.o.Broken != "":
		return "the sandbox's record can't be used: " + p.o.Broken
	}
	return fmt.Sprintf("the sandbox's cgroup holds %d processes that no record explains", p.o.CgroupProcs)
}

// stop ends every process. Without an exit reason the ends are as declared,
// and the containers owe no back-off for them.
func (p *planner) stop(reason, class, exitReason string) {
	if exitReason == "" {
		for i := range p.o.Containers {
			if c := &p.o.Containers[i]; Live(c) {
				cm := p.mem.Containers[c.Name]
				if cm.StopID != c.ID || cm.StopAsked.IsZero() {
					cm.StopAsked = p.now
				}
				cm.StopID, cm.StopReason, cm.PreStopping = c.ID, "", ""
				p.setContainer(c.Name, cm)
			}
		}
	}
	a := Action{Verb: Stop, Reason: reason, Class: class, ExitReason: exitReason}
	if exitReason == observed.ReasonOOMKilled {
		a.ExitMessage = p.killer()
	}
	p.act(a)
}

// end asks every running container to end, and reports whether all have, or
// their time is over, and which of the two.
func (p *planner) end(why, class string) (how string, done bool) {
	grace := p.grace()
	switch {
	case !slices.ContainsFunc(p.o.Containers, func(c observed.Container) bool { return Live(&c) }):
		return "no container runs", true
	case grace <= 0:
		return "it has no grace period", true
	}
	p.ending = true
	if p.mem.StopAsked.IsZero() {
		p.mem.StopAsked = p.now
	}
	deadline := p.mem.StopAsked.Add(grace)
	asking, over := p.askAll(why, class, deadline)
	if over {
		return fmt.Sprintf("the grace period of %s is over", grace), true
	}
	if p.now.Before(deadline) {
		p.lookAt(deadline)
	}
	if p.serve() {
		return "", false
	}
	if p.world != up {
		// A frozen container can neither see a signal nor be taken down
		// without its sandbox hanging.
		p.act(Action{Verb: Resume, Reason: why + "; its containers are thawed so that they can end", Class: class})
		return "", false
	}
	for _, s := range asking {
		p.apply(s)
	}
	return "", false
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
