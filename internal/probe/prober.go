package probe

import (
	"context"
	"errors"
	"sync"
	"time"

	"sandboxer/desired"
)

// Kind says what a probe is for.
type Kind string

// The kinds.
const (
	Liveness  Kind = "liveness"
	Readiness Kind = "readiness"
	Startup   Kind = "startup"
)

// Target is one probe of one instance of a container.
type Target struct {
	Sandbox, Container string
	ID                 string    // of the instance
	StartedAt          time.Time // when it began
	Kind               Kind
	Probe              *desired.Probe // defaults filled in
	// Good says that the last that was reported of this probe is a success, or
	// need not be.
	Good bool
}

// same reports whether both are one and the same work.
func (t *Target) same(o *Target) bool {
	return t.ID == o.ID && t.StartedAt.Equal(o.StartedAt) && equal(t.Probe, o.Probe)
}

// Report is what a probe has found out.
type Report struct {
	Target
	OK bool
	// Count is how many times in a row, 0 where the container can't be asked;
	// Conclusive says that it is as often as the probe's threshold says.
	Count      int
	Conclusive bool
	Message    string // how it failed
}

// Config is what a Prober needs; all fields are required.
type Config struct {
	// Reach gives access to an instance of a container.
	Reach func(sandbox, container, id string) Container
	// Report is told of a probe's first failure in a row, of the one that
	// reaches its threshold, of the success that ends them or is the first, and
	// of a container that can't be asked. It must not block.
	Report func(Report)
}

// Prober runs the probes of many containers, each with its own timer.
type Prober struct {
	c Config

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before and after it
	workers map[string]map[place]*worker
	running sync.WaitGroup
}

// place is where in a sandbox a worker belongs.
type place struct {
	container string
	kind      Kind
}

// New returns a Prober.
func New(c Config) (*Prober, error) {
	if c.Reach == nil || c.Report == nil {
		return nil, errors.New("probe: Reach and Report are required")
	}
	return &Prober{c: c, workers: map[string]map[place]*worker{}}, nil
}

// Run lets probes run until ctx is done, and returns when the last has ended.
func (p *Prober) Run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	for _, list := range p.workers {
		for _, w := range list {
			p.start(w)
		}
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.ctx = nil
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// Set says which probes a sandbox has from now on. Those that it has already
// go on; others are stopped, which ends what they are about.
func (p *Prober) Set(sandbox string, targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.workers[sandbox]
	if len(before) == 0 && len(targets) == 0 {
		return
	}
	now := make(map[place]*worker, len(targets))
	for _, t := range targets {
		at := place{t.Container, t.Kind}
		if w := before[at]; w != nil && w.t.same(&t) {
			now[at] = w
			delete(before, at)
			continue
		}
		w := &worker{p: p, t: t}
		// What had to wait for a startup probe need not wait any longer.
		if s := before[place{t.Container, Startup}]; s != nil && s.t.ID == t.ID {
			w.due = true
		}
		now[at] = w
		p.start(w)
	}
	for _, w := range before {
		w.stop()
	}
	if p.workers[sandbox] = now; len(now) == 0 {
		delete(p.workers, sandbox)
	}
}

// Rest stops the probes of a sandbox until Set says otherwise, and returns when
// nothing of them is left in it, or ctx is done.
func (p *Prober) Rest(ctx context.Context, sandbox string) error {
	p.mu.Lock()
	workers := p.workers[sandbox]
	delete(p.workers, sandbox)
	for _, w := range workers {
		w.stop()
	}
	p.mu.Unlock()
	for _, w := range workers {
		if w.ended == nil {
			continue
		}
		select {
		case <-w.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// start needs p.mu. Before Run it does nothing.
func (p *Prober) start(w *worker) {
	if p.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	w.cancel, w.ended = cancel, make(chan struct{})
	p.running.Go(func() {
		defer close(w.ended)
		w.run(ctx)
	})
}
