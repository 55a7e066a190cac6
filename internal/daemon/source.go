package daemon

import (
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/reconcile"
)

// source gives the loop what the directories declare, each declaration
// prepared once. It implements reconcile.Source.
type source struct {
	directory *desired.Directory

	mu sync.Mutex
	// prepared remembers Declare's result for the sandbox that it is of.
	prepared map[string]*reconcile.Declared
	// ending: everything counts as declared Stopped.
	ending bool
}

func newSource(d *desired.Directory) *source {
	return &source{directory: d, prepared: map[string]*reconcile.Declared{}}
}

// Declared holds everything before the first scan has been done.
func (s *source) Declared(name string) (*reconcile.Declared, bool) {
	set := s.directory.Set()
	if set == nil {
		return nil, true
	}
	sandbox := set.Sandboxes[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	if sandbox == nil {
		delete(s.prepared, name)
		return nil, set.Hold(name) != ""
	}
	d := s.prepared[name]
	if d == nil || d.Sandbox != sandbox {
		d = reconcile.Declare(sandbox)
		s.prepared[name] = d
	}
	if s.ending {
		stopped := *sandbox
		stopped.Spec.State = desired.Stopped
		d = reconcile.Declare(&stopped)
		d.Leaving = true
	}
	return d, false
}

// endAll declares everything Stopped from here on. It returns the longest
// grace period.
func (s *source) endAll() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	var longest time.Duration
	for _, d := range s.prepared {
		longest = max(longest, time.Duration(*d.Spec.TerminationGracePeriodSeconds)*time.Second)
	}
	return longest
}

func (s *source) Names() []string {
	var names []string
	if set := s.directory.Set(); set != nil {
		for name := range set.Sandboxes {
			names = append(names, name)
		}
	}
	return names
}
