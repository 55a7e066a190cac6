package status

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"

	"sandboxer/internal/api"
)

// Board holds the latest status of everything, for all who ask or watch.
// Statuses that it was given are not changed any more, by anyone.
type Board struct {
	mu        sync.Mutex
	sandboxes map[string]api.Sandbox
	rejected  map[string]api.Sandbox // shown where there is no sandbox of the name
	watchers  map[*watcher]struct{}
}

// watcher is who wants to know of changes. It holds names and no statuses:
// however slow it is, each name waits once.
type watcher struct {
	only    string // the one name that is watched; empty: all
	changed map[string]struct{}
	wake    chan struct{} // capacity 1
}

// NewBoard returns an empty Board.
func NewBoard() *Board {
	return &Board{
		sandboxes: map[string]api.Sandbox{},
		rejected:  map[string]api.Sandbox{},
		watchers:  map[*watcher]struct{}{},
	}
}

// Set publishes a sandbox; one that is as before wakes nobody.
func (b *Board) Set(s api.Sandbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.sandboxes[s.Name]; ok && reflect.DeepEqual(old, s) {
		return
	}
	b.sandboxes[s.Name] = s
	b.tell(s.Name)
}

// Delete takes a sandbox away; one that is not there is fine.
func (b *Board) Delete(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.sandboxes[name]; !ok {
		return
	}
	delete(b.sandboxes, name)
	b.tell(name)
}

// SetRejected replaces the items of documents that were never accepted.
func (b *Board) SetRejected(items []api.Sandbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := map[string]api.Sandbox{}
	for _, s := range items {
		next[s.Name] = s
		if old, ok := b.rejected[s.Name]; !ok || !reflect.DeepEqual(old, s) {
			b.tell(s.Name)
		}
	}
	for name := range b.rejected {
		if _, ok := next[name]; !ok {
			b.tell(name)
		}
	}
	b.rejected = next
}

// Rejected returns what SetRejected was given last, sorted by name.
func (b *Board) Rejected() []api.Sandbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []api.Sandbox{}
	for _, name := range slices.Sorted(maps.Keys(b.rejected)) {
		list = append(list, b.rejected[name])
	}
	return list
}

// tell marks a name as changed for every watcher.
func (b *Board) tell(name string) {
	for w := range b.watchers {
		if w.only != "" && w.only != name {
			continue
		}
		w.changed[name] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Get returns one sandbox, or the rejected document of that name.
func (b *Board) Get(name string) (api.Sandbox, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.get(name)
}

func (b *Board) get(name string) (api.Sandbox, bool) {
	s, ok := b.sandboxes[name]
	if !ok {
		s, ok = b.rejected[name]
	}
	return s, ok
}

// names returns everything that is shown, sorted.
func (b *Board) names() []string {
	all := map[string]struct{}{}
	for name := range b.sandboxes {
		all[name] = struct{}{}
	}
	for name := range b.rejected {
		all[name] = struct{}{}
	}
	return slices.Sorted(maps.Keys(all))
}

// List returns everything, sorted by name.
func (b *Board) List() []api.Sandbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []api.Sandbox{}
	for _, name := range b.names() {
		s, _ := b.get(name)
		list = append(list, s)
	}
	return list
}

// Watch calls send for everything as it is, or for the sandbox of that name,
// also if there is none; then for every change, until ctx is done or send
// fails; it returns that error. See api.Backend.
func (b *Board) Watch(ctx context.Context, name string, send func(api.Change) error) error {
	w := &watcher{only: name, changed: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	names := []string{name}
	if name == "" {
		names = b.names()
	}
	for _, name := range names {
		w.changed[name] = struct{}{}
	}
	b.watchers[w] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.watchers, w)
		b.mu.Unlock()
	}()
	for {
		for _, c := range b.take(w) {
			if err := send(c); err != nil {
				return err
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take returns what a watcher has not seen yet, as it is now.
func (b *Board) take(w *watcher) []api.Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []api.Change
	for _, name := range slices.Sorted(maps.Keys(w.changed)) {
		if s, ok := b.get(name); ok {
			list = append(list, api.Change{Sandbox: s})
		} else {
			list = append(list, api.Change{Sandbox: api.Sandbox{Name: name}, Deleted: true})
		}
	}
	clear(w.changed)
	return list
}
