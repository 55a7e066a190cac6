package desired

import "time"

const (
	// guardWindow is how long a removal counts after it was carried out.
	guardWindow = 10 * time.Second
	// guardLeast is the number of sandboxes below which removing most of them
	// is an ordinary thing to do.
	guardLeast = 4
)

// remove carries out the removals that have settled, unless together with
// the others that wait and those of the last window they would take away too
// much: then all that wait are held.
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
	hold := fresh && s.tooMany(len(waiting)+len(s.next.removed), len(s.next.entries)+len(s.next.removed))
	for _, name := range waiting {
		e := s.next.entries[name]
		e.held = e.held || hold
		s.next.entries[name] = e
		switch {
		case e.held && !e.confirmed:
		case due(e):
			delete(s.next.entries, name)
			if !e.confirmed { // what was confirmed stands against nothing that comes next
				s.next.removed[name] = s.at
			}
		default:
			s.wakeAt(e.absent.Add(s.settle))
		}
	}
}

// tooMany applies the guard's ratio to the removals and what there was before
// any of them.
func (r rules) tooMany(removals, total int) bool {
	// The small number keeps a product such as 0.29 * 100, a little less than
	// 29, from turning "exactly the ratio" into "more".
	return total >= guardLeast && float64(removals) > r.guard*float64(total)+1e-9
}
