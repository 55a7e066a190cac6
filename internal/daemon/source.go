package daemon

import (
	"sync"
	"time"

	"sandboxer/desired"
	"sandboxer/reconcile/plan"
)

// source gives the loop what the directories declare, each declaration
// prepared once. It implements reconcile.Source.
type source struct {
	directory *desired.Directory

	mu sync.Mutex
	// prepared remembers Declare's result for the sandbox that it is of.
	prepared map[string]*plan.Declared
	// ending: everything counts as declared Stopped. hurried: and has no time to
	// end; ended: and as not declared at all.
	ending, hurried, ended bool
}

func newSource(d *desired.Directory) *source {
	return &source{directory: d, prepared: map[string]*plan.Declared{}}
}

// Declared holds everything before the first scan has been done.
func (s *source) Declared(name string) (*plan.Declared, bool) {
	set := s.directory.Set()
	if set == nil {
		return nil, true
	}
	sandbox := set.Sandboxes[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false
	}
	if sandbox == nil {
		delete(s.prepared, name)
		return nil, set.Hold(name) != ""
	}
	d := s.prepared[name]
	if d == nil || d.Sandbox != sandbox {
		d = plan.Declare(sandbox)
		s.prepared[name] = d
	}
	if s.ending {
		stopped := *sandbox
		stopped.Spec.State = desired.Stopped
		if s.hurried {
			stopped.Spec.TerminationGracePeriodSeconds = new(int64)
		}
		d = plan.Declare(&stopped)
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

// hurry gives what is to end no more time for that.
func (s *source) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried = true
}

// removeAll declares nothing any more.
func (s *source) removeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
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
