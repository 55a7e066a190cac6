// Package crowd decides when sandboxes are to do without gVisor's fast path, and
// tells them. The fast path has threads wait for each other by spinning, which
// is faster where a processor has nothing else to do, and takes it from others
// where all have. A busy sandbox spins with up to one processor beside the one
// that it works with. So:
//
// Where the host's processors are used up, and there are not two for each busy
// sandbox besides what everything else uses, busy sandboxes do without. They get
// it back when that has been over for a while.
//
// Config.Run is one goroutine; it knows sandboxes by what its caller tells of
// them and no runtime.
package crowd

import (
	"context"
	"errors"
	"maps"
	"time"
)

const (
	// every is how often is looked whether the processors are used up: one small
	// file is read, and nothing else unless they are.
	every = time.Second
	// usedUp is what share of the processors counts as all.
	usedUp = 0.9
	// busy is what a sandbox uses at least, in processors, to count as busy: much
	// less than one, for when many share them.
	busy = 0.1
	// unnoticed is what other processes may use of a processor that is still
	// there for sandboxes.
	unnoticed = 0.5
	// lasting is how often in a row there has to be no crowd for it to be over.
	lasting = 3
)

// Sandbox is one instance of a running sandbox.
type Sandbox struct {
	Name string
	// Sentry tells one instance's from the next one's.
	Sentry int
}

// Config is what is looked at and done. Every field is required.
type Config struct {
	Processors int
	// Host is the CPU time that the host has used since it was started.
	Host func() (time.Duration, error)
	// All is the CPU time that all sandboxes have used, those that are gone
	// included.
	All func() (time.Duration, error)
	// Sandboxes are those that run, and the CPU time that each has used.
	Sandboxes func() (map[Sandbox]time.Duration, error)
	// FastPath tells a sandbox to use it or not. One that can't be told is told
	// again.
	FastPath func(ctx context.Context, s Sandbox, on bool) error
	// Failed is told why something could not be done; the next time may do.
	Failed func(error)
}

// Run looks and tells until ctx is done.
func (c Config) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	w := watch{Config: c}
	// What sandboxes were told by another daemon, nobody knows.
	w.unknown = true
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if err := w.look(ctx, now); err != nil && ctx.Err() == nil {
				c.Failed(err)
			}
		}
	}
}

// watch is what is known between two looks.
type watch struct {
	Config
	at      time.Time
	host    time.Duration
	all     time.Duration
	known   bool                      // all was looked at the last time
	used    map[Sandbox]time.Duration // nil: not looked at the last time
	without map[Sandbox]bool          // are told to do without
	unknown bool                      // others may have been told before
	calm    int                       // how many looks in a row there was no crowd
}

func (w *watch) look(ctx context.Context, now time.Time) error {
	host, err := w.Host()
	if err != nil {
		return err
	}
	span, spent := now.Sub(w.at), host-w.host
	first := w.at.IsZero()
	w.at, w.host = now, host
	if first || span <= 0 {
		return nil
	}
	used := float64(spent) / float64(span)
	if used < usedUp*float64(w.Processors) {
		w.used, w.known = nil, false
		return w.rest(ctx)
	}
	all, err := w.All()
	if err != nil {
		return err
	}
	idle := w.known && float64(all-w.all) < busy*float64(span)
	w.all, w.known = all, true
	if idle { // whoever uses up the processors, it is no sandbox
		w.used = nil
		return w.rest(ctx)
	}
	before := w.used
	if w.used, err = w.Sandboxes(); err != nil || before == nil {
		return err
	}
	each := map[Sandbox]float64{}
	for s, d := range w.used {
		if was, ok := before[s]; ok {
			each[s] = float64(d-was) / float64(span)
		}
	}
	if !crowded(w.Processors, used, each) {
		return w.rest(ctx)
	}
	w.calm = 0
	var failed error
	for s, used := range each {
		if used < busy || w.without[s] {
			continue
		}
		if err := w.FastPath(ctx, s, false); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if w.without == nil {
			w.without = map[Sandbox]bool{}
		}
		w.without[s] = true
	}
	return failed
}

// crowded reports whether busy sandboxes are in each other's way: used is what
// the whole host uses, each what each sandbox does, in processors.
func crowded(processors int, used float64, each map[Sandbox]float64) bool {
	others, wanted := used, 0.0
	for _, u := range each {
		others -= u
		if u >= busy {
			wanted += 2
		}
	}
	return wanted > 0 && wanted > float64(processors)-max(0, others-unnoticed)
}

// rest gives sandboxes their fast path back once there has been no crowd for
// long enough.
func (w *watch) rest(ctx context.Context) error {
	if w.calm++; w.calm < lasting || len(w.without) == 0 && !w.unknown {
		return nil
	}
	now, err := w.Sandboxes()
	if err != nil {
		return err
	}
	if w.unknown {
		w.unknown, w.without = false, map[Sandbox]bool{}
		for s := range now {
			w.without[s] = true
		}
	}
	maps.DeleteFunc(w.without, func(s Sandbox, _ bool) bool {
		_, runs := now[s]
		return !runs
	})
	var failed error
	for s := range w.without {
		if err := w.FastPath(ctx, s, true); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		delete(w.without, s)
	}
	return failed
}
