package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// contained is a pass that a panic costs no other sandbox anything.
func (l *Loop) contained(ctx context.Context, name string, k *key) (n next) {
	err := l.caught(func() { n = l.pass(ctx, name, k) })
	if err == nil {
		k.panics = 0
		return n
	}
	k.panics++
	l.panicked(k, err, name)
	// Whom it is told to may be who does not bear it.
	_ = l.caught(func() {
		d, held := l.cfg.Source.Declared(name)
		l.publish(k, Pass{Name: name, Declared: d, Held: held, Blind: true, LookErr: err, Memory: k.memory, Conditions: k.fault()})
	})
	return next{at: l.cfg.Now().Add(retryDelay(k.panics, ""))}
}

// caught gives what a panicked with.
func (l *Loop) caught(a func()) (err error) {
	defer Contain(&err)
	a()
	return nil
}

// panicked logs a panic with its stack and has it told of.
func (l *Loop) panicked(k *key, err error, name string) {
	var p *PanicError
	if errors.As(err, &p) && k.panicked != err.Error() {
		l.cfg.Log.Error(err, "a panic was contained", "sandbox", name, "stack", string(p.Stack))
	}
	k.panicked = err.Error()
}

// fault are the conditions that a panic leads to.
func (k *key) fault() []plan.Condition {
	if k.panicked == "" {
		return nil
	}
	return []plan.Condition{{Type: plan.InternalError, Reason: "Panic", Message: k.panicked}}
}

// pass looks at one sandbox, plans, remembers, publishes and acts.
func (l *Loop) pass(ctx context.Context, name string, k *key) next {
	d, held := l.cfg.Source.Declared(name)
	in := plan.Input{Name: name, Desired: d, Held: held, Dependencies: plan.Dependencies(d, l.declared, l.cfg.Dependency), GVisor: l.cfg.GVisor}

	err := l.load(name, k)
	if err == nil {
		l.answer(k)
		l.enter(k, Looking)
		lookCtx, cancel := context.WithTimeout(ctx, l.cfg.LookTimeout)
		began := time.Now()
		in.Observed, err = l.cfg.Looker.Look(lookCtx, name)
		cancel()
		l.noteLook(k, time.Since(began))
	}
	if ctx.Err() != nil {
		return next{} // the look may have failed for that alone
	}
	if in.Blind = err != nil; in.Blind {
		in.Observed.Name = name
	}
	l.trouble(&k.troubles.look, err, name, "looking at the sandbox")
	l.enter(k, Deciding)
	now := l.tell(k) // after the look: what it shows has happened
	in.Now, in.Memory = now, k.memory
	if names := plan.Successors(&in); len(names) > 0 && l.cfg.Unfit != nil {
		in.Blocked = l.cfg.Unfit(d, names)
	}

	r := plan.Decide(in)
	p := Pass{
		Name: name, Declared: d, Held: held, Observed: in.Observed, Blind: in.Blind, LookErr: err,
		Memory: r.Memory, Conditions: append(r.Conditions, k.fault()...), Pending: r.Actions, Again: r.Again,
	}
	plan.SortConditions(p.Conditions)
	if !k.looked && (d != nil || !held) {
		// Nothing is done before all that wait have been seen. What was planned
		// is not remembered: it would count as begun.
		k.looked = true
		l.publish(k, p)
		return next{now: true}
	}
	k.memory = r.Memory
	if hash := specHash(d); hash != k.specHash {
		k.specHash = hash
		clear(k.retries) // what is declared now was never tried
	}
	if !in.Blind {
		k.retries.prune(r.Actions)
	}
	due, again := k.due(r, now)
	if !forGood(due) {
		l.enter(k, Storing)
		l.remember(name, k, d != nil || held)
	}
	if k.memory.Equal(k.saved) {
		for _, stored := range k.answered {
			close(stored)
		}
		k.answered = nil
	}
	p.Again, p.MemoryMark, p.Notices = again, r.MemoryMark, r.Notices
	l.publish(k, p)
	if len(due) > 0 {
		var forgetting sync.WaitGroup
		var panicked error
		if forGood(due) && !slices.ContainsFunc(in.Observed.Containers, func(c observed.Container) bool { return plan.Live(&c) }) {
			forgetting.Go(func() { panicked = l.caught(func() { l.forget(name, k) }) })
		}
		l.enter(k, Acting)
		l.act(ctx, k, due, d)
		if forgetting.Wait(); panicked != nil {
			l.panicked(k, panicked, name)
		}
		if onlyAsked(k.retries, due) {
			return next{soon: true}
		}
		return next{now: true}
	}
	k.panicked = ""
	done := !in.Blind && !held && d == nil && plan.Nothing(&in.Observed) && k.saved.IsZero()
	if !done && !k.memory.Equal(k.saved) {
		again = earliest(again, now.Add(retryMax)) // the store was full
	}
	return next{at: again, done: done}
}

// tell gives the time, and moves what waits by what the clock was set since it
// was told last. It is wall time without Go's monotonic reading, so that what is
// remembered means the same before and after it was stored.
func (l *Loop) tell(k *key) time.Time {
	clock := plan.Clock{Wall: l.cfg.Now().UTC().Round(0)}
	clock.Awake, clock.Boot = l.cfg.Awake()
	if by := clock.SetSince(k.memory.Clock); by != 0 {
		k.memory = k.memory.Moved(by)
		k.retries.move(by)
	}
	k.memory.Clock = clock
	return clock.Wall
}

func (l *Loop) declared(name string) bool {
	d, _ := l.cfg.Source.Declared(name)
	return d != nil
}

func specHash(d *plan.Declared) string {
	if d == nil {
		return ""
	}
	return d.SpecHash
}

// forGood reports whether what is to be done next ends a sandbox with all that is
// remembered of it. So that is not stored before, unlike before all else: who is
// killed meanwhile leaves a sandbox that is declared no more, of which no more is
// to be known.
func forGood(due []plan.Action) bool { return len(due) > 0 && due[0].Verb == plan.Destroy }

// onlyAsked reports whether nothing was done but to ask containers to end: what has
// become of that shows when they have, which wakes the loop.
func onlyAsked(r retries, done []plan.Action) bool {
	for _, a := range done {
		if a.Verb != plan.Signal || r[target{a.Verb, a.Container}].failed {
			return false
		}
	}
	return true
}

// due splits off the actions that may be carried out now; again is when to
// look for the others and for what the plan waits for.
func (k *key) due(r plan.Result, now time.Time) (due []plan.Action, again time.Time) {
	again = r.Again
	for _, a := range r.Actions {
		if at, ok := k.retries.due(a, now); ok {
			due = append(due, a)
		} else {
			again = earliest(again, at)
		}
	}
	return due, again
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// act carries out actions that are free of each other side by side. Each gets
// its full time even if ctx ends: half of a creation is worse than either.
func (l *Loop) act(ctx context.Context, k *key, actions []plan.Action, d *plan.Declared) {
	errs := make([]error, len(actions))
	do := func(i int) {
		timeout := l.cfg.ActionTimeout
		if v := actions[i].Verb; v == plan.Suspend || v == plan.Restore {
			timeout = l.cfg.ImageTimeout
		}
		actCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		began := l.cfg.Now()
		l.begins(k, actions[i], began)
		defer l.ends(k, actions[i])
		if panicked := l.caught(func() { errs[i] = l.cfg.Actor.Do(actCtx, actions[i], d) }); panicked != nil {
			errs[i] = panicked
		}
		l.cfg.OnAction(actions[i], errs[i], l.cfg.Now().Sub(began))
	}
	var wg sync.WaitGroup
	for i := range actions[1:] {
		wg.Go(func() { do(i + 1) })
	}
	do(0)
	wg.Wait()

	now := l.tell(k)
	for i, a := range actions {
		k.retries.note(a, errs[i], now)
		if p := (*PanicError)(nil); errors.As(errs[i], &p) {
			l.panicked(k, errs[i], a.Sandbox)
		}
		if errs[i] != nil {
			k.memory = k.memory.Failed(a, d, errs[i], now)
		} else {
			k.memory = k.memory.Done(a, d)
		}
	}
}

// load reads what is remembered of a sandbox when it is first worked on.
func (l *Loop) load(name string, k *key) error {
	if k.loaded {
		return nil
	}
	m, err := l.cfg.Store.Load(name)
	if err != nil {
		return fmt.Errorf("reading what is remembered: %w", err)
	}
	k.memory, k.saved, k.loaded, k.durably = m, m, true, true
	return nil
}

// remember stores the memory if it has changed; durably if the sandbox is to
// be, since what is remembered of another one has no use when nothing of it runs
// any more. A store that fails does not stop the work: what is remembered lives on
// here and is stored later.
func (l *Loop) remember(name string, k *key, durably bool) {
	if l.isMissing(k) {
		k.saved = plan.Memory{}
	}
	if !k.loaded || k.memory.Equal(k.saved) && (k.durably || !durably) {
		return
	}
	var err error
	if k.memory.IsZero() {
		err = l.cfg.Store.Delete(name)
	} else {
		err = l.cfg.Store.Save(name, k.memory, durably)
	}
	if err == nil {
		k.saved, k.durably = k.memory, durably
	}
	l.trouble(&k.troubles.store, err, name, "storing what is remembered")
}

// forget deletes what is stored of a sandbox beside its last step, where nothing runs
// in it any more: whoever comes after a crash takes that step again without. If it
// fails, what lives on here is stored again, or deleted by the next pass.
func (l *Loop) forget(name string, k *key) {
	if l.cfg.Store.Delete(name) == nil {
		k.saved = plan.Memory{}
	}
}

// troubles are the errors that were logged last, so that each is logged once.
type troubles struct{ look, store string }

func (l *Loop) trouble(last *string, err error, name, doing string) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != *last && err != nil {
		l.cfg.Log.Error(err, doing, "sandbox", name)
	}
	*last = text
}
