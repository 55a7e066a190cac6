package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// settled returns once what was missed before has counted, if it does.
func (r *rig) settled(want ...string) {
	r.t.Helper()
	r.put("m/zz.yaml", doc("zz", 1))
	r.await(append(want, "zz@1")...)
	r.remove("m/zz.yaml")
	r.await(want...)
}

// Who may not declare may not end either: what was accepted from a folder is held
// while that is refused, whatever is done in it, and also by the next daemon.
func TestRefusedFolderHolds(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.cfg.DeletionGuard = 1
		r.mkdir("m/team/sub")
		r.put("m/team/a.yaml", doc("a", 1))
		r.put("m/team/b.yaml", doc("b", 1))
		r.put("m/team/sub/c.yaml", doc("c", 1))
		r.start()
		r.await("a@1", "b@1", "c@1")
		r.must(os.Chmod(r.path("m/team"), 0o777))
		all := []string{"a@1", "b@1", "c@1", "!team"}
		s := r.await(all...)
		for _, name := range []string{"a", "b", "c"} {
			if list := s.ProblemsOf(name); len(list) != 1 || !strings.Contains(list[0].Message, "refused: the folder ") {
				t.Errorf("%s: %v", name, list)
			}
		}
		r.remove("m/team/a.yaml")
		r.rename("m/team/b.yaml", "m/team/other.txt")
		r.remove("m/team/sub") // its parent is refused
		r.settled(all...)
		r.stop()
		r.start()
		r.settled(all...)
		// It counts again where it is trusted again, and root's removal of all of it does.
		r.rename("m/team/other.txt", "m/team/b.yaml")
		r.must(os.Chmod(r.path("m/team"), 0o755))
		r.await("b@1")
		r.must(os.Chmod(r.path("m/team"), 0o777))
		r.await("b@1", "!team")
		r.remove("m/team")
		r.await()
	})
}

// Nor does who owns what a link leads to end anything: not with another thing in its
// place, and not with a file that is declared elsewhere, which counts all the same.
func TestRefusedTargetHolds(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.cfg.DeletionGuard = 1
		r.mkdir("out/d")
		r.put("out/d/a.yaml", doc("a", 1))
		r.put("out/l.yaml", doc("l", 1))
		r.put("m/w.yaml", doc("web", 1))
		r.mkdir("m/..t1")
		r.put("m/..t1/c.yaml", doc("c", 1))
		r.link("..t1", "m/..data")
		r.link("..data/c.yaml", "m/c.yaml")
		r.link("../out/d", "m/d")
		r.link("../out/l.yaml", "m/l.yaml")
		r.start()
		r.await("a@1", "l@1", "web@1", "c@1")
		r.must(os.Chmod(r.path("out"), 0o777))
		r.must(os.Chmod(r.path("m/..t1"), 0o777))
		all := []string{"a@1", "l@1", "web@1", "c@1"}
		r.await(append(all, "!d", "!l.yaml", "!c.yaml")...)
		r.remove("out/d")
		r.write(r.path("out/d"), "no folder any more")
		r.relink("../m/w.yaml", "out/l.yaml")
		r.settled(append(all, "!c.yaml", "!l.yaml")...)
		r.remove("out/d")
		r.link("../m", "out/d")
		r.settled(append(all, "!c.yaml", "!l.yaml", "!d")...)
		// Nor with none: then nothing counts as absent.
		r.remove("m/..t1/c.yaml")
		r.await(append(all, "!c.yaml", "!l.yaml", "!d", "blocked")...)
	})
}

// A container that can write a folder ends nothing by what it removes there.
func TestReachableFolderHolds(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("out")
		r.put("out/s.yaml", doc("s", 1))
		r.link("../out", "m/sub")
		var writes atomic.Bool
		r.cfg.Reach = func() Reach {
			return func(real string, _ fs.FileInfo, _ bool) error {
				if writes.Load() && within(real, r.path("out")) {
					return errors.New("a container wrote it")
				}
				return nil
			}
		}
		r.start()
		r.await("s@1")
		writes.Store(true)
		r.d.Rescan()
		r.await("s@1", "!sub")
		r.remove("out/s.yaml")
		r.settled("s@1", "!sub")
	})
}

// What is below a refused folder is neither looked at nor watched, wherever links
// in it lead, and is one problem however much it is.
func TestRefusedFolderCosts(t *testing.T) {
	r := newRig(t, false)
	r.mkdir("out/deep")
	r.mkdir("m/team/sub")
	for i := range 200 {
		r.put(fmt.Sprintf("m/team/%d.yaml", i), "no")
	}
	r.link("../../out", "m/team/x")
	r.must(os.Chmod(r.path("m/team"), 0o777))
	r.start()
	s := r.await("!team")
	if len(s.Problems) != 1 || len(s.Skipped) > 0 {
		t.Errorf("%v, %v", s.Problems, s.Skipped)
	}
	for _, dir := range r.d.scanner.watch.fs.WatchList() {
		if within(dir, r.path("m/team")) || within(dir, r.path("out")) {
			t.Errorf("%s is watched", dir)
		}
	}
}

// However many files of a folder are wrong, so many are told of.
func TestProblemsBounded(t *testing.T) {
	r := newRig(t, false)
	r.mkdir("m/s")
	for i := range mostProblems + 7 {
		r.write(r.path(fmt.Sprintf("m/s/%d.yaml", i)), "no")
	}
	r.write(r.path("m/s/web.yaml"), doc("web", -1))
	r.start()
	for r.d.Set() == nil {
		<-r.changed
	}
	s := r.d.Set()
	if len(s.Problems) != mostProblems+2 || len(s.ProblemsOf("web")) != 1 {
		t.Errorf("%d problems, %v", len(s.Problems), s.ProblemsOf("web"))
	}
	wantMessage(t, s.Problems, "s", "and 7 more problems in this folder")
	if all := ReadDir([]string{r.path("m")}, nil); len(all.Problems) != mostProblems+8 {
		t.Errorf("validate tells of %d", len(all.Problems))
	}
}
