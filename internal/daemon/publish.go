package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/events"
	"sandboxer/internal/status"
	"sandboxer/observed"
	"sandboxer/reconcile"
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
	d.passes.set(p)
	d.publish(p)
	d.prober.Set(p.Name, targets(p))
	for _, n := range p.Notices {
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

func (d *daemon) publish(p reconcile.Pass) {
	in := status.Input{Pass: p, Now: time.Now()}
	if set := d.directory.Set(); set != nil {
		in.Problems = status.ProblemsOf(set.Problems, p.Name)
		if in.Held = set.Held[p.Name]; in.Held == "" && p.Declared == nil {
			in.Held = set.Hold(p.Name)
		}
	}
	in.OutputLost = outputLost(d.logs.Losing(p.Name))
	in.Before, _ = d.board.Get(p.Name)
	s, visible := status.Of(in)
	if visible {
		d.board.Set(s)
	} else {
		d.passes.delete(p.Name)
		d.board.Delete(p.Name)
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
	d.board.SetRejected(status.Rejected(set.Problems, accepted, d.board.Rejected(), time.Now()))
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
	if d.told == nil || set.Blocked != d.blocked {
		// What nobody declares was held, or is to be from now on.
		d.loop.PokeAll()
	}
	d.blocked = set.Blocked
	d.told = d.tellNew(set, d.told)
	for _, name := range names {
		if p, ok := d.passes.get(name); ok {
			d.publish(p)
		}
		d.loop.Poke(name)
		d.pokeDependents(name)
	}
}

// tellNew makes events of the problems and held removals of set that are not
// in told, and returns all of them.
func (d *daemon) tellNew(set *desired.Set, told map[events.Event]bool) map[events.Event]bool {
	now := map[events.Event]bool{}
	for _, p := range set.Problems {
		now[events.Event{Sandbox: p.Name, Type: events.Warning, Reason: "ManifestRejected", Message: p.String()}] = true
	}
	for name, why := range set.Held {
		now[events.Event{Sandbox: name, Type: events.Warning, Reason: "DeletionHeld", Message: why}] = true
	}
	for e := range now {
		if !told[e] {
			d.events.Append(e)
		}
	}
	return now
}

// verbDone names, for events, what an action has done.
var verbDone = map[reconcile.Verb]string{
	reconcile.Create: "Created", reconcile.Start: "Started", reconcile.PreStop: "PreStop", reconcile.Signal: "Signalled",
	reconcile.ReplaceGofer: "GoferReplaced", reconcile.Keep: "GoferKept", reconcile.Kill: "Killed", reconcile.Remove: "Removed", reconcile.Release: "Released", reconcile.Pause: "Paused",
	reconcile.Resume: "Resumed", reconcile.Suspend: "Suspended", reconcile.Restore: "Restored", reconcile.Discard: "CheckpointDiscarded",
	reconcile.Stop: "Stopped", reconcile.Destroy: "Destroyed",
	reconcile.SetOOMScore: "OOMScoreSet", reconcile.SetLimits: "LimitsSet",
}

// acted makes an event of an action.
func (d *daemon) acted(a reconcile.Action, err error, took time.Duration) {
	e := events.Event{
		Sandbox: a.Sandbox, Container: a.Container, Type: events.Normal,
		Reason: verbDone[a.Verb], Action: string(a.Verb), Message: a.Reason, Took: took,
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
		e.Message = fmt.Sprintf("container %q was %s", rec.Name, rec.Exit.Message)
	}
	if rec.Exit.Code != 0 {
		e.Type = events.Warning
	}
	d.events.Append(e)
}
