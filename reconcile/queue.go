package reconcile

import (
	"context"
	"errors"
	"slices"
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

// enqueue needs l.mu.
func (l *Loop) enqueue(name string, k *key) {
	k.queued = true
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
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

func (l *Loop) worker(ctx context.Context) {
	for {
		name, k, ok := l.take()
		if !ok {
			return
		}
		next := l.contained(ctx, name, k)
		l.release(name, k, next)
	}
}

// take waits for a key; ok is false once the loop is closed.
func (l *Loop) take() (name string, k *key, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.wake.Wait()
	}
	if l.closed {
		return "", nil, false
	}
	name = l.queue[0]
	l.queue = l.queue[1:]
	k = l.keys[name]
	k.queued, k.running, k.again = false, true, false
	return name, k, true
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
	at   time.Time // zero: not at all
	done bool      // nothing is left to remember of it
}

func (l *Loop) release(name string, k *key, n next) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.running = false
	l.freed.Broadcast()
	switch {
	case l.closed:
	case k.again || n.now:
		l.enqueue(name, k)
	case n.done && len(k.asked) == 0:
		delete(l.keys, name)
	case !n.at.IsZero() && !l.cfg.ResyncOnly:
		k.timer = time.AfterFunc(max(n.at.Sub(l.cfg.Now()), minWait), func() { l.Poke(name) })
	}
}
