package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Poke has one sandbox looked at soon; if it is being worked on, once more
// afterwards. It carries no data and never blocks.
func (l *Loop) Poke(name string) {
	if !l.cfg.ResyncOnly {
		l.poke(name)
	}
}

// poke takes its names all at once: none is worked on before the last is queued.
func (l *Loop) poke(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for _, name := range names {
		switch k := l.key(name); {
		case k.running:
			k.again = true
		case !k.queued:
			l.enqueue(name, k)
		}
	}
}

// Knows says whether there is anything to look at again of a sandbox: a pass
// over it has found something, or is to come.
func (l *Loop) Knows(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[name] != nil
}

// Works says whether a sandbox is being worked on.
func (l *Loop) Works(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[name]
	return k != nil && k.running
}

// key needs l.mu.
func (l *Loop) key(name string) *key {
	k := l.keys[name]
	if k == nil {
		k = &key{retries: make(retries)}
		l.keys[name] = k
	}
	return k
}

// PokeAll pokes every sandbox that is declared, remembered or observed.
func (l *Loop) PokeAll() {
	names := l.cfg.Source.Names()
	if stored, err := l.cfg.Store.Names(); err != nil {
		l.cfg.Log.Error(err, "listing what is remembered")
	} else {
		l.miss(stored)
		names = slices.Concat(names, stored)
	}
	if l.cfg.Lister != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.cfg.LookTimeout)
		found, err := l.cfg.Lister.Names(ctx)
		cancel()
		if err != nil {
			l.cfg.Log.Error(err, "listing what runs")
		}
		names = slices.Concat(names, found)
	}
	l.poke(names...)
}

// miss has those stored anew that the store does not list.
func (l *Loop) miss(stored []string) {
	listed := make(map[string]bool, len(stored))
	for _, name := range stored {
		listed[name] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, k := range l.keys {
		k.missing = !listed[name]
	}
}

// isMissing says, once, whether the store does not list a sandbox.
func (l *Loop) isMissing(k *key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := k.missing
	k.missing = false
	return missing
}

// enqueue needs l.mu.
func (l *Loop) enqueue(name string, k *key) {
	k.queued = true
	if k.timer != nil {
		k.timer.Stop()
		k.timer, k.work.next = nil, time.Time{}
	}
	l.queue = append(l.queue, name)
	l.wake.Signal()
}

func (l *Loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, k := range l.keys {
		if k.timer != nil {
			k.timer.Stop()
		}
	}
	l.wake.Broadcast()
	l.freed.Broadcast()
}

// lendAfter is how long a pass may take before its place is given to another
// sandbox: what hangs holds up itself alone.
const lendAfter = 2 * time.Second

// passesPerWorker bounds how many passes are under way with those that have given
// their places away: on a host that is merely slow all of them do.
const passesPerWorker = 8

// work makes passes until the loop is closed, and returns when the last is over.
func (l *Loop) work(ctx context.Context) {
	var passes sync.WaitGroup
	for {
		name, k, ok := l.take()
		if !ok {
			break
		}
		passes.Go(func() { l.worked(ctx, name, k) })
	}
	passes.Wait()
}

// worked is one pass over a key that was taken. One whose last pass took long has
// no place from the beginning.
func (l *Loop) worked(ctx context.Context, name string, k *key) {
	began, lent := time.Now(), false
	lend := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !lent {
			lent = true
			l.working--
			l.wake.Signal()
		}
	}
	late := time.AfterFunc(lendAfter, lend)
	if k.slow {
		lend()
	}
	next := l.contained(ctx, name, k)
	late.Stop()
	l.mu.Lock()
	l.passing--
	k.work.took, k.work.passes, k.work.retries = time.Since(began), k.work.passes+1, k.retries.list()
	l.wake.Signal()
	l.mu.Unlock()
	lend()
	k.slow = time.Since(began) > lendAfter
	l.release(name, k, next)
}

// take waits for a key and a place to work on it; ok is false once the loop is
// closed.
func (l *Loop) take() (name string, k *key, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (len(l.queue) == 0 || l.working >= l.cfg.Workers || l.passing >= passesPerWorker*l.cfg.Workers) && !l.closed {
		l.wake.Wait()
	}
	if l.closed {
		return "", nil, false
	}
	name = l.queue[0]
	l.queue = l.queue[1:]
	k = l.keys[name]
	k.queued, k.running, k.again = false, true, false
	k.work.last = l.cfg.Now()
	k.work.phase, k.work.since = Beginning, k.work.last
	l.working, l.passing = l.working+1, l.passing+1
	k.seen, k.looks = append(k.seen, k.looks...), nil
	return name, k, true
}

// Look has a sandbox looked at, also where nothing but the resync is acted upon,
// and returns once a pass that began after the call was published, or ctx is
// done.
func (l *Loop) Look(ctx context.Context, name string) error {
	looked := make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	k := l.key(name)
	k.looks = append(k.looks, looked)
	l.mu.Unlock()
	l.poke(name)
	select {
	case <-looked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish tells of a pass, also those who wait for it.
func (l *Loop) publish(k *key, p Pass) {
	l.enter(k, Publishing)
	l.cfg.OnPass(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, looked := range k.seen {
		close(looked)
	}
	k.seen = nil
}

// Exclusively does something to a sandbox while nobody else works on it, and
// has it looked at afterwards. It waits for the pass under way, until ctx is
// done.
func (l *Loop) Exclusively(ctx context.Context, name string, do func() error) error {
	k, err := l.seize(ctx, name)
	if err != nil {
		return err
	}
	defer l.seized.Done()
	defer l.release(name, k, next{now: true})
	return do()
}

// seize takes a key out of the workers' hands.
func (l *Loop) seize(ctx context.Context, name string) (*key, error) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.freed.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil && !l.closed {
		if k := l.key(name); !k.running {
			k.running = true
			k.work.phase, k.work.since = Exclusive, l.cfg.Now()
			l.seized.Add(1)
			if k.queued {
				k.queued = false
				l.queue = slices.DeleteFunc(l.queue, func(other string) bool { return other == name })
			}
			return k, nil
		}
		l.freed.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, errClosed
}

// errClosed is what comes too late.
var errClosed = errors.New("the daemon is ending")

// next is when a key wants its next pass without being poked.
type next struct {
	now  bool
	soon bool      // unless it is poked before
	at   time.Time // zero: not at all
	done bool      // nothing is left to remember of it
}

func (l *Loop) release(name string, k *key, n next) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.running, k.work.phase = false, ""
	l.freed.Broadcast()
	switch {
	case l.closed:
	case k.again || n.now || n.soon && l.cfg.ResyncOnly:
		l.enqueue(name, k)
	case n.soon:
		l.sleep(name, k, minWait)
	case n.done && len(k.asked) == 0 && len(k.looks) == 0:
		delete(l.keys, name)
	case !n.at.IsZero() && !l.cfg.ResyncOnly:
		l.sleep(name, k, max(n.at.Sub(l.cfg.Now()), minWait))
	}
}

// sleep needs l.mu. It has a key worked on after that time, if nobody pokes it before.
func (l *Loop) sleep(name string, k *key, wait time.Duration) {
	k.work.next = l.cfg.Now().Add(wait)
	k.timer = time.AfterFunc(wait, func() { l.Poke(name) })
}
