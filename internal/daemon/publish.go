package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/events"
	"sandboxer/internal/status"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

// passes holds the latest pass over each sandbox.
type passes struct {
	mu sync.Mutex
	m  map[string]reconcile.Pass
}

func (p *passes) get(name string) (reconcile.Pass, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass, ok := p.m[name]
	return pass, ok
}

// all are the latest passes, by name.
func (p *passes) all() map[string]reconcile.Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.m)
}

func (p *passes) set(pass reconcile.Pass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[string]reconcile.Pass{}
	}
	p.m[pass.Name] = pass
}

func (p *passes) delete(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, name)
}

// passed publishes what a pass of the loop found, and has memory watched for
// the next one.
func (d *daemon) passed(p reconcile.Pass) {
	d.publishNext(p)
	d.prober.Set(p.Name, targets(p))
	for _, n := range p.Notices {
		if n.Reason == plan.RecordDamaged {
			d.damaged(p.Name, n.Message)
			continue
		}
		d.events.Append(events.Event{Sandbox: p.Name, Container: n.Container, Type: events.Warning, Reason: n.Reason, Message: n.Message})
	}
	if !p.Blind && p.Observed.Record != nil {
		d.actuator.WatchMemory(*p.Observed.Record, p.MemoryMark)
	}
	if !d.startup.done() && d.current(p) {
		d.startup.seen(p.Name)
	}
}

// current reports whether a pass has met what is declared now, and not what
// was known before the manifests had been read.
func (d *daemon) current(p reconcile.Pass) bool {
	declared, held := d.source.Declared(p.Name)
	return (declared == nil) == (p.Declared == nil) && held == p.Held
}

// publishNext publishes a new pass over a sandbox.
func (d *daemon) publishNext(p reconcile.Pass) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.passes.set(p)
	d.publish(p)
}

// publishAgain publishes the latest pass over a sandbox, if there is one, with
// what is said about its declaration by now.
func (d *daemon) publishAgain(name string) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if p, ok := d.passes.get(name); ok {
		d.publish(p)
	}
}

// publish needs d.publishing.
func (d *daemon) publish(p reconcile.Pass) {
	in := status.Input{Pass: p, Now: time.Now()}
	if set := d.directory.Set(); set != nil {
		in.Problems = set.ProblemsOf(p.Name)
		if in.Held = set.Held[p.Name]; in.Held == "" && p.Declared == nil {
			in.Held = set.Hold(p.Name)
		}
	}
	in.OutputLost = outputLost(d.logs.Losing(p.Name))
	in.Before, _ = d.board.Get(p.Name)
	s, visible := status.Of(in)
	if visible {
		d.board.Set(s)
		if d.troubles.tell(s, p.Memory) {
			d.warn("a sandbox does not come up", "sandbox", p.Name, "reason", s.Status.Reason, "message", s.Status.Message)
		}
	} else {
		d.passes.delete(p.Name)
		d.board.Delete(p.Name)
		delete(d.troubles, p.Name)
	}
	if dependencyOf(in.Before) != dependencyOf(s) {
		d.pokeDependents(p.Name)
	}
}

// declarationsChanged has the loop look at the sandboxes whose declaration,
// or what is said about it, has changed, and publishes what was rejected. It
// is called by one goroutine.
func (d *daemon) declarationsChanged(names []string) {
	set := d.directory.Set()
	accepted := func(name string) bool { return set.Sandboxes[name] != nil }
	before := d.told
	if before == nil {
		before = &desired.Set{}
	}
	rejected := func(name string) bool { return len(set.ProblemsOf(name)) > 0 || len(before.ProblemsOf(name)) > 0 }
	if d.told == nil || slices.ContainsFunc(names, rejected) || !slices.Equal(set.Problems, before.Problems) {
		d.board.SetRejected(status.Rejected(set.Problems, accepted, d.board.Rejected(), time.Now()))
	}
	if d.told == nil {
		there, err := d.Names(context.Background())
		if err != nil {
			d.c.Log.Error(err, "listing what runs")
		}
		there = append(there, d.source.Names()...)
		d.startup.read(there)
		// What has been looked at, and removed, since it was listed must be
		// looked at once more: the loop knows nothing of it any more.
		for _, name := range there {
			d.loop.Poke(name)
		}
	}
	if d.told == nil || set.Blocked != before.Blocked {
		// What nobody declares was held, or is to be from now on.
		d.loop.PokeAll()
	}
	for _, name := range names {
		was := before.Sandboxes[name]
		if d.told == nil {
			was = d.directory.Stored(name)
		}
		d.tellChanged(was, set.Sandboxes[name])
	}
	d.told = set
	d.tellNew(before, set)
	for _, name := range names {
		d.publishAgain(name)
		// Of what is neither declared nor there, a document that is rejected
		// leaves nothing to look at.
		if accepted(name) || d.loop.Knows(name) {
			d.loop.Poke(name)
		}
	}
	d.pokeDependents(names...)
}

// mostTold bounds the events of one scan: those of others are not to be crowded
// out by a folder full of rejected documents.
const mostTold = 500

// tellNew makes events of the problems and held removals of now that before did
// not have.
func (d *daemon) tellNew(before, now *desired.Set) {
	d.warnHeld(before.Held, now.Held, before.Blocked, now.Blocked)
	for _, name := range slices.Sorted(maps.Keys(now.Held)) {
		if why := now.Held[name]; before.Held[name] != why {
			d.events.Append(events.Event{Sandbox: name, Type: events.Warning, Reason: "DeletionHeld", Message: why})
		}
	}
	problems := before.Missing(now.Problems)
	for _, p := range problems[:min(len(problems), mostTold)] {
		d.warn("a manifest was rejected", "problem", p.String())
		d.events.Append(events.Event{Sandbox: p.Name, Type: events.Warning, Reason: "ManifestRejected", Message: p.String()})
	}
	if more := len(problems) - mostTold; more > 0 {
		d.warn("and more were", "problems", more)
		d.events.Append(events.Event{Type: events.Warning, Reason: "ManifestRejected",
			Message: fmt.Sprintf("and %d more at once (sandboxer get lists all)", more)})
	}
}

// tellChanged makes events of what is declared otherwise in is than in was. Either
// may be nil.
func (d *daemon) tellChanged(was, is *desired.Sandbox) {
	if was == nil || is == nil || was == is {
		return
	}
	for _, c := range desired.Changes(was, is) {
		values, more := c.Values(was, is), ""
		if n := len(values) - mostValues; n > 0 {
			values, more = values[:mostValues], fmt.Sprintf("; and %d more", n)
		}
		d.events.Append(events.Event{Sandbox: is.Name, Container: c.Container, Type: events.Normal, Reason: "Changed", Revision: is.Hash(),
			Message: fmt.Sprintf("revision %s after %s (%s): %s%s", is.Hash(), was.Hash(), c.Class, strings.Join(values, "; "), more)})
	}
}

// mostValues is how many changed values an event tells.
const mostValues = 6

// damaged tells of what is kept of a sandbox and was damaged.
func (d *daemon) damaged(name, damage string) {
	d.warn("kept data was damaged", "sandbox", name, "reason", damage)
	d.events.Append(events.Event{Sandbox: name, Type: events.Warning, Reason: plan.RecordDamaged, Message: damage})
}

// verbDone names, for events, what an action has done.
//
//exhaustive:enforce
var verbDone = map[plan.Verb]string{
	plan.Create: "Created", plan.Start: "Started", plan.PreStop: "PreStop", plan.Signal: "Signalled",
	plan.ReplaceGofer: "GoferReplaced", plan.Keep: "GoferKept", plan.Kill: "Killed", plan.Remove: "Removed", plan.Release: "Released", plan.Pause: "Paused",
	plan.Resume: "Resumed", plan.Suspend: "Suspended", plan.Restore: "Restored", plan.Discard: "CheckpointDiscarded",
	plan.Mend: "RecordsMended",
	plan.Stop: "Stopped", plan.Destroy: "Destroyed",
	plan.SetOOMScore: "OOMScoreSet", plan.SetLimits: "LimitsSet", plan.ReopenUserLog: "UserLogReopened",
}

// acted makes an event of an action.
func (d *daemon) acted(a plan.Action, err error, took time.Duration) {
	e := events.Event{
		Sandbox: a.Sandbox, Container: a.Container, Type: events.Normal,
		Reason: verbDone[a.Verb], Action: string(a.Verb), Message: a.Reason, Took: took,
	}
	if a.OfVolumes() {
		e.Container = ""
	}
	if err != nil {
		e.Type, e.Reason = events.Warning, "ActionFailed"
		e.Message = fmt.Sprintf("%s: %v", a.Reason, err)
	}
	d.events.Append(e)
	d.c.Log.V(1).Info("acted", "sandbox", a.Sandbox, "container", a.Container, "action", a.Verb, "reason", a.Reason, "took", took, "error", err)
}

// containerEnded makes an event of a container's end.
func (d *daemon) containerEnded(rec observed.ContainerRecord) {
	e := events.Event{
		Sandbox: rec.Sandbox, Container: rec.Name, Type: events.Normal, Reason: "Ended",
		Message: fmt.Sprintf("container %q ended with exit code %d", rec.Name, rec.Exit.Code),
	}
	if rec.Exit.Signal != 0 {
		e.Message = fmt.Sprintf("container %q was ended by %s", rec.Name, desired.SignalName(rec.Exit.Signal))
	}
	switch {
	case rec.Exit.Reason == observed.ReasonKilled:
		e.Message += ", " + observed.AsUserAsked
	case d.askedToEnd(rec):
		e.Message += ", " + observed.AsAsked
	case rec.Exit.Code != 0:
		e.Type = events.Warning
	}
	d.events.Append(e)
}

// askedToEnd reports whether an instance had been asked to end, perhaps by an
// earlier daemon.
func (d *daemon) askedToEnd(rec observed.ContainerRecord) bool {
	if pass, ok := d.passes.get(rec.Sandbox); ok {
		return pass.Memory.Containers[rec.Name].AskedToEnd(rec.ID)
	}
	m, err := d.memories.Load(rec.Sandbox)
	return err == nil && m.Containers[rec.Name].AskedToEnd(rec.ID)
}
