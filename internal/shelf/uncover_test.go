package shelf_test

import (
	"os"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

// mounts are those of a namespace.
func mounts(t *testing.T, ns shelftest.Namespace) (all []mountinfo.Mount) {
	t.Helper()
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(proc)
	check(t, ns.Do(t, func() (err error) {
		all, err = mountinfo.ReadIn(proc)
		return err
	}))
	return all
}

func look(t *testing.T, g shelf.Guard) *shelf.Look {
	t.Helper()
	l, err := g.Look()
	check(t, err)
	return l
}

// What was covered by somebody who was not sure of it is taken away again, but for what
// others need, and for what they have covered themselves.
func TestUncover(t *testing.T) {
	h := newHost(t, "a/own/secret", "b/own/secret", "c/own/secret", "d/file", "e/file")
	ns := shelftest.New(t)
	root := ns.Put(t, "c.1", shelf.Guard{}, shelftest.Tree(t, h.dir, false))
	cover(t, ns, h.hidden("b/own"))
	ours := h.hidden("a/own", "b/own", "c/own", "d/late", "e/late")
	_, err := shelf.Cover(ns, look(t, ours).Noting("us"))
	check(t, err)
	shows := func(when string, want map[string]bool) {
		t.Helper()
		got := map[string]bool{}
		check(t, as(t, ns, root, func() error {
			for _, name := range []string{"a", "b", "c"} {
				_, err := os.Lstat("/0/" + name + "/own/secret")
				got[name] = err == nil
			}
			for _, name := range []string{"d", "e"} {
				err := os.WriteFile("/0/"+name+"/new", nil, 0o600)
				got[name] = err == nil
			}
			return nil
		}))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	none := map[string]bool{"a": false, "b": false, "c": false, "d": false, "e": false}
	shows("covered", none)
	check(t, shelf.Uncover(ns, "another", look(t, shelf.Guard{})))
	shows("uncovered by another", none)
	check(t, shelf.Uncover(ns, "us", look(t, h.hidden("c/own", "e/late"))))
	shows("uncovered", map[string]bool{"a": true, "b": false, "c": false, "d": true, "e": false})
	check(t, shelf.Uncover(ns, "us", look(t, shelf.Guard{})))
	shows("and again", map[string]bool{"a": true, "b": false, "c": false, "d": true, "e": false})
	cover(t, ns, ours)
	shows("covered once more", none)
}

// What can't be covered is found with nothing covered.
func TestExposes(t *testing.T) {
	h := newHost(t, "own/in/secret", "own/late/x", "etc/config")
	g := h.hidden("own", "etc/config", "etc/none")
	g.Things[1].Replaced = true
	ns := shelftest.New(t)
	ns.Put(t, "c.1", shelf.Guard{}, shelftest.Tree(t, h.dir, false), shelftest.Tree(t, h.at("own/in"), false), shelftest.Tree(t, h.at("etc"), false))
	before := mounts(t, ns)
	dry, err := shelf.Exposes(ns, look(t, g))
	check(t, err)
	if after := mounts(t, ns); !reflect.DeepEqual(before, after) {
		t.Errorf("mounts changed: %v became %v", before, after)
	}
	real, err := shelf.Cover(ns, look(t, g))
	check(t, err)
	if len(dry) < 3 || !reflect.DeepEqual(dry, real) {
		t.Errorf("exposed is %v, and %v when covered", dry, real)
	}
}
