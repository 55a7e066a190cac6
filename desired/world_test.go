package desired

import (
	"fmt"
	"hash/fnv"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// world is a directory tree as a scan finds it: content by path below /m.
type world map[string]string

// doc is a document that declares name; version makes it another one.
func doc(name string, version int) string {
	return fmt.Sprintf("---\napiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: %s}\nspec: {terminationGracePeriodSeconds: %d, containers: [{name: a, bundle: /b}]}\n", name, version)
}

const broken = "---\napiVersion: sandboxer/v1\nkind: Sandbox\nspec: [\n"

// look makes the scan that a real one of w would be. Stamps follow content.
func (w world) look(at time.Time) scan {
	mark := func(s string) stamp {
		h := fnv.New64()
		h.Write([]byte(s))
		return stamp{ino: h.Sum64()}
	}
	sc := scan{at: at, folders: map[string]stamp{}}
	lists := map[string]string{"/m": ""}
	for _, p := range slices.Sorted(maps.Keys(w)) {
		full := path.Join("/m", p)
		lists[path.Dir(full)] += p + "\n"
		f := file{path: full, shown: p, stamp: mark(w[p])}
		if w[p] == "refused" {
			f.broken = true
			sc.problems = append(sc.problems, Problem{File: p, Message: "refused"})
		} else {
			f.docs = Decode(p, []byte(w[p]))
		}
		sc.files = append(sc.files, f)
	}
	for dir, list := range lists {
		sc.folders[dir] = mark(list)
	}
	return sc
}

func (w world) with(p, content string) world {
	out := maps.Clone(w)
	if content == "" {
		delete(out, p)
	} else {
		out[p] = content
	}
	return out
}

// moment is one scan and what it must lead to.
type moment struct {
	at      int // tenths of a second
	world   world
	blocked bool
	confirm []string
	want    string
}

// show writes all of an outcome that matters: name@version, then what waits,
// what is held, whether something is due, and the problems' files.
func show(o outcome, start time.Time) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(o.set.Sandboxes)) {
		s := o.set.Sandboxes[name]
		word := fmt.Sprintf("%s@%d", name, *s.Spec.TerminationGracePeriodSeconds)
		if due, ok := o.set.Pending[name]; ok {
			word += fmt.Sprintf("(due %d)", due.Sub(start)/(100*time.Millisecond))
		}
		if o.set.Held[name] != "" {
			word += "(held)"
		}
		parts = append(parts, word)
	}
	for _, p := range o.set.Problems {
		word := "!" + p.File
		if p.Name != "" {
			word += "=" + p.Name
		}
		parts = append(parts, word)
	}
	if o.set.Blocked != "" {
		parts = append(parts, "blocked")
	}
	if !o.wake.IsZero() {
		parts = append(parts, fmt.Sprintf("wake %d", o.wake.Sub(start)/(100*time.Millisecond)))
	}
	return strings.Join(parts, " ")
}
