package desired

import (
	"fmt"
	"slices"
	"strings"
)

func dependsOnPath(i int) string { return fmt.Sprintf("spec.dependsOn[%d]", i) }

// dependsOn checks names of sandboxes. Whether they lead back to where they
// are from takes all documents: see step.acyclic.
func (c *checker) dependsOn(names []string) {
	for i, name := range names {
		switch at := dependsOnPath(i); {
		case !isDNSLabel(name):
			c.add(at, "%q is no sandbox's name: %s", clip(name), labelRule)
		case slices.Contains(names[:i], name):
			c.add(at, "%q is named twice", name)
		}
	}
}

// acyclic rejects the documents by which sandboxes would wait for each other,
// and so for ever. What is set back to its last accepted version can close
// another cycle with what is new, so it goes on until none is left.
func (s *step) acyclic(claims map[string][]claim, prev state) {
	done := map[string]bool{}
	for {
		dependsOn := s.dependencies(claims, prev)
		found := map[string][]string{}
		for name := range dependsOn {
			cs := claims[name]
			if done[name] || len(cs) != 1 || cs[0].doc.Sandbox == nil {
				continue // what it declares does not count anyway
			}
			if path := cycle(dependsOn, name); path != nil {
				found[name] = path
			}
		}
		if len(found) == 0 {
			return
		}
		for name, path := range found {
			done[name] = true
			s.rejectCycle(name, path, claims[name][0], prev)
		}
	}
}

// dependencies are those of every sandbox that has any, as of now: those of
// documents that are missed hold until these are removed.
func (s *step) dependencies(claims map[string][]claim, prev state) map[string][]string {
	out := map[string][]string{}
	for name, e := range prev.entries {
		if _, claimed := claims[name]; !claimed && len(e.sandbox.Spec.DependsOn) > 0 {
			out[name] = e.sandbox.Spec.DependsOn
		}
	}
	for name, e := range s.next.entries {
		if len(e.sandbox.Spec.DependsOn) > 0 {
			out[name] = e.sandbox.Spec.DependsOn
		}
	}
	return out
}

func (s *step) rejectCycle(name string, path []string, c claim, prev state) {
	s.cyclic = true
	s.rejected[c.file.path] = true
	i := slices.Index(c.doc.Sandbox.Spec.DependsOn, path[1])
	s.problems = append(s.problems, Problem{File: c.file.shown, Line: c.doc.dependsOn[i], Path: dependsOnPath(i), Name: name,
		Message: fmt.Sprintf("it would wait for itself: %s; no document of such a cycle counts, and what ran goes on", strings.Join(path, " -> "))})
	if old, had := prev.entries[name]; had {
		s.next.entries[name] = entry{sandbox: old.sandbox, path: old.path}
	} else {
		delete(s.next.entries, name)
	}
}

// cycle is the shortest way from name along dependencies back to name, both
// ends included; nil: there is none.
func cycle(dependsOn map[string][]string, name string) []string {
	from := map[string]string{} // the way to each by who led there
	for next := []string{name}; len(next) > 0; next = next[1:] {
		at := next[0]
		for _, to := range dependsOn[at] {
			if to == name {
				path := []string{name}
				for ; at != name; at = from[at] {
					path = append(path, at)
				}
				path = append(path, name)
				slices.Reverse(path)
				return path
			}
			if _, seen := from[to]; !seen {
				from[to] = at
				next = append(next, to)
			}
		}
	}
	return nil
}
