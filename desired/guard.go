package desired

import (
	"maps"
	"slices"
	"time"
)

const (
	// guardWindow is how long a removal counts after it was carried out.
	guardWindow = 10 * time.Second
	// guardLeast is the number of sandboxes below which removing most of them
	// is an ordinary thing to do.
	guardLeast = 4
)

// remove carries out the removals that have settled, unless together with
// the others that wait and those of the last window they would take away too
// much of what was declared together: then all that wait are held.
func (s *step) remove() {
	var waiting []string
	due := func(e entry) bool { return !e.absent.Add(s.settle).After(s.at) }
	fresh := false // is one due that was not held before?
	for name, e := range s.next.entries {
		if !e.absent.IsZero() {
			waiting = append(waiting, name)
			fresh = fresh || due(e) && !e.held
		}
	}
	// Asked only when something would be removed: a checkout that takes
	// everything away and puts it back must not be reported as held.
	hold := fresh && s.tooMany()
	for _, name := range waiting {
		e := s.next.entries[name]
		e.held = e.held || hold
		s.next.entries[name] = e
		switch {
		case e.held && !e.confirmed:
		case due(e):
			delete(s.next.entries, name)
			if !e.confirmed { // what was confirmed stands against nothing that comes next
				s.next.removed[name] = removal{since: e.since, missed: e.missed, at: s.at}
			}
		default:
			s.wakeAt(e.absent.Add(s.settle))
		}
	}
}

// tooMany reports whether there was a moment at which so many were declared
// together that have gone since, or are about to, that their share is beyond the
// guard's. What was never declared together with the others counts for nothing:
// sandboxes that are made and removed one after another are no mass deletion.
func (s *step) tooMany() bool {
	var stay []time.Time // since when
	var gone []removal
	for _, e := range s.next.entries {
		if e.absent.IsZero() {
			stay = append(stay, e.since)
		} else {
			gone = append(gone, removal{since: e.since, missed: e.missed})
		}
	}
	gone = slices.AppendSeq(gone, maps.Values(s.next.removed))
	for _, last := range gone { // the moment before each was missed
		before, lost := 0, 0
		for _, since := range stay {
			if since.Before(last.missed) {
				before++
			}
		}
		for _, g := range gone {
			if g.since.Before(last.missed) && !g.missed.Before(last.missed) {
				before, lost = before+1, lost+1
			}
		}
		if s.beyond(lost, before) {
			return true
		}
	}
	return false
}

// beyond applies the guard's share to the removals and what there was before
// any of them.
func (r rules) beyond(removals, total int) bool { return GuardHolds(r.guard, removals, total) }

// GuardHolds says whether a deletion guard of that share holds so many removals
// at once, of so many sandboxes.
func GuardHolds(share float64, removals, total int) bool {
	// The small number keeps a product such as 0.29 * 100, a little less than
	// 29, from turning "exactly the share" into "more".
	return total >= guardLeast && float64(removals) > share*float64(total)+1e-9
}
