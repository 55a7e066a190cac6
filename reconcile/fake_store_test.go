package reconcile

import (
	"maps"
	"sandboxer/reconcile/plan"
	"slices"
	"sync"
)

// fakeStore keeps memories in memory.
type fakeStore struct {
	mu      sync.Mutex
	saved   map[string]plan.Memory
	durable map[string]bool
	writes  int
	fail    bool
}

func newFakeStore() *fakeStore {
	return &fakeStore{saved: make(map[string]plan.Memory), durable: make(map[string]bool)}
}

func (s *fakeStore) Load(name string) (plan.Memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return plan.Memory{}, errFake
	}
	return cloneMemory(s.saved[name]), nil
}

func (s *fakeStore) Save(name string, m plan.Memory, durably bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail {
		return errFake
	}
	s.saved[name] = cloneMemory(m)
	s.durable[name] = durably
	return nil
}

func (s *fakeStore) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail {
		return errFake
	}
	delete(s.saved, name)
	delete(s.durable, name)
	return nil
}

func (s *fakeStore) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.saved[name]
	return ok
}

func (s *fakeStore) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *fakeStore) setFail(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *fakeStore) Names() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.saved)), nil
}

// fakeSource is a directory of declarations in memory.
type fakeSource struct {
	mu   sync.Mutex
	d    map[string]*plan.Declared
	held map[string]bool
}

func newFakeSource() *fakeSource {
	return &fakeSource{d: make(map[string]*plan.Declared), held: make(map[string]bool)}
}

func (s *fakeSource) Declared(name string) (*plan.Declared, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d[name], s.held[name]
}

func (s *fakeSource) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.d))
}

func (s *fakeSource) hold(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = true
}

// set declares; nil: declares no more.
func (s *fakeSource) set(name string, d *plan.Declared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == nil {
		delete(s.d, name)
	} else {
		s.d[name] = d
	}
}
