package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// observedScan is one scan in a random history and what came of it.
type observedScan struct {
	scan scan
	out  outcome
}

// drawWorld makes a few files of a few documents, some of them bad.
func drawWorld(t *rapid.T) world {
	w := world{}
	for _, file := range []string{"a.yaml", "b.yaml", "s/c.yaml", "s/d.yaml"} {
		var text strings.Builder
		for range rapid.IntRange(0, 3).Draw(t, "documents of "+file) {
			name := rapid.SampledFrom([]string{"p", "q", "r", "s", "t", "u"}).Draw(t, "name")
			version := rapid.IntRange(1, 2).Draw(t, "version")
			switch rapid.IntRange(0, 11).Draw(t, "kind") {
			case 0:
				text.WriteString(broken)
			case 1:
				text.WriteString(strings.Replace(doc(name, version), "bundle", "bndle", 1))
			default:
				text.WriteString(doc(name, version))
			}
		}
		switch rapid.IntRange(0, 11).Draw(t, "state of "+file) {
		case 0:
			w[file] = "refused"
		case 1:
			w[file] = "# nothing\n"
		default:
			if text.Len() > 0 {
				w[file] = text.String()
			}
		}
	}
	return w
}

// drawHistory runs the core through random worlds; most steps repeat the last
// world, so that things settle.
func drawHistory(t *rapid.T, r rules, confirms bool) []observedScan {
	var history []observedScan
	var st state
	at := time.Unix(1000, 0)
	w := drawWorld(t)
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		switch rapid.IntRange(0, 3).Draw(t, "step") {
		case 0:
			w = drawWorld(t)
		case 1:
			w = w.with(rapid.SampledFrom([]string{"a.yaml", "b.yaml", "s/c.yaml", "s/d.yaml"}).Draw(t, "deleted"), "")
		}
		sc := w.look(at)
		if rapid.IntRange(0, 9).Draw(t, "blocked") == 0 {
			sc.blocked = []string{"/m"}
		}
		if confirms && rapid.Bool().Draw(t, "confirm") && len(history) > 0 {
			sc.confirmed = map[string]bool{}
			for name := range history[len(history)-1].out.set.Held {
				sc.confirmed[name] = true
			}
		}
		out := decide(r, st, sc)
		history = append(history, observedScan{sc, out})
		st = out.state
		at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "tenths")) * 100 * time.Millisecond)
	}
	return history
}

func bears(sc scan, name string) bool {
	for _, f := range sc.files {
		for _, d := range f.docs {
			if d.Name == name {
				return true
			}
		}
	}
	return false
}

// settledAbsence says from first principles whether the removal of name, last
// declared by the file at p, is right after the given scans.
func settledAbsence(scans []observedScan, name, p string, settle time.Duration) error {
	last := scans[len(scans)-1].scan
	for i := len(scans) - 1; i >= 0; i-- {
		sc := scans[i].scan
		if bears(sc, name) {
			return fmt.Errorf("a document bore its name %s before", last.at.Sub(sc.at))
		}
		if len(sc.blocked) > 0 {
			return fmt.Errorf("the scan was blocked %s before", last.at.Sub(sc.at))
		}
		for _, f := range sc.files {
			if f.path == p && (f.broken || len(f.docs) == 0 || slices.ContainsFunc(f.docs, func(d Document) bool { return d.Sandbox == nil })) {
				return fmt.Errorf("its file was rejected %s before", last.at.Sub(sc.at))
			}
		}
		if last.at.Sub(sc.at) >= settle {
			return nil
		}
	}
	return fmt.Errorf("it was not absent for %s", settle)
}

// guarded says from first principles whether the guard lets go what went in the
// last 10 s: against what was declared at the moment before each of it was missed for
// good, by a look that could be sure of it.
func guarded(scans []observedScan, removedAt map[string]time.Time, r rules) error {
	for i, past := range scans[:len(scans)-1] {
		// Whose declaration of that moment is in force yet, or was when it went.
		missed, lost, total := false, 0, 0
		for name, e := range past.out.state.entries {
			_, gone := removedAt[name]
			same, away := true, true // away: it is missed from the next look on
			for _, later := range scans[i+1:] {
				l, there := later.out.state.entries[name]
				same = same && (there && l.since.Equal(e.since) || !there && gone)
				away = away && (!there || !l.absent.IsZero())
			}
			if away && !e.absent.IsZero() {
				continue // it was missed before
			}
			if !same {
				continue
			}
			total++
			if gone {
				lost++
				missed = missed || away
			}
		}
		if missed && total >= 4 && float64(lost) > r.guard*float64(total)+1e-9 {
			return fmt.Errorf("%d of %d that were declared together at step %d went within 10 s", lost, total, i)
		}
	}
	return nil
}

func TestPropertyRemovals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules{settle: time.Second, guard: rapid.SampledFrom([]float64{0, 0.3, 0.5, 1}).Draw(t, "guard")}
		confirms := rapid.Bool().Draw(t, "confirms")
		history := drawHistory(t, r, confirms)
		removedAt := map[string]time.Time{}
		for i := 1; i < len(history); i++ {
			before, now := history[i-1].out, history[i]
			removals := 0
			for name := range before.set.Sandboxes {
				if now.out.set.Sandboxes[name] != nil {
					continue
				}
				removals++
				if err := settledAbsence(history[:i+1], name, before.state.entries[name].path, r.settle); err != nil {
					t.Fatalf("step %d: %q was removed, but %v", i, name, err)
				}
			}
			maps.DeleteFunc(removedAt, func(name string, at time.Time) bool {
				return now.scan.at.Sub(at) >= 10*time.Second || now.out.set.Sandboxes[name] != nil
			})
			for name := range before.set.Sandboxes {
				if now.out.set.Sandboxes[name] == nil {
					removedAt[name] = now.scan.at
				}
			}
			if removals > 0 && !confirms {
				if err := guarded(history[:i+1], removedAt, r); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
		}
	})
}

// A sandbox changes to a version only if an accepted document says so, and
// one whose document is the only one of its name has exactly that version.
func TestPropertyVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := drawHistory(t, rules{settle: time.Second, guard: 0.5}, true)
		for i, h := range history {
			claims := map[string][]Document{}
			for _, f := range h.scan.files {
				for _, d := range f.docs {
					if d.Name != "" {
						claims[d.Name] = append(claims[d.Name], d)
					}
				}
			}
			for name, cs := range claims {
				got := h.out.set.Sandboxes[name]
				if len(cs) == 1 && cs[0].Sandbox != nil {
					if got == nil || got.Hash() != cs[0].Sandbox.Hash() {
						t.Fatalf("step %d: %q is not what its one document says", i, name)
					}
					continue
				}
				var before *Sandbox
				if i > 0 {
					before = history[i-1].out.set.Sandboxes[name]
				}
				if got != before {
					t.Fatalf("step %d: %q changed without an accepted document", i, name)
				}
			}
		}
	})
}

// The order in which files are found decides nothing, and deciding changes
// none of its arguments.
func TestPropertyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules{settle: time.Second, guard: 0.5}
		history := drawHistory(t, r, true)
		var st state
		for _, h := range history {
			sc := h.scan
			sc.files = rapid.Permutation(sc.files).Draw(t, "order")
			for range 2 {
				if got, want := dump(decide(r, st, sc)), dump(h.out); got != want {
					t.Fatalf("in another order:\n%s\nas it was:\n%s", got, want)
				}
			}
			st = h.out.state
		}
	})
}

func dump(o outcome) string {
	b, err := json.Marshal(o.set)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %v %v", b, o.wake, slices.Sorted(maps.Keys(o.state.removed)))
}
