package daemon

import (
	"fmt"
	"sync"
)

// startup is what must have been done once before the daemon counts as ready:
// the manifests were read, and everything that is declared or exists was
// looked at since. What is said before that would leave out what there is.
type startup struct {
	mu sync.Mutex
	// unseen are the sandboxes that were not looked at yet; nil until the
	// manifests have been read.
	unseen map[string]bool
	all    int
	// ready is closed once nothing is left to do.
	ready chan struct{}
}

func newStartup() *startup { return &startup{ready: make(chan struct{})} }

// read says that the manifests have been read, and which sandboxes there are
// to look at. It is called once.
func (s *startup) read(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unseen = map[string]bool{}
	for _, name := range names {
		s.unseen[name] = true
	}
	s.all = len(s.unseen)
	s.check()
}

// seen says that a sandbox was looked at, with the manifests read.
func (s *startup) seen(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unseen[name] {
		delete(s.unseen, name)
		s.check()
	}
}

// check needs s.mu.
func (s *startup) check() {
	if len(s.unseen) == 0 {
		close(s.ready)
	}
}

// done reports whether the daemon is ready.
func (s *startup) done() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// err says what the daemon is not ready for; nil once it is.
func (s *startup) err() error {
	if s.done() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unseen == nil {
		return fmt.Errorf("the daemon is starting: it has not read the manifests yet; try again in a moment")
	}
	return fmt.Errorf("the daemon is starting: %d of %d sandboxes have not been looked at yet; try again in a moment", len(s.unseen), s.all)
}
