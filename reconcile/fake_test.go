package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

var errFake = errors.New("fake failure")

// fakeWorld is a host in memory: it is looked at and acted upon as the real
// one is, and it notes whatever must never be asked of it.
type fakeWorld struct {
	now func() time.Time
	// fails is asked at each point at which an action can fail; nil: never.
	fails func() bool
	// blind has every look fail.
	blind bool
	// deny has every OOM score below 0 refused: such processes get 0.
	deny bool
	// stubborn containers ignore their stop signal.
	stubborn map[string]bool
	// uncheckpointable has every checkpoint fail.
	uncheckpointable bool
	// changed is called, unlocked, after something changed by itself.
	changed func(name string)

	mu         sync.Mutex
	boxes      map[string]*fakeBox
	images     map[string]*fakeImage
	pid        int
	started    map[string]bool // containers that ever were
	violations []string
}

type fakeBox struct {
	rec        *observed.Record
	broken     string
	sentry     bool // alive
	silent     bool
	cgroup     bool
	score      int
	containers map[string]*fakeContainer
	torn       map[string]string
	// begun: something was started in the sentry. succeeded are the containers that
	// have ended well in it, excused those of which that may have been forgotten.
	begun              bool
	succeeded, excused map[string]bool
	// restored says that the sentry has taken up all of a checkpoint.
	restored bool
}

type fakeContainer struct {
	rec   observed.ContainerRecord
	alive bool
	gofer bool
	// keeper lives; sockets says that another gofer can take over.
	keeper, sockets bool
	score           int
	used            int64 // bytes of memory
	preStop         observed.PreStop
	// sentry is the one in which it was started.
	sentry observed.Process
}

func newFakeWorld(now func() time.Time) *fakeWorld {
	return &fakeWorld{now: now, boxes: make(map[string]*fakeBox), images: make(map[string]*fakeImage), stubborn: make(map[string]bool), started: make(map[string]bool), changed: func(string) {}}
}

func (w *fakeWorld) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
}

func (w *fakeWorld) failing() bool { return w.fails != nil && w.fails() }

// Names makes it a Lister.
func (w *fakeWorld) Names(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := slices.AppendSeq(slices.Collect(maps.Keys(w.boxes)), maps.Keys(w.images))
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Look makes it a Looker.
func (w *fakeWorld) Look(_ context.Context, name string) (observed.Sandbox, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := observed.Sandbox{Name: name}
	if w.blind {
		return o, errFake
	}
	if image := w.images[name]; image != nil {
		o.Image = &image.Image
	}
	b := w.boxes[name]
	if b == nil {
		return o, nil
	}
	if b.rec != nil {
		o.Record = new(*b.rec)
		o.Sentry = observed.Gone
	}
	o.Broken, o.CgroupExists = b.broken, b.cgroup
	if b.sentry {
		o.CgroupProcs = 1
		if b.rec != nil {
			o.Sentry, o.Unresponsive = observed.Alive, b.silent
			o.Scores = []observed.Score{{PID: b.rec.Sentry.PID, Value: b.score}}
		}
	}
	if len(b.torn) > 0 {
		o.BrokenContainers = maps.Clone(b.torn)
	}
	frozen := b.rec != nil && b.rec.State == observed.SandboxPaused
	for _, name := range slices.Sorted(maps.Keys(b.containers)) {
		if b.torn[name] != "" {
			continue
		}
		c := b.containers[name]
		oc := observed.Container{ContainerRecord: c.rec, State: c.rec.State, GoferRun: observed.Gone, PreStop: c.preStop}
		if c.gofer {
			oc.GoferRun = observed.Alive
			if b.sentry && b.rec != nil {
				o.Scores = append(o.Scores, observed.Score{PID: c.rec.Gofer.PID, Container: name, Value: c.score})
			}
		}
		if c.alive {
			oc.KeeperRun = observed.Gone
		}
		if c.keeper {
			oc.KeeperRun = observed.Alive
		}
		if b.sentry && c.alive {
			o.Memory.UsageBytes += c.used
			if o.Memory.Containers == nil {
				o.Memory.Containers = make(map[string]int64)
			}
			o.Memory.Containers[c.rec.ID] = c.used
		}
		switch {
		case !b.sentry:
			oc.State = observed.Stopped
		case frozen && c.rec.State != observed.Creating:
			oc.State = observed.Paused
		}
		o.Containers = append(o.Containers, oc)
	}
	return o, nil
}

// Do makes it an Actor.
func (w *fakeWorld) Do(_ context.Context, a plan.Action, d *plan.Declared) error {
	ends := false
	defer func() {
		if ends { // which is told of
			w.changed(a.Sandbox)
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	ends = a.Verb == plan.Signal && !w.stubborn[a.Container]
	if w.failing() {
		return errFake // before anything was done
	}
	b := w.boxes[a.Sandbox]
	if b == nil {
		b = &fakeBox{containers: make(map[string]*fakeContainer), torn: make(map[string]string), succeeded: make(map[string]bool), excused: make(map[string]bool)}
		w.boxes[a.Sandbox] = b
	}
	if b.sentry && b.rec != nil && a.Sentry != b.rec.Sentry {
		return plan.ErrChanged
	}
	if c := b.containers[a.Container]; a.Container != "" && c != nil && b.torn[a.Container] == "" && a.ContainerID != c.rec.ID {
		return plan.ErrChanged
	}
	if err := w.do(b, a, d); err != nil {
		return err
	}
	if w.failing() {
		return errFake // after everything was done
	}
	return nil
}

func (w *fakeWorld) do(b *fakeBox, a plan.Action, d *plan.Declared) error {
	up := b.sentry && b.rec != nil && b.rec.State == observed.SandboxUp
	w.working(a)
	switch a.Verb {
	case plan.Suspend:
		return w.suspend(b, a, d)
	case plan.Restore:
		return w.restore(b, a, d)
	case plan.Discard:
		return w.discard(b, a, d)
	case plan.Create:
		return w.create(b, d)
	case plan.Start:
		if !up {
			w.violate("start of %s in a sandbox that is not up", a.Container)
			return errFake
		}
		return w.start(b, a, d)
	case plan.PreStop:
		c := b.containers[a.Container]
		if !up || c == nil || a.PreStop == nil || !a.Until.After(w.now()) {
			w.violate("%s is to do %v until %s", a.Container, a.PreStop, a.Until)
			return errFake
		}
		c.preStop = observed.PreStopRuns
	case plan.Signal:
		c := b.containers[a.Container]
		if !up || c == nil {
			w.violate("signal to %s that can't get it", a.Container)
			return errFake
		}
		if !w.stubborn[a.Container] {
			w.end(c, 143, "Error")
		}
	case plan.Kill:
		if c := b.containers[a.Container]; c != nil {
			w.end(c, 137, cmp.Or(a.ExitReason, "Error"))
		}
	case plan.ReplaceGofer:
		return w.replaceGofer(b, b.containers[a.Container], a)
	case plan.Keep:
		c := b.containers[a.Container]
		if !b.sentry || c == nil || !c.alive || !c.gofer || c.keeper {
			w.violate("a keeper for %s, which has or needs none", a.Container)
			return errFake
		}
		c.keeper = true
	case plan.Remove:
		if !up {
			w.violate("removal of %s from a sandbox that is not up: hangs", a.Container)
			return errFake
		}
		delete(b.containers, a.Container)
		delete(b.torn, a.Container)
	case plan.Pause, plan.Resume:
		transit, reached := observed.SandboxPausing, observed.SandboxPaused
		if a.Verb == plan.Resume {
			transit, reached = observed.SandboxResuming, observed.SandboxUp
		}
		if !b.sentry || b.rec == nil {
			w.violate("%s of a sandbox that does not run", a.Verb)
			return errFake
		}
		b.rec.State = transit
		if w.failing() {
			return errFake
		}
		b.rec.State = reached
	case plan.Mend:
		if w.failing() || b.rec == nil || b.containers[a.Container] == nil {
			return errFake
		}
		clear(b.torn)
	case plan.Stop, plan.Destroy:
		return w.stop(b, a)
	case plan.SetOOMScore:
		if w.setScores(b, a, d) {
			return &plan.ScoreDeniedError{Lowest: 0, Err: errors.New("permission denied")}
		}
	case plan.SetLimits:
		b.rec.LimitsHash = d.LimitsHash
	}
	return nil
}

func (w *fakeWorld) process() observed.Process {
	w.pid++
	return observed.Process{PID: w.pid, StartTime: uint64(w.pid)}
}

func (w *fakeWorld) create(b *fakeBox, d *plan.Declared) error {
	if b.sentry {
		w.violate("a second sentry for %s", d.Name)
	}
	b.broken, b.silent = "", false
	b.begun, b.succeeded, b.excused = false, map[string]bool{}, map[string]bool{}
	b.rec = &observed.Record{Name: d.Name, State: observed.SandboxCreating, SandboxHash: d.SandboxHash, LimitsHash: d.LimitsHash, CreatedAt: w.now()}
	b.cgroup = true
	if w.failing() {
		return errFake
	}
	b.sentry, b.score = true, 0
	b.rec.Sentry = w.process()
	if w.failing() {
		return errFake
	}
	b.rec.State = observed.SandboxUp
	return nil
}

func (w *fakeWorld) start(b *fakeBox, a plan.Action, d *plan.Declared) error {
	dc, hash := d.Container(a.Container)
	if dc == nil {
		w.violate("start of %s, which nobody declares", a.Container)
		return errFake
	}
	w.turn(b, a, d)
	delete(b.succeeded, a.Container)
	w.started[a.Container], b.begun = true, true
	c, attempt := b.containers[a.Container], 1
	if c != nil {
		attempt = c.rec.Attempt + 1
		if c.alive && c.gofer && c.rec.Hash == hash && b.torn[a.Container] == "" && !wanted(a) {
			w.violate("a live %s, as declared, is replaced", a.Container)
		}
	}
	c = &fakeContainer{rec: observed.ContainerRecord{
		Name: a.Container, Sandbox: a.Sandbox, ID: fmt.Sprintf("%s.%s.%d", a.Sandbox, a.Container, attempt), Attempt: attempt,
		Hash: hash, State: observed.Creating,
	}}
	b.containers[a.Container] = c
	delete(b.torn, a.Container)
	if w.failing() {
		return errFake // a crash: nobody recorded the failure
	}
	if w.failing() {
		c.rec.State, c.rec.Exit = observed.Stopped, &observed.Exit{Known: true, Code: 128, Reason: "StartError", At: w.now()}
		return errFake
	}
	c.rec.State, c.rec.StartedAt = observed.Running, w.now()
	c.rec.Gofer, c.rec.GoferSince = w.process(), w.now()
	c.alive, c.gofer, c.keeper, c.sockets, c.sentry = true, true, true, true, b.rec.Sentry
	return nil
}

func (w *fakeWorld) replaceGofer(b *fakeBox, c *fakeContainer, a plan.Action) error {
	switch {
	case !b.sentry || c == nil || !c.alive || c.gofer && !wanted(a):
		w.violate("replacement of the gofer of %s, which has or needs none to be replaced", a.Container)
		return errFake
	case !c.sockets:
		return plan.ErrGoferLost
	}
	c.gofer, c.rec.Gofer, c.rec.GoferSince = true, w.process(), w.now()
	c.rec.GoferRestarts++
	return nil
}

// wanted reports whether somebody wanted anew what runs as declared.
func wanted(a plan.Action) bool { return strings.Contains(a.Reason, "was asked for") }

func (w *fakeWorld) end(c *fakeContainer, code int, reason string) {
	if c.alive {
		c.alive, c.gofer, c.keeper = false, false, false
		c.rec.State, c.rec.Exit = observed.Stopped, &observed.Exit{Known: true, Code: code, Reason: reason, At: w.now()}
	}
}

func (w *fakeWorld) stop(b *fakeBox, a plan.Action) error {
	if b.rec != nil {
		b.rec.State = observed.SandboxStopping
	}
	if w.failing() {
		return errFake
	}
	b.sentry, b.silent, b.cgroup = false, false, false
	if w.images[a.Sandbox] != nil {
		// That says how to go on with them.
		clear(b.containers)
		clear(b.torn)
	}
	for _, c := range b.containers {
		known := a.ExitReason == ""
		if c.rec.Exit == nil && c.rec.State != observed.Creating {
			c.rec.Exit = &observed.Exit{Known: known, Code: 137, Reason: cmp.Or(a.ExitReason, "Error"), At: w.now()}
		}
		if c.rec.Exit != nil {
			c.rec.State = observed.Stopped
		}
		c.alive, c.gofer, c.keeper = false, false, false
	}
	if w.failing() {
		return errFake
	}
	if b.broken = ""; b.rec != nil {
		b.rec.State = observed.SandboxStopped
	}
	if a.Verb == plan.Destroy {
		delete(w.images, a.Sandbox)
		delete(w.boxes, a.Sandbox)
	}
	return nil
}

func (w *fakeWorld) setScores(b *fakeBox, a plan.Action, d *plan.Declared) (denied bool) {
	permitted := func(score int) int {
		if score < 0 && w.deny {
			score, denied = 0, true
		}
		return score
	}
	b.score = 0
	if score, set := d.Score(a.InitDone); set {
		b.score = permitted(score)
	}
	for name, c := range b.containers {
		if dc, _ := d.Container(name); dc != nil {
			c.score = 0
			if dc.OOMScoreAdj != nil {
				c.score = permitted(*dc.OOMScoreAdj)
			}
		}
	}
	return denied
}
