package desired

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr/funcr"
)

func TestDirectoryFollowsFiles(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/w.yaml", doc("web", 1))
		r.start()
		if s := r.await("web@1"); s.Sandboxes["web"].Source != "w.yaml" {
			t.Errorf("source %q", s.Sandboxes["web"].Source)
		}
		r.put("m/w.yaml", doc("web", 2))
		r.await("web@2")
		r.write(r.path("m/w.yaml"), doc("web", 3)) // in place
		r.await("web@3")
		r.put("m/w.yaml", doc("web", 4)+broken)
		r.await("web@4", "!w.yaml")
		r.put("m/w.yaml", broken)
		r.await("web@4", "!w.yaml")
		r.put("m/j.json", `{"apiVersion":"sandboxer/v1","kind":"Sandbox","metadata":{"name":"j"},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"a","bundle":"/b"}]}}`)
		r.put("m/y.yml", doc("y", 1))
		r.await("web@4", "!w.yaml", "j@1", "y@1")
		r.remove("m/w.yaml")
		r.remove("m/j.json")
		r.await("y@1")
	})
}

func TestDirectorySubfolders(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.start()
		r.await()
		r.mkdir("m/a/b")
		r.put("m/a/b/w.yaml", doc("web", 1))
		r.await("web@1")
		r.put("m/a/b/w.yaml", doc("web", 2))
		r.await("web@2")
		r.mkdir("new/c")
		r.put("new/c/db.yaml", doc("db", 1))
		r.rename("new", "m/new") // a whole tree at once
		if s := r.await("web@2", "db@1"); s.Sandboxes["db"].Source != "new/c/db.yaml" {
			t.Errorf("source %q", s.Sandboxes["db"].Source)
		}
		r.put("m/new/c/db.yaml", doc("db", 2))
		r.await("web@2", "db@2")
		r.remove("m/a")
		r.await("db@2")
		r.mkdir("m/a") // with the same name, perhaps the same inode
		r.put("m/a/w.yaml", doc("web", 3))
		r.await("db@2", "web@3")
	})
}

func TestDirectoryMissing(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.remove("m")
		r.cfg.Dirs = []string{r.path("x/y/m")}
		r.start()
		s := r.await("blocked", "!"+r.path("x/y/m"))
		if want := r.path("x/y/m") + ": does not exist"; s.Blocked != want || s.Hold("any") != want {
			t.Errorf("blocked %q, hold %q", s.Blocked, s.Hold("any"))
		}
		r.mkdir("x/y/m")
		r.await()
		r.put("x/y/m/w.yaml", doc("web", 1))
		r.await("web@1")
		r.rename("x/y/m", "x/y/away")
		r.await("web@1", "blocked", "!"+r.path("x/y/m"))
		r.rename("x/y/away", "x/y/m")
		r.await("web@1")
		r.put("x/y/m/w.yaml", doc("web", 2))
		r.await("web@2")
		r.remove("x")
		r.write(r.path("x"), "no folder")
		r.await("web@2", "blocked", "!"+r.path("x/y/m"))
	})
}

func TestDirectoryIgnoresTemporaryFiles(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		names := []string{"w.yaml~", "4913", "#w.yaml#", "w.yaml.backup", ".w.yaml.swp", ".w.yaml.Xa81", "w.yaml.rpmsave", "README"}
		for _, name := range names {
			r.write(r.path("m/"+name), doc("web", 9))
		}
		r.mkdir("m/.git")
		r.write(r.path("m/.git/w.yaml"), doc("web", 9))
		r.put("m/w.yaml", doc("web", 1))
		s := r.start().await("web@1")
		for _, name := range append(names, ".git") {
			wantMessage(t, s.Skipped, name, "its name ")
		}
		// vim: the old file aside, the new one in its place.
		r.rename("m/w.yaml", "m/w.yaml~")
		r.write(r.path("m/w.yaml"), doc("web", 2))
		r.await("web@2")
	})
}

func TestDirectoryOddFiles(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.must(syscall.Mkfifo(r.path("m/pipe.yaml"), 0o644)) // must not hang
		r.write(r.path("m/big.yaml"), strings.Repeat("# much\n", MaxFileSize/7+1))
		r.write(r.path("m/empty.yaml"), "# nothing\n")
		r.link("pipe.yaml", "m/link.yaml")
		s := r.start().await("!pipe.yaml", "!big.yaml", "!empty.yaml", "!link.yaml")
		wantMessage(t, s.Problems, "pipe.yaml", "not a regular file")
		wantMessage(t, s.Problems, "big.yaml", "too large")
		wantMessage(t, s.Problems, "empty.yaml", "delete the file")
	})
}

func TestDirectoryDuplicates(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.put("m/a.yaml", doc("web", 1))
		r.start()
		r.await("web@1")
		r.put("m/b.yaml", doc("web", 2))
		s := r.await("web@1", "!a.yaml", "!b.yaml")
		wantMessage(t, s.Problems, "a.yaml", "also in b.yaml:4")
		wantMessage(t, s.Problems, "b.yaml", "also in a.yaml:4")
		r.remove("m/a.yaml")
		r.await("web@2")
	})
}

func TestDirectorySeveral(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("n")
		r.cfg.Dirs = append(r.cfg.Dirs, r.path("n"))
		r.put("m/w.yaml", doc("web", 1))
		r.put("n/w.yaml", doc("db", 1))
		r.start()
		if s := r.await("web@1", "db@1"); s.Sandboxes["db"].Source != r.path("n/w.yaml") {
			t.Errorf("source %q", s.Sandboxes["db"].Source)
		}
		r.rename("m", "away") // one that is missing holds what is in the other
		r.remove("n/w.yaml")
		s := r.await("web@1", "db@1", "blocked", "!"+r.path("m"))
		if len(s.Pending) > 0 {
			t.Errorf("pending %v", s.Pending)
		}
		r.rename("away", "m")
		r.await("web@1")
	})
}

func TestDirectoryGuard(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		var all []string
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.put("m/"+name+".yaml", doc(name, 1))
			all = append(all, name+"@1")
		}
		r.start()
		r.await(all...)
		if got, others := r.d.ConfirmDeletions(); len(got)+len(others) > 0 {
			t.Errorf("confirmed %v with nothing held; others: %v", got, others)
		}
		r.rename("m", "away")
		r.mkdir("m") // an emptied repository
		held := append(slices.Clone(all), "a(held)", "b(held)", "c(held)", "d(held)", "e(held)")
		s := r.await(held...)
		if !strings.Contains(s.Held["a"], "5 of 5 sandboxes (a, b, c, d, e)") || !strings.Contains(s.Held["a"], "confirm-deletions") {
			t.Errorf("held because %q", s.Held["a"])
		}
		r.stop()
		r.start() // which the next daemon knows, too
		r.await(held...)
		r.rename("away/e.yaml", "m/e.yaml")
		r.await(append(slices.Clone(all), "a(held)", "b(held)", "c(held)", "d(held)")...)
		got, others := r.d.ConfirmDeletions("d", "e", "d", "no")
		if !slices.Equal(got, []string{"d"}) || !slices.Equal(others, []string{"e", "no"}) {
			t.Errorf("confirmed %v; others: %v", got, others)
		}
		s = r.await("a@1", "a(held)", "b@1", "b(held)", "c@1", "c(held)", "e@1")
		if !strings.Contains(s.Held["a"], "3 of 4 sandboxes (a, b, c)") {
			t.Errorf("held because %q", s.Held["a"])
		}
		if got, _ := r.d.ConfirmDeletions(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("confirmed %v", got)
		}
		r.await("e@1")
	})
}

// What was held at once is one line of the log, which says how many it is.
func TestHeldAtOnceIsOneLine(t *testing.T) {
	var lines []string
	d := &Directory{cfg: Config{Log: funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})}}
	held := func(why string, names ...string) map[string]string {
		all := map[string]string{}
		for _, n := range names {
			all[n] = why
		}
		return all
	}
	first := &Set{Held: held("3 of 3 sandboxes", "a", "b", "c")}
	d.report(nil, first)
	d.report(first, first)
	more := &Set{Held: held("4 of 4 sandboxes", "a", "b", "c", "d")}
	d.report(first, more)
	if len(lines) != 2 || !strings.Contains(lines[0], `"sandboxes"=3`) || !strings.Contains(lines[1], `"sandboxes"=1 "reason"="4 of 4 sandboxes"`) {
		t.Errorf("the log is %q", lines)
	}
}
