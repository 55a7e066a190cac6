package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Set is what a host should run, as of one scan. It never changes; neither
// must its readers change it.
type Set struct {
	// Sandboxes are the declared ones by name: the last accepted version of
	// each, and those whose removal is waiting or held. One that is in no Set
	// any more is removed, unless Hold says otherwise.
	Sandboxes map[string]*Sandbox
	// Problems are the errors of files and documents, sorted.
	Problems []Problem
	// Skipped names the paths that do not count, and why. None is an error.
	Skipped []Problem
	// Held are sandboxes whose removal the deletion guard holds, and why.
	Held map[string]string
	// Pending are sandboxes whose document is gone, and when that will count
	// as a removal if nothing changes. Held ones are not among them.
	Pending map[string]time.Time
	// Blocked says why no absence counts at all, "" where that is not so: a
	// directory is missing or something in it cannot be read.
	Blocked string

	index  sync.Once
	byName map[string][]Problem
}

// ProblemsOf gives those of the documents that carry name.
func (s *Set) ProblemsOf(name string) []Problem {
	s.index.Do(func() {
		s.byName = map[string][]Problem{}
		for _, p := range s.Problems {
			s.byName[p.Name] = append(s.byName[p.Name], p)
		}
	})
	return s.byName[name]
}

// Hold says why the absence of a sandbox from s.Sandboxes must not be acted
// upon, and "" where it means that the sandbox is to be removed. It matters
// for sandboxes that exist without a declaration ever having been accepted by
// this daemon, such as after the loss of its data directory.
func (s *Set) Hold(name string) string {
	if s.Blocked != "" {
		return s.Blocked
	}
	if list := s.ProblemsOf(name); len(list) > 0 {
		return list[0].String()
	}
	return ""
}

// Missing returns those of problems that s does not have.
func (s *Set) Missing(problems []Problem) []Problem {
	if slices.Equal(s.Problems, problems) {
		return nil
	}
	has := map[Problem]bool{}
	for _, p := range s.Problems {
		has[p] = true
	}
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return has[p] })
}

// names returns every sandbox that s has something to say about.
func (s *Set) names() map[string]bool {
	out := map[string]bool{}
	for name := range s.Sandboxes {
		out[name] = true
	}
	for _, p := range s.Problems {
		if p.Name != "" {
			out[p.Name] = true
		}
	}
	return out
}

// changes returns the sandboxes that b shows differently than a (nil for
// nothing), sorted, and whether anything at all differs. What is skipped makes
// no difference: editors' temporary files come and go.
func changes(a, b *Set) (names []string, any bool) {
	if a == nil {
		return slices.Sorted(maps.Keys(b.names())), true
	}
	all := a.names()
	maps.Copy(all, b.names())
	for name := range all {
		same := a.Sandboxes[name] == b.Sandboxes[name] && a.Held[name] == b.Held[name] &&
			a.Pending[name].Equal(b.Pending[name]) && a.Blocked == b.Blocked &&
			slices.Equal(a.ProblemsOf(name), b.ProblemsOf(name))
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, len(names) > 0 || a.Blocked != b.Blocked || !slices.Equal(a.Problems, b.Problems)
}

// set makes the snapshot of the new state.
func (s *step) set() *Set {
	out := &Set{
		Sandboxes: map[string]*Sandbox{},
		Problems:  bounded(sortProblems(s.problems), s.most),
		Skipped:   sortProblems(slices.Clone(s.skipped)),
		Held:      map[string]string{},
		Pending:   map[string]time.Time{},
		Blocked:   strings.Join(slices.Sorted(slices.Values(s.blocked)), "; "),
	}
	why := s.whyHeld()
	for name, e := range s.next.entries {
		out.Sandboxes[name] = e.sandbox
		switch {
		case e.held && !e.confirmed:
			out.Held[name] = why
		case !e.absent.IsZero():
			out.Pending[name] = e.absent.Add(s.settle)
		}
	}
	return out
}

// whyHeld says how many of the sandboxes there are the guard keeps, and which.
func (s *step) whyHeld() string {
	const most = 10 // names are read, a number beyond is not
	names := s.heldNames()
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		shown += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return fmt.Sprintf("the deletion guard holds the removal of %d of %d sandboxes (%s): put the manifests back, or run sandboxer confirm-deletions, for all or by NAME",
		len(names), len(s.next.entries), shown)
}

func (s *step) heldNames() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.next.entries)) {
		if e := s.next.entries[name]; e.held && !e.confirmed {
			out = append(out, name)
		}
	}
	return out
}
