package desired

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Config is what New needs.
type Config struct {
	// Dirs are the manifest directories; at least one. They need not exist.
	Dirs []string
	// Store is the folder that accepted documents are kept in, made if need
	// be; "" keeps them in memory only.
	Store string
	// Resync is how often everything is read anew without any event; more
	// than 0.
	Resync time.Duration
	// Settle is how long a document must be absent before that counts; 0 and
	// up.
	Settle time.Duration
	// DeletionGuard is the share of the sandboxes, 0 to 1, beyond which
	// removals are held; 1 turns the guard off.
	DeletionGuard float64
	// AllowUnsafeOwners obeys manifests that others than root and the
	// daemon's user can write.
	AllowUnsafeOwners bool
	// NoEvents leaves file events alone: only the resync, Rescan and the
	// directory's own timers lead to a scan.
	NoEvents bool
	// Damaged is told once of each kept document that was damaged and whose copy
	// is used in its place. Optional.
	Damaged func(name, damage string)
	// Answers is called at the beginning of each scan; optional.
	Answers func() Answers
	// Reach is, too; optional.
	Reach func() Reach
	// Log is optional.
	Log logr.Logger
	// Now is optional; time.Now by default.
	Now func() time.Time
	// Awake says for how long the host has been awake since it was booted, and
	// names that boot; without it, what was removed before a restart counts for the
	// guard as after a reboot.
	Awake func() (time.Duration, string)
}

// Answers says why a path can't be looked at without waiting for ever, nil where
// it can. linkFree paths have no links in them.
type Answers func(path string, linkFree bool) error

// Reach says why a manifest, or a folder or link on the way to one, is not obeyed that
// was found at a link-free path, as a container may have written it; nil where none has.
// elsewhere says that it is in no manifest directory, but a link in one leads to it.
type Reach func(real string, info fs.FileInfo, elsewhere bool) error

// Directory keeps the set of sandboxes that manifest directories declare. All
// methods may be called from any goroutine.
type Directory struct {
	cfg     Config
	scanner *scanner
	store   *store
	latest  atomic.Pointer[Set]
	stored  map[string]*Sandbox // what had been accepted before the first scan
	wake    chan struct{}       // capacity 1: a scan is wanted

	mu        sync.Mutex
	confirmed map[string]bool   // asked for since the last scan
	awaited   []chan<- struct{} // closed after a scan that begins from now on
	unstored  error             // why the store is behind

	// Run's own.
	state     state
	at        instant          // of the last scan
	lost      map[string]error // stored documents that cannot be read
	unwatched error            // the last failure to watch
}

// New reads the store and returns a Directory that has not looked yet. It
// fails on a config that makes no sense and on a store that cannot be used.
func New(cfg Config) (*Directory, error) {
	switch {
	case len(cfg.Dirs) == 0:
		return nil, errors.New("desired: no manifest directory given")
	case cfg.Resync <= 0:
		return nil, fmt.Errorf("desired: the resync interval %s must be more than 0", cfg.Resync)
	case cfg.Settle < 0:
		return nil, fmt.Errorf("desired: the settle time %s must not be negative", cfg.Settle)
	case !(cfg.DeletionGuard >= 0 && cfg.DeletionGuard <= 1):
		return nil, fmt.Errorf("desired: the deletion guard %v must be between 0 and 1", cfg.DeletionGuard)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Awake == nil {
		cfg.Awake = func() (time.Duration, string) { return 0, "" }
	}
	if cfg.Answers == nil {
		cfg.Answers = allAnswer
	}
	if cfg.Reach == nil {
		cfg.Reach = outOfReach
	}
	if cfg.Damaged == nil {
		cfg.Damaged = func(string, string) {}
	}
	d := &Directory{
		cfg:       cfg,
		scanner:   &scanner{allowUnsafe: cfg.AllowUnsafeOwners, now: cfg.Now, answers: cfg.Answers, reach: cfg.Reach},
		wake:      make(chan struct{}, 1),
		confirmed: map[string]bool{},
	}
	for _, dir := range cfg.Dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("manifest directory %q: %w", dir, err)
		}
		r := root{path: abs}
		if len(cfg.Dirs) > 1 {
			r.shown = dir
		}
		d.scanner.roots = append(d.scanner.roots, r)
	}
	var err error
	if d.store, d.state.entries, d.lost, err = openStore(cfg.Store, cfg.Damaged); err != nil {
		return nil, err
	}
	d.stored = map[string]*Sandbox{}
	for name, e := range d.state.entries {
		d.stored[name] = e.sandbox
	}
	return d, nil
}

// Accepted returns the last accepted version of a sandbox, also before the first
// scan has ended; nil: there is none.
func (d *Directory) Accepted(name string) *Sandbox {
	if s := d.Set(); s != nil {
		return s.Sandboxes[name]
	}
	return d.stored[name]
}

// Stored returns what had been accepted of a sandbox before the first scan; nil:
// nothing.
func (d *Directory) Stored(name string) *Sandbox { return d.stored[name] }

// Set returns the latest snapshot, nil before the first scan has ended.
func (d *Directory) Set() *Set { return d.latest.Load() }

// Rescan asks for a scan now. Requests made while one is running cause one
// more, however many they are.
func (d *Directory) Rescan() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Read has everything read anew and returns once that is told of, or ctx is
// done. It waits for as long as Run does not run.
func (d *Directory) Read(ctx context.Context) error {
	done := make(chan struct{})
	d.mu.Lock()
	d.awaited = append(d.awaited, done)
	d.mu.Unlock()
	d.Rescan()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ConfirmDeletions lets removals that are held now go ahead, those of names or,
// without any, all. It returns which, and which of names are not held; both
// sorted.
func (d *Directory) ConfirmDeletions(names ...string) (confirmed, others []string) {
	held := map[string]string{}
	if s := d.Set(); s != nil {
		held = s.Held
	}
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(held))
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if held[name] != "" {
			confirmed = append(confirmed, name)
		} else {
			others = append(others, name)
		}
	}
	if len(confirmed) == 0 {
		return nil, others
	}
	d.mu.Lock()
	for _, name := range confirmed {
		d.confirmed[name] = true
	}
	d.mu.Unlock()
	d.Rescan()
	return confirmed, others
}

// Run scans until ctx ends, then writes out the store and returns nil. After
// each scan that changed what Set returns, changed is told the names of the
// sandboxes concerned, after the first one all of them; it may be none, where
// a problem belongs to no sandbox. It must not block. Run is called once.
func (d *Directory) Run(ctx context.Context, changed func(names []string)) error {
	var group sync.WaitGroup
	defer group.Wait()
	stop := d.watch(&group)
	defer stop()
	states := make(chan keeping, 1)
	defer close(states)
	group.Go(func() { d.keep(states) })
	// Only the newest state is worth writing.
	keep := func(done chan<- struct{}) {
		select {
		case <-states:
		default:
		}
		states <- keeping{d.state.entries, d.state.removed, d.at, done}
	}

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		d.mu.Lock()
		awaited := d.awaited
		d.awaited = nil
		d.mu.Unlock()
		// The store follows behind: its fsync must not delay a start. Only a
		// removal that is newly held is told of after it was written.
		wake := d.look(changed, func() {
			done := make(chan struct{})
			keep(done)
			<-done
		})
		for _, done := range awaited {
			close(done)
		}
		keep(nil)
		wait := d.cfg.Resync
		if !wake.IsZero() {
			wait = min(wait, max(0, wake.Sub(d.cfg.Now())))
		}
		timer.Reset(wait)
	}
}

// watch starts the flow of file events. Without it the resync is enough, only
// slower, so that a failure is reported and no more.
func (d *Directory) watch(group *sync.WaitGroup) (stop func()) {
	if d.cfg.NoEvents {
		return func() {}
	}
	w, err := newWatcher(d.Rescan)
	if err != nil {
		d.cfg.Log.Error(err, "manifest changes are seen at the resync only")
		return func() {}
	}
	d.scanner.watch = w
	group.Go(w.run)
	return func() {
		if err := w.fs.Close(); err != nil {
			d.cfg.Log.Error(err, "file events did not end cleanly")
		}
	}
}

// keeping is a state to be written; done, which may be nil, is closed then.
type keeping struct {
	entries map[string]entry
	removed map[string]removal
	at      instant
	done    chan<- struct{}
}

// keep writes every state it is given to the store, until there are no more.
func (d *Directory) keep(states <-chan keeping) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	<-rest.C
	var unwritten, unsettled error
	for more := true; more; {
		var k keeping
		settle := true
		select {
		case k, more = <-states:
			if more {
				unwritten = errors.Join(d.store.keepRemovals(k.removed, k.at), d.store.sync(k.entries))
				settle = k.done != nil
			}
		case <-rest.C:
		}
		if settle {
			unsettled = d.store.settle()
		} else if d.store.changed {
			rest.Reset(storeRest)
		}
		if k.done != nil {
			close(k.done)
		}
		err := errors.Join(unwritten, unsettled)
		d.mu.Lock()
		before := d.unstored
		d.unstored = err
		d.mu.Unlock()
		if fmt.Sprint(before) != fmt.Sprint(err) {
			d.Rescan() // so that it shows
		}
	}
}

// storeRest is how long the store's directory is left alone after a change before
// it is made to survive a power cut: while the disk is at that, whoever else makes
// or removes a file waits. Nobody counts on it earlier but who waits for done.
const storeRest = 500 * time.Millisecond
