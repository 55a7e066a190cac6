package reconcile

import (
	"context"
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
}

func (l *Loop) worker(ctx context.Context) {
	for {
		name, k, ok := l.take()
		if !ok {
			return
		}
		next := l.pass(ctx, name, k)
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
