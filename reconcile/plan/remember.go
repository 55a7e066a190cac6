package plan

import (
	"fmt"
	"slices"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// remember brings memory up to date with what is declared and observed,
// before anything is decided. Each thing is counted once, by its identity.
func (p *planner) remember() {
	m := &p.mem
	if !equalPtr(m.GraceSeconds, p.d.Spec.TerminationGracePeriodSeconds) {
		m.GraceSeconds = p.d.Spec.TerminationGracePeriodSeconds
	}
	if p.running() {
		// It was created after all.
		m.CreateFailures, m.NextCreate, m.LastError = 0, time.Time{}, ""
	} else {
		p.forgetScoreDenied()
		m.LimitsDenied, m.LimitsDeniedFor, m.LimitsRetry = "", "", time.Time{}
	}
	if p.running() {
		p.killed()
	}
	if p.want != desired.Suspended || p.suspended() {
		m.SuspendFailures, m.NextSuspend, m.SuspendError = 0, time.Time{}, ""
	}
	p.rememberInit()
	for dc, hash := range p.d.All() {
		p.rememberContainer(dc, hash)
	}
	p.rememberInitDone()
	if p.running() && slices.ContainsFunc(p.o.Containers, func(c observed.Container) bool { return Live(&c) }) {
		m.RanIn = p.o.Record.Sentry
	}
	p.rememberSpec()
	p.forget()
}

// rememberSpec lets a changed declaration pre-empt every back-off. Where
// nothing runs, and more has changed than what is changed in place, it is the
// start of something new, so that what had ended runs again; where something
// runs, only what was itself changed does. A daemon that ends changes nothing of
// what is declared.
func (p *planner) rememberSpec() {
	if p.d.Leaving {
		return
	}
	m := &p.mem
	changed := m.SpecHash != "" && m.SpecHash != p.d.WorkHash
	another := changed && m.Identity != "" && m.Identity != p.d.Identity
	m.SpecHash, m.Identity = p.d.WorkHash, p.d.Identity
	if changed {
		m.CreateFailures, m.NextCreate, m.LastError, m.Losses = 0, time.Time{}, "", 0
		m.SuspendFailures, m.NextSuspend, m.SuspendError = 0, time.Time{}, ""
	}
	anew := !p.want.Runs() || !p.suspended() &&
		(p.outdated() && !p.kept() || another && (!p.running() && p.world != silent || p.finished()))
	if !anew && !changed {
		return
	}
	for dc := range p.d.All() {
		name := dc.Name
		cm := p.mem.Containers[name]
		was := cm
		cm.Attempts, cm.NextStart = 0, time.Time{}
		if anew && cm.Seen != "" {
			cm.Fresh = true
		}
		if cm != was {
			p.setContainer(name, cm)
		}
	}
}

// rememberContainer notes a declared container's instance, its end, and what
// is declared of it now.
func (p *planner) rememberContainer(dc *desired.Container, hash string) {
	cm := p.mem.Containers[dc.Name]
	was := cm
	c := p.find(dc.Name)
	if c == nil && p.mayMend() {
		return // it may be known soon
	}
	switch {
	case p.suspended():
		// It is as it was when the checkpoint was made.
	case c == nil:
		cm = p.missed(dc, cm)
	case c.ID != "" && (Live(c) || ended(c)):
		if cm.Live == c.ID && c.StartedAt.IsZero() {
			cm.LiveAt = c.StartedAt // its record was lost, and nobody knows any more
		}
		if cm.Live != c.ID || !cm.LiveAt.Equal(c.StartedAt) {
			cm = newInstance(cm, c, hash)
			if p.running() && !c.StartedAt.IsZero() {
				p.mem.RanIn = p.o.Record.Sentry // it may have ended by now
			}
			cm.MemoryLimit = dc.MemoryLimit()
		}
		if Live(c) {
			cm = p.rememberLimit(cm, c, dc.MemoryLimit())
		}
		if cm.Seen != c.ID && (c.Exit != nil || ended(c) && p.settled()) {
			cm = p.ended(dc, cm, c.Exit, c.StartedAt, c.Hash != hash)
		}
		if cm.StopID == c.ID && cm.StopReason == "" && c.Hash == hash && !p.now.Before(cm.StopAsked.Add(p.grace())) &&
			p.want.Runs() && !p.outdated() && !p.predates(c.StartedAt, cm.RestartAsked) {
			// It outlived a stop that was called off since.
			cm.StopID, cm.StopAsked, cm.PreStopping = "", time.Time{}, ""
		}
	}
	cm.Health = cm.Health.of(dc)
	if cm.Hash != hash {
		if cm.Hash != "" {
			cm.Attempts, cm.NextStart, cm.Fresh = 0, time.Time{}, cm.Live != ""
		}
		cm.Hash = hash
	}
	if !p.suspended() {
		cm = p.heed(c, cm)
	}
	cm.StopSignal, cm.PreStop = dc.Lifecycle.StopSignal, dc.Lifecycle.PreStop
	if cm != was {
		p.setContainer(dc.Name, cm)
	}
}

// settled reports whether an end without a record of it will get none: while
// a Stop is due, that is what writes it.
func (p *planner) settled() bool {
	return p.world == absent || p.world == stopped || p.running()
}

func newInstance(cm ContainerMemory, c *observed.Container, hash string) ContainerMemory {
	if cm.Live != "" && !cm.Fresh {
		cm.Restarts++
	}
	if cm.Seen == c.ID {
		cm.Seen = "" // an earlier instance of the same ID
	}
	cm.Live, cm.LiveAt = c.ID, c.StartedAt
	cm.StopID, cm.StopReason, cm.StopMessage, cm.StopAsked = "", "", "", time.Time{}
	cm.PreStopping, cm.SignalledAt, cm.Health = "", time.Time{}, Health{}
	cm.NextStart, cm.ClockSet = time.Time{}, 0
	if c.Hash == hash {
		cm.Fresh = false
	}
	return cm
}

// unknownInstance is the ID of one of which nothing is left but a record that
// can't be used.
const unknownInstance = "unknown"

// missed counts the end of an instance whose record is gone or torn: the host
// lost power, or somebody removed it. Whether it did its work is unknown. A torn
// record counts as one also where no instance is remembered: what may have run is
// not run a second time unless its policy says so.
func (p *planner) missed(dc *desired.Container, cm ContainerMemory) ContainerMemory {
	why, torn := p.o.BrokenContainers[dc.Name]
	if p.unexplained(dc, cm) {
		why := fmt.Sprintf("the sandbox's cgroup held %d processes that no record explains", p.o.CgroupProcs)
		p.damaged(why + ": nobody knows which containers have run, and those whose restart policy is Never are not run again")
		cm.Live = unknownInstance
		return p.ended(dc, cm, &observed.Exit{At: p.now, Reason: observed.ReasonError, Message: why}, time.Time{}, false)
	}
	if torn && cm.Live == "" && p.want.Runs() {
		cm.Live = unknownInstance
	}
	if cm.Live == "" || cm.Live == cm.Seen {
		return cm
	}
	exit := &observed.Exit{At: p.now, Reason: observed.ReasonSandboxLost, Message: "its record is gone"}
	if torn {
		exit.Reason, exit.Message = observed.ReasonError, why
	}
	if torn && p.o.Record != nil && !Restarts(dc.RestartPolicy, exit) {
		p.damaged(fmt.Sprintf("the record containers/%s.json and its copy could not be used (%s): nobody knows how container %q has ended, and its restart policy does not have it run again",
			dc.Name, why, dc.Name))
	}
	return p.ended(dc, cm, exit, time.Time{}, false)
}

// unexplained reports whether a container that is not to run twice may have run, by
// nothing but processes of its sandbox: of that neither records nor memory are left.
// What is remembered says of each container whether it ran.
func (p *planner) unexplained(dc *desired.Container, cm ContainerMemory) bool {
	return p.o.Record == nil && p.o.CgroupProcs > 0 && p.want.Runs() && p.in.Memory.IsZero() && cm.Live == "" &&
		!Restarts(dc.RestartPolicy, &observed.Exit{})
}

// ended counts the end of the instance cm.Live. An end that was asked for, or
// that of an instance that is declared otherwise now, owes no back-off.
func (p *planner) ended(dc *desired.Container, cm ContainerMemory, exit *observed.Exit, startedAt time.Time, outdated bool) ContainerMemory {
	e := observed.Exit{At: p.now, Reason: observed.ReasonSandboxLost}
	if exit != nil {
		e = *exit
	}
	if e.At.IsZero() || e.At.After(p.now) {
		e.At = p.now // an unknown instant, or the clock was set back
	}
	asked := cm.AskedToEnd(cm.Live)
	if cm.StopID == cm.Live && cm.StopReason != "" &&
		(!e.Known || e.Code == 137 && e.Reason != observed.ReasonOOMKilled || cm.StopReason == observed.ReasonUnhealthy) {
		// Otherwise it had ended by itself when its gofer, which goes with
		// it, was missed.
		e.Reason = cm.StopReason
		if cm.StopMessage != "" {
			e.Message = cm.StopMessage
		}
	}
	if p.killedByKernel(cm, e) {
		e.Reason, e.Message = observed.ReasonOOMKilled, p.killer()
	}
	if asked {
		e = AsAsked(e)
	}
	if e.Reason == observed.ReasonOOMKilled {
		p.notice(dc.Name, observed.ReasonOOMKilled, "%s", e.Message)
	}
	cm.Seen, cm.Exit, cm.StartedAt = cm.Live, &e, startedAt
	cm.StopID, cm.StopReason, cm.StopMessage, cm.StopAsked = "", "", "", time.Time{}
	cm.PreStopping, cm.SignalledAt = "", time.Time{}
	if asked || outdated {
		cm.Fresh, cm.Attempts, cm.NextStart = true, 0, time.Time{}
		return cm
	}
	b := p.d.Spec.RestartBackoff
	if ranLongEnough(b, startedAt, e.At.Add(-cm.ClockSet)) {
		cm.Attempts = 0
	}
	cm.Attempts++
	cm.Fresh = false // a change that made it so was taken back while it ran
	cm.NextStart = time.Time{}
	if delay := restartDelay(b, p.in.Name, dc.Name, cm.Attempts); delay > 0 && Restarts(dc.RestartPolicy, &e) {
		cm.NextStart = e.At.Add(delay)
	}
	return cm
}

// AskedToEnd reports whether the instance of that ID was asked to end by what is
// declared, or by a restart, and not for a fault of its own.
func (c ContainerMemory) AskedToEnd(id string) bool {
	return id != "" && c.StopID == id && c.StopReason == ""
}

// AsAsked is the end of an instance that was asked to end.
func AsAsked(e observed.Exit) observed.Exit {
	return e.Wanted(observed.ReasonStopped, observed.AsAsked)
}

// forget drops containers that are neither declared nor observed.
func (p *planner) forget() {
	if len(p.mem.Containers) <= len(p.d.Init)+len(p.d.Spec.Containers) || p.suspended() {
		return // every declared one has an entry by now
	}
	for name := range p.mem.Containers {
		dc, _ := p.d.Container(name)
		_, torn := p.o.BrokenContainers[name]
		if dc == nil && !torn && p.find(name) == nil {
			p.own()
			delete(p.mem.Containers, name)
		}
	}
}

// noteLoss counts a sentry that is gone, so that one that keeps dying is not
// made anew in a hurry: the first time at once, then with back-off.
func (p *planner) noteLoss() {
	r, m := p.o.Record, &p.mem
	if m.Losses > 0 && m.LostSentry == r.Sentry {
		return
	}
	if ranLongEnough(p.d.Spec.RestartBackoff, r.CreatedAt, p.now) {
		m.Losses = 0
	}
	m.Losses++
	m.LostSentry = r.Sentry
	m.NextCreate = time.Time{}
	if delay := restartDelay(p.d.Spec.RestartBackoff, p.in.Name, "", m.Losses); delay > 0 {
		m.NextCreate = p.now.Add(delay)
	}
}
