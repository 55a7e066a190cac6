package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"sandboxer/reconcile/plan"
)

// State is how the loop stands, for who looks for a fault.
type State struct {
	Workers int
	// Working are the passes under way that have a worker's place, Passing all.
	Working, Passing int
	Queue            []string // who waits for a place, in order
	Keys             []KeyState
}

// Phase is what a worker does to a sandbox. The zero Phase is nothing.
type Phase string

// The phases of a pass, and what comes between passes.
const (
	Beginning  Phase = "beginning" // reads what is remembered
	Looking    Phase = "looking"
	Deciding   Phase = "deciding"
	Storing    Phase = "storing" // what is remembered
	Publishing Phase = "publishing"
	Acting     Phase = "acting"
	Exclusive  Phase = "exclusive" // somebody else has the sandbox, see Loop.Exclusively
)

// KeyState is the work on one sandbox.
type KeyState struct {
	Name string
	// Phase is what is done now, and Since when it was begun; Actions are those
	// under way.
	Phase   Phase
	Since   time.Time
	Actions []ActionState
	// Queued: it waits for a place. Again: it was poked while it was worked on.
	Queued, Again bool
	// Next is when it is worked on without a poke; zero: at the resync.
	Next time.Time
	// Last is when the latest pass began, and Took how long the latest that is
	// over did, Look its look alone.
	Last       time.Time
	Took, Look time.Duration
	Passes     uint64
	// Retries are the actions that failed or changed nothing, as of the end of
	// the latest pass.
	Retries []Retry
}

// ActionState is an action that is carried out.
type ActionState struct {
	Verb      plan.Verb
	Container string
	Since     time.Time
}

// Retry is an action that is repeated.
type Retry struct {
	Verb      plan.Verb
	Container string
	Failed    bool // else it changed nothing
	Attempts  int  // in vain, in a row
	Next      time.Time
}

// progress is what a State tells of a key. It is guarded by Loop.mu.
type progress struct {
	phase      Phase
	since      time.Time
	actions    []ActionState
	next       time.Time
	last       time.Time
	took, look time.Duration
	passes     uint64
	retries    []Retry
}

// State says how the loop stands at this moment.
func (l *Loop) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Workers: l.cfg.Workers, Working: l.working, Passing: l.passing, Queue: slices.Clone(l.queue)}
	for _, name := range slices.Sorted(maps.Keys(l.keys)) {
		k := l.keys[name]
		w := k.work
		s.Keys = append(s.Keys, KeyState{
			Name: name, Phase: w.phase, Since: w.since, Actions: slices.Clone(w.actions), Queued: k.queued, Again: k.again,
			Next: w.next, Last: w.last, Took: w.took, Look: w.look, Passes: w.passes, Retries: w.retries,
		})
	}
	return s
}

// Unfinished names the sandboxes that are being worked on, each with what is done.
func (l *Loop) Unfinished() (list []string) {
	for _, k := range l.State().Keys {
		if k.Phase == "" {
			continue
		}
		var actions []string
		for _, a := range k.Actions {
			actions = append(actions, strings.TrimSpace(string(a.Verb)+" "+a.Container))
		}
		list = append(list, k.Name+": "+cmp.Or(strings.Join(actions, ", "), string(k.Phase)))
	}
	return list
}

// enter notes what the worker of a key does from now on.
func (l *Loop) enter(k *key, p Phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.work.phase, k.work.since = p, l.cfg.Now()
}

// noteLook notes how long a look took.
func (l *Loop) noteLook(k *key, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.work.look = took
}

// begins notes that an action is under way, until ends.
func (l *Loop) begins(k *key, a plan.Action, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.work.actions = append(k.work.actions, ActionState{a.Verb, a.Container, now})
}

// ends notes that an action is over.
func (l *Loop) ends(k *key, a plan.Action) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range k.work.actions {
		if s.Verb == a.Verb && s.Container == a.Container {
			k.work.actions = slices.Delete(k.work.actions, i, i+1)
			return
		}
	}
}

// list are the actions that wait, sorted.
func (r retries) list() (list []Retry) {
	for k, t := range r {
		if t.fruitless > 0 {
			list = append(list, Retry{k.verb, k.container, t.failed, t.fruitless, t.next})
		}
	}
	slices.SortFunc(list, func(a, b Retry) int {
		return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Container, b.Container))
	})
	return list
}
