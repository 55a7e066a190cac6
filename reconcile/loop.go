package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// minWait bounds how soon a timer may wake a sandbox's worker, so that no
// instant that is over already can have the loop run hot.
const minWait = 5 * time.Millisecond

// Looker takes one snapshot of one sandbox. An error means that nothing can
// be told, never that nothing is there.
type Looker interface {
	Look(ctx context.Context, name string) (observed.Sandbox, error)
}

// Actor carries out one action and returns when it is done or has failed. d
// is nil where nothing is declared. Actions of one sandbox that have different
// containers may run at the same time.
type Actor interface {
	Do(ctx context.Context, a plan.Action, d *plan.Declared) error
}

// Source says what is declared. held: d's absence must not be acted upon.
type Source interface {
	Declared(name string) (d *plan.Declared, held bool)
	Names() []string
}

// Store keeps memories. Load gives the zero Memory where there is none, and
// where what is stored can't be read any more: an error means "ask again",
// and nothing is done for that sandbox until then. Deleting what is not there
// succeeds.
type Store interface {
	Load(name string) (plan.Memory, error)
	// Save leaves the old or the new one to whoever comes after a crash; durably,
	// also after a power cut.
	Save(name string, m plan.Memory, durably bool) error
	Delete(name string) error
	Names() ([]string, error)
}

// Lister names the sandboxes that a look would find something of.
type Lister interface {
	Names(ctx context.Context) ([]string, error)
}

// Config is what a Loop needs. Looker, Actor, Source and Store are required.
type Config struct {
	Looker Looker
	Actor  Actor
	Source Source
	Store  Store
	// Unfit says of what is to be started in place of what runs, see
	// plan.Successors, why it could not be; default: nothing is known of it.
	Unfit func(d *plan.Declared, names []string) map[string]string
	// GVisor is the version that new sandboxes are of; default: nobody knows.
	GVisor string
	// Dependency says how a declared sandbox stands that another one waits for;
	// default: not ready. What waits must be poked when that changes.
	Dependency func(name string) plan.Dependency
	// Lister adds the names of what is observed to each resync.
	Lister Lister
	// Workers bounds how many sandboxes are worked on at once, beside those that
	// take long; default 16.
	Workers int
	// Resync is how often every sandbox is looked at without being poked;
	// default 30 s.
	Resync time.Duration
	// ResyncOnly ignores pokes and timers: the resync alone must be enough.
	ResyncOnly bool
	// LookTimeout and ActionTimeout bound one call; default 10 s and 30 s. An
	// action that has begun is given its time also when the loop is ended.
	// ImageTimeout bounds actions that write or read all of a sandbox's memory;
	// default 10 min.
	LookTimeout   time.Duration
	ActionTimeout time.Duration
	ImageTimeout  time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Awake says for how long the host has been awake since it was booted, and
	// names that boot; default: nothing is known of it, and a clock that is set
	// moves what waits.
	Awake func() (time.Duration, string)
	// Log gets what the loop itself can't do, once each; default: nothing.
	Log logr.Logger
	// OnPass is called after every plan, before its actions; OnAction after
	// every action. Both are called from many goroutines, OnPass one at a time
	// per sandbox, and must not block.
	OnPass   func(Pass)
	OnAction func(a plan.Action, err error, took time.Duration)
}

// Pass is what one pass over one sandbox found and decided.
type Pass struct {
	Name     string
	Declared *plan.Declared
	Held     bool
	Observed observed.Sandbox
	// Blind says that the look failed with LookErr; Observed is then empty.
	Blind      bool
	LookErr    error
	Memory     plan.Memory
	Conditions []plan.Condition
	Notices    []plan.Notice
	// Pending are the actions that the plan holds, also those that wait for
	// their next try. Again is when the sandbox is looked at without a poke.
	Pending []plan.Action
	Again   time.Time
	// MemoryMark is how much memory it has to use to be worth a poke.
	MemoryMark int64
}

// Loop makes what is observed as declared, and keeps it so. Its methods may be
// called from many goroutines.
type Loop struct {
	cfg Config

	mu      sync.Mutex
	wake    *sync.Cond // queue, working, passing or closed has changed; one waits
	freed   *sync.Cond // a key is worked on no more, or closed has changed
	keys    map[string]*key
	queue   []string
	working int // passes under way that have a place
	passing int // passes under way
	closed  bool

	seized sync.WaitGroup // keys that Exclusively works on
}

// key is the state of one sandbox's work. Its first group is guarded by
// Loop.mu, its second belongs to the worker that works on it.
type key struct {
	queued  bool
	running bool
	again   bool // poked while running
	asked   []ask
	missing bool // the store does not list it
	timer   *time.Timer
	// looks are closed once a pass has been published that begins from now on;
	// seen are those that the pass under way is for.
	looks, seen []chan<- struct{}
	work        progress

	looked   bool // seen once since anything may be done about it
	loaded   bool
	memory   plan.Memory // what the next plan starts from
	saved    plan.Memory // what the store holds
	durably  bool        // also after a power cut
	answered []chan<- struct{}
	retries  retries
	specHash string // that the retries belong to
	panicked string // what the last panic said that is not known to be over
	panics   int    // of passes, in a row
	slow     bool   // the last pass took long
	troubles troubles
}

// New makes a Loop that Run sets going.
func New(cfg Config) (*Loop, error) {
	if cfg.Looker == nil || cfg.Actor == nil || cfg.Source == nil || cfg.Store == nil {
		return nil, errors.New("reconcile: Looker, Actor, Source and Store are required")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 16
	}
	if cfg.Resync <= 0 {
		cfg.Resync = 30 * time.Second
	}
	if cfg.LookTimeout <= 0 {
		cfg.LookTimeout = 10 * time.Second
	}
	if cfg.ActionTimeout <= 0 {
		cfg.ActionTimeout = 30 * time.Second
	}
	if cfg.ImageTimeout <= 0 {
		cfg.ImageTimeout = 10 * time.Minute
	}
	if cfg.Dependency == nil {
		cfg.Dependency = func(string) plan.Dependency { return plan.Dependency{} }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Awake == nil {
		cfg.Awake = func() (time.Duration, string) { return 0, "" }
	}
	if cfg.OnPass == nil {
		cfg.OnPass = func(Pass) {}
	}
	if cfg.OnAction == nil {
		cfg.OnAction = func(plan.Action, error, time.Duration) {}
	}
	l := &Loop{cfg: cfg, keys: make(map[string]*key)}
	l.wake, l.freed = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	return l, nil
}

// Run works until ctx is done and returns when the last worker has ended. It
// is called once.
func (l *Loop) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { l.work(ctx) })
	l.PokeAll()
	resync := time.NewTicker(l.cfg.Resync)
	defer resync.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-resync.C:
			l.PokeAll()
		}
	}
	l.close()
	wg.Wait()
	l.seized.Wait()
	return nil
}
