package reconcile

import (
	"time"

	"sandboxer/reconcile/plan"
)

// The waits before an action that failed, or changed nothing, is repeated.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 30 * time.Second
	// A container waits for its gofer.
	retryMaxGofer = 5 * time.Second
)

// target is what a retry belongs to: a new instance of the same container
// does not make a failing action more promising.
type target struct {
	verb      plan.Verb
	container string
}

// attempt is the last time that an action was carried out.
type attempt struct {
	action plan.Action // without its reason
	failed bool
	// fruitless counts attempts in a row that failed, or after which the same
	// action was planned again.
	fruitless int
	next      time.Time
}

// retries keeps a loop from running hot: an action that failed is repeated
// with back-off, and so is one that succeeded and left the world as it was.
// It belongs to one key and is used by one worker at a time.
type retries map[target]attempt

// due reports whether a may be carried out now, and else when.
func (r retries) due(a plan.Action, now time.Time) (at time.Time, ok bool) {
	t := r[target{a.Verb, a.Container}]
	if !t.repeats(a) || !now.Before(t.next) {
		return time.Time{}, true
	}
	return t.next, false
}

// note records one attempt and its outcome.
func (r retries) note(a plan.Action, err error, now time.Time) {
	k := target{a.Verb, a.Container}
	last, known := r[k]
	n := 0
	switch {
	case known && last.repeats(a):
		n = last.fruitless + 1
	case err != nil:
		n = 1
	}
	r[k] = attempt{action: bare(a), failed: err != nil, fruitless: n, next: now.Add(retryDelay(n, a.Verb))}
}

// move has all waits go on as they would where the clock was set by so much.
func (r retries) move(by time.Duration) {
	for k, t := range r {
		t.next = t.next.Add(by)
		r[k] = t
	}
}

// prune forgets what was carried out with success and is planned no more; a
// failure is forgotten when the plan is empty.
func (r retries) prune(planned []plan.Action) {
	if len(planned) == 0 {
		clear(r)
		return
	}
	for k, t := range r {
		if !t.failed && !contains(planned, k) {
			delete(r, k)
		}
	}
}

func contains(actions []plan.Action, k target) bool {
	for _, a := range actions {
		if a.Verb == k.verb && a.Container == k.container {
			return true
		}
	}
	return false
}

func (t attempt) repeats(a plan.Action) bool { return t.failed || t.action == bare(a) }

// bare is what makes two actions the same one.
func bare(a plan.Action) plan.Action {
	a.Reason, a.Class, a.ExitMessage = "", "", ""
	return a
}

func retryDelay(n int, verb plan.Verb) time.Duration {
	if n <= 0 {
		return 0
	}
	most := retryMax
	if verb == plan.ReplaceGofer || verb == plan.Keep {
		most = retryMaxGofer
	}
	d := retryFirst
	for range n - 1 {
		if d *= 2; d >= most {
			return most
		}
	}
	return d
}
