package reconcile

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
	for dc, hash := range p.d.all() {
		p.rememberContainer(dc, hash)
	}
	p.rememberInitDone()
	if p.running() && slices.ContainsFunc(p.o.Containers, func(c observed.Container) bool { return live(&c) }) {
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
	anew := !wantsRun(p.want) || !p.suspended() &&
		(p.outdated() || another && (!p.running() && p.world != silent || p.finished()))
	if !anew && !changed {
		return
	}
	for dc := range p.d.all() {
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
	switch {
	case p.suspended():
		// It is as it was when the checkpoint was made.
	case c == nil:
		cm = p.missed(dc, cm)
	case c.ID != "" && (live(c) || ended(c)):
		if cm.Live != c.ID || !cm.LiveAt.Equal(c.StartedAt) {
			cm = newInstance(cm, c, hash)
			if p.running() && !c.StartedAt.IsZero() {
				p.mem.RanIn = p.o.Record.Sentry // it may have ended by now
			}
			cm.MemoryLimit = memoryLimit(dc)
		}
		if live(c) {
			cm = p.rememberLimit(cm, c, memoryLimit(dc))
		}
		if cm.Seen != c.ID && (c.Exit != nil || ended(c) && p.settled()) {
			cm = p.ended(dc, cm, c.Exit, c.StartedAt, c.Hash != hash)
		}
		if cm.StopID == c.ID && cm.StopReason == "" && c.Hash == hash && !p.now.Before(cm.StopAsked.Add(p.grace())) &&
			wantsRun(p.want) && !p.outdated() && !p.predates(c.StartedAt, cm.RestartAsked) {
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
	if torn && cm.Live == "" && wantsRun(p.want) {
		cm.Live = unknownInstance
	}
	if cm.Live == "" || cm.Live == cm.Seen {
		return cm
	}
	exit := &observed.Exit{At: p.now, Reason: sandboxLost, Message: "its record is gone"}
	if torn {
		exit.Reason, exit.Message = "Error", why
	}
	if torn && p.o.Record != nil && !restarts(dc.RestartPolicy, exit) {
		p.damaged(fmt.Sprintf("the record containers/%s.json and its copy could not be used (%s): nobody knows how container %q has ended, and its restart policy does not have it run again",
			dc.Name, why, dc.Name))
	}
	return p.ended(dc, cm, exit, time.Time{}, false)
}

// ended counts the end of the instance cm.Live. An end that was asked for, or
// that of an instance that is declared otherwise now, owes no back-off.
func (p *planner) ended(dc *desired.Container, cm ContainerMemory, exit *observed.Exit, startedAt time.Time, outdated bool) ContainerMemory {
	e := observed.Exit{At: p.now, Reason: sandboxLost}
	if exit != nil {
		e = *exit
	}
	if e.At.IsZero() || e.At.After(p.now) {
		e.At = p.now // an unknown instant, or the clock was set back
	}
	asked := cm.StopID == cm.Live && cm.StopReason == ""
	if cm.StopID == cm.Live && cm.StopReason != "" &&
		(!e.Known || e.Code == 137 && e.Reason != "OOMKilled" || cm.StopReason == unhealthy) {
		// Otherwise it had ended by itself when its gofer, which goes with
		// it, was missed.
		e.Reason = cm.StopReason
		if cm.StopMessage != "" {
			e.Message = cm.StopMessage
		}
	}
	if p.killedByKernel(cm, e) {
		e.Reason, e.Message = oomKilled, p.killer()
	}
	if e.Reason == oomKilled {
		p.notice(dc.Name, oomKilled, "%s", e.Message)
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
	if delay := restartDelay(b, p.in.Name, dc.Name, cm.Attempts); delay > 0 && restarts(dc.RestartPolicy, &e) {
		cm.NextStart = e.At.Add(delay)
	}
	return cm
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

// noteSilence dates the sentry's silence and says so while it lasts.
func (p *planner) noteSilence() {
	if p.world != silent {
		p.mem.UnresponsiveSince = time.Time{}
		return
	}
	if p.mem.UnresponsiveSince.IsZero() {
		p.mem.UnresponsiveSince = p.now
	}
	p.condition(RuntimeUnreachable, "SentrySilent", "the sandbox's sentry lives and does not answer")
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
