package desired

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// rules are the settings that the core decides by.
type rules struct {
	settle time.Duration
	guard  float64
	most   int // problems of one folder that are no sandbox's; 0: all
}

// stamp identifies a state of a file or folder: it changes whenever the
// content may have changed.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
}

// scan is one complete look at the manifest directories.
type scan struct {
	at       time.Time
	files    []file
	folders  map[string]stamp // by the path that a user would name it by
	problems []Problem        // of paths that give no file
	skipped  []Problem
	refused  []refused // folders that are not looked into
	// faulty are paths that could not be looked at: nothing at or below them
	// counts as absent.
	faulty []string
	// blocked lists why nothing at all counts as absent.
	blocked []string
	// confirmed are the names whose held removal the user lets go ahead.
	confirmed map[string]bool
}

// refused is a folder in which nothing is obeyed.
type refused struct{ path, shown, why string }

// file is one manifest file.
type file struct {
	path   string // absolute, through links as named
	shown  string // as Source and Problems name it
	stamp  stamp
	docs   []Document
	broken bool // could not be read or was refused: problems say why
}

// entry is one declared sandbox and what is known of its absence.
type entry struct {
	sandbox *Sandbox
	path    string    // of the file that declares it
	since   time.Time // when it was first declared; zero: before this daemon began
	// file is what its file was when it was accepted last; zero: before this daemon
	// began. partial is what that has become since which is less, and seen when it
	// was first so: see unfinished.
	file, partial stamp
	seen          time.Time
	// absent is when its document was first missed, in a file or folder whose
	// stamp was where; zero while it is there or nothing can be said.
	absent time.Time
	where  stamp
	// missed is as absent, but no change elsewhere in the folder starts it anew.
	missed time.Time
	// held stays set until the document is back: the mere passing of time or
	// the return of others lets no held removal go ahead.
	held      bool
	confirmed bool
}

// state is the core's memory between two scans.
type state struct {
	entries map[string]entry
	removed map[string]removal // those of the last window
	vacant  map[string]vacancy // by path: files that hold no document
}

// removal is what the guard has to know of a sandbox that was removed.
type removal struct {
	since  time.Time // when it was first declared
	missed time.Time // when its document was first missed
	at     time.Time // when it was removed
}

// vacancy is when an empty file was first seen in its present state.
type vacancy struct {
	since time.Time
	stamp stamp
}

// outcome is what one scan leads to.
type outcome struct {
	state state
	set   *Set
	wake  time.Time // when to look again without any event; zero for never
}

// claim is a document that bears a name, accepted or not.
type claim struct {
	file *file
	doc  *Document
}

// step is one run of the core over one scan.
type step struct {
	rules
	scan
	next     state
	problems []Problem
	rejected map[string]bool  // paths of files that hold a rejected document
	stamps   map[string]stamp // of files, by path
	// cyclic: sandboxes would wait for each other.
	cyclic bool
	wake   time.Time
}

// decide is the whole policy of what a directory change means. It is pure:
// it reads nothing but its arguments and changes none of them.
func decide(r rules, prev state, sc scan) outcome {
	s := &step{rules: r, scan: sc, rejected: map[string]bool{}, stamps: map[string]stamp{}}
	s.problems = slices.Clone(sc.problems)
	s.next = state{entries: map[string]entry{}, removed: map[string]removal{}, vacant: map[string]vacancy{}}
	claims := s.claims(prev)
	for name, cs := range claims {
		s.present(name, cs, prev)
	}
	s.acyclic(claims, prev)
	missing := map[string][]string{} // by path of a file with a rejected document
	for name, e := range prev.entries {
		if _, claimed := claims[name]; !claimed {
			s.missed(name, e, sc.confirmed[name], missing)
		}
	}
	for name, r := range prev.removed {
		if _, back := s.next.entries[name]; !back && sc.at.Sub(r.at) < guardWindow {
			s.next.removed[name] = r
		}
	}
	before := len(s.next.entries)
	s.remove()
	if s.cyclic && len(s.next.entries) < before {
		s.wakeAt(sc.at) // what is gone may have been part of the cycle
	}
	s.attribute(missing)
	s.refusals(claims)
	return outcome{state: s.next, set: s.set(), wake: s.wake}
}

// claims collects the documents by name, and the problems of all of them.
func (s *step) claims(prev state) map[string][]claim {
	claims := map[string][]claim{}
	for i := range s.files {
		f := &s.files[i]
		s.rejected[f.path], s.stamps[f.path] = f.broken, f.stamp
		if len(f.docs) == 0 && !f.broken {
			s.rejected[f.path] = true
			s.vacant(f, prev)
		}
		for j := range f.docs {
			d := &f.docs[j]
			s.problems = append(s.problems, d.Problems...)
			if d.Sandbox == nil {
				s.rejected[f.path] = true
			}
			if d.Name != "" {
				claims[d.Name] = append(claims[d.Name], claim{f, d})
			}
		}
	}
	for name, cs := range claims {
		if len(cs) > 1 {
			s.duplicate(name, cs)
		}
	}
	return claims
}

// vacant reports a file without a document once it has been so for the settle
// time: a writer that does not rename is empty-handed for a moment.
func (s *step) vacant(f *file, prev state) {
	v, seen := prev.vacant[f.path]
	if !seen || v.stamp != f.stamp {
		v = vacancy{s.at, f.stamp}
	}
	s.next.vacant[f.path] = v
	if due := v.since.Add(s.settle); due.After(s.at) {
		s.wakeAt(due)
		return
	}
	s.problems = append(s.problems, Problem{File: f.shown, Line: 1,
		Message: "holds no document, which removes nothing: delete the file to remove what it declared"})
}

// namedPlaces bounds how many of a name's places a problem lists.
const namedPlaces = 5

// duplicate rejects all documents of one name, each with the others' places.
func (s *step) duplicate(name string, cs []claim) {
	cs = slices.SortedFunc(slices.Values(cs), func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.file.shown, b.file.shown), cmp.Compare(a.doc.Line, b.doc.Line))
	})
	for i, c := range cs {
		var others []string
		for j, o := range cs[:min(len(cs), namedPlaces+1)] {
			if i != j && len(others) < namedPlaces {
				others = append(others, fmt.Sprintf("%s:%d", o.file.shown, cmp.Or(o.doc.nameLine, o.doc.Line)))
			}
		}
		if more := len(cs) - 1 - len(others); more > 0 {
			others = append(others, fmt.Sprintf("%d more places", more))
		}
		s.rejected[c.file.path] = true
		if c.doc.torn {
			continue // what is wrong with it says more
		}
		s.problems = append(s.problems, Problem{File: c.file.shown, Line: cmp.Or(c.doc.nameLine, c.doc.Line), Path: "metadata.name", Name: name,
			Message: fmt.Sprintf("%q is declared more than once: also in %s; none of them counts until one is left, and what ran goes on", name, strings.Join(others, ", "))})
	}
}

// present enters a name that documents bear: their version if there is one
// document and it is accepted, else the last accepted one.
func (s *step) present(name string, cs []claim, prev state) {
	old, had := prev.entries[name]
	if len(cs) == 1 && cs[0].doc.Sandbox != nil {
		sb := cs[0].doc.Sandbox
		if had && old.sandbox.same(sb) {
			sb = old.sandbox // keeps the pointer, so that nothing seems changed
		}
		since := old.since
		if !had {
			since = s.at
		}
		if f := cs[0].file; had && s.unfinished(&old, sb, f) {
			s.next.entries[name] = entry{sandbox: old.sandbox, path: old.path, since: old.since, file: old.file, partial: old.partial, seen: old.seen}
		} else {
			s.next.entries[name] = entry{sandbox: sb, path: f.path, since: since, file: f.stamp}
		}
		return
	}
	if had {
		s.next.entries[name] = entry{sandbox: old.sandbox, path: old.path, since: old.since, file: old.file}
	}
}

// unfinished reports whether a file that is written where it is may not be all
// written yet: it has become shorter, or lacks a container, and has not been as it
// is for the settle time. One that was renamed into place is whole.
func (s *step) unfinished(old *entry, sb *Sandbox, f *file) bool {
	was := old.file
	if old.path != f.path || was.ino != f.stamp.ino || was.dev != f.stamp.dev || was == f.stamp || old.sandbox.same(sb) ||
		f.stamp.size >= was.size && !lacks(sb, old.sandbox) {
		return false
	}
	if old.partial != f.stamp {
		old.partial, old.seen = f.stamp, s.at
	}
	due := old.seen.Add(s.settle)
	if !due.After(s.at) {
		return false
	}
	s.wakeAt(due)
	return true
}

// lacks reports whether a container of before, init ones included, is not in now.
func lacks(now, before *Sandbox) bool {
	return slices.ContainsFunc(slices.Concat(before.Spec.InitContainers, before.Spec.Containers),
		func(c Container) bool { return now.Container(c.Name) == nil })
}

// same compares all that a reader can see.
func (a *Sandbox) same(b *Sandbox) bool {
	return a == b || a.Source == b.Source && a.Name == b.Name && a.Hash() == b.Hash()
}

// missed keeps an entry that no document names, with its absence counted from
// the first scan that could be sure of it.
func (s *step) missed(name string, e entry, confirm bool, missing map[string][]string) {
	e.confirmed = e.confirmed || e.held && confirm
	where, sure := s.whereabouts(e.path)
	switch {
	case s.rejected[e.path]:
		// Its document may well be the one that cannot be read.
		missing[e.path] = append(missing[e.path], name)
		e.absent, e.missed = time.Time{}, time.Time{}
	case len(s.blocked) > 0 || !sure:
		e.absent, e.missed = time.Time{}, time.Time{}
	case e.absent.IsZero():
		e.absent, e.missed, e.where = s.at, s.at, where
	case e.where != where:
		e.absent, e.where = s.at, where
	}
	s.next.entries[name] = e
}

// whereabouts returns the stamp of the file at p if there is one, else of the
// nearest folder above it, and whether that place was looked at.
func (s *step) whereabouts(p string) (stamp, bool) {
	for _, f := range s.faulty {
		if within(p, f) {
			return stamp{}, false
		}
	}
	if at, ok := s.stamps[p]; ok {
		return at, true
	}
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if at, ok := s.folders[dir]; ok {
			return at, true
		}
		if dir == "/" || dir == "." {
			return stamp{}, true // outside all directories: they were changed
		}
	}
}

// attribute gives the problems of a file that name nobody to the one sandbox
// that is missing from the file, if it is one.
func (s *step) attribute(missing map[string][]string) {
	only := map[string]string{} // by what the file is shown as
	for _, f := range s.files {
		if names := missing[f.path]; len(names) == 1 {
			only[f.shown] = names[0]
		}
	}
	for i, p := range s.problems {
		if p.Name == "" {
			s.problems[i].Name = only[p.File]
		}
	}
}

// refusals reports the refused folders: at each sandbox that was accepted from
// one and has no other document, or else by itself.
func (s *step) refusals(claims map[string][]claim) {
	for _, r := range s.refused {
		p, found := Problem{File: r.shown, Message: r.why}, false
		for name, e := range s.next.entries {
			if _, claimed := claims[name]; !claimed && within(e.path, r.path) {
				p.Name, found = name, true
				s.problems = append(s.problems, p)
			}
		}
		if !found {
			s.problems = append(s.problems, p)
		}
	}
}

// within says whether a path is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func (s *step) wakeAt(t time.Time) {
	if s.wake.IsZero() || t.Before(s.wake) {
		s.wake = t
	}
}
