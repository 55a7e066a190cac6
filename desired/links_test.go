package desired

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// git-sync: the manifest directory is a link that is swapped.
func TestDirectoryLinkSwapped(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("rev1")
		r.mkdir("rev2/sub")
		r.put("rev1/w.yaml", doc("web", 1))
		r.put("rev1/old.yaml", doc("old", 1))
		r.put("rev2/sub/w.yaml", doc("web", 2))
		r.link("rev1", "current")
		r.cfg.Dirs = []string{r.path("current")}
		r.start()
		r.await("web@1", "old@1")
		r.relink("rev2", "current")
		r.await("web@2")
		r.remove("rev1")
		r.put("rev2/sub/w.yaml", doc("web", 3))
		r.await("web@3")
		r.relink("nowhere", "current")
		r.await("web@3", "blocked", "!"+r.path("current"))
		r.relink("rev2", "current")
		r.await("web@3")
	})
}

// A folder that is away for less than a scan is watched as before, and one
// that stays away is watched no more.
func TestDirectoryWatches(t *testing.T) {
	r := newRig(t, false)
	r.mkdir("m/s")
	r.put("m/s/w.yaml", doc("web", 1))
	r.start()
	r.await("web@1")
	for i := 2; i < 40; i++ {
		r.rename("m/s", "m/.away")
		r.rename("m/.away", "m/s")
		r.put("m/s/w.yaml", doc("web", i))
		r.await(fmt.Sprintf("web@%d", i))
	}
	watched := func(dir string) (known, told bool) {
		w := r.d.scanner.watch
		w.mu.Lock()
		defer w.mu.Unlock()
		_, known = w.dirs[r.path(dir)]
		return known, slices.Contains(w.fs.WatchList(), r.path(dir))
	}
	r.rename("m/s", "s")
	r.await()
	if known, told := watched("m/s"); known || told {
		t.Errorf("a folder that is gone is watched: %v, %v", known, told)
	}
}

// A parent of the manifest directory is moved away and another put there.
func TestDirectoryParentSwapped(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("p/m")
		r.mkdir("q/m")
		r.put("p/m/w.yaml", doc("web", 1))
		r.put("q/m/w.yaml", doc("web", 2))
		r.cfg.Dirs = []string{r.path("p/m")}
		r.start()
		r.await("web@1")
		r.rename("p", "old")
		r.await("web@1", "blocked", "!"+r.path("p/m"))
		r.rename("q", "p")
		r.await("web@2")
		r.put("p/m/w.yaml", doc("web", 3))
		r.await("web@3")
		r.put("old/m/w.yaml", doc("web", 4))
		r.must(unix.Renameat2(unix.AT_FDCWD, r.path("p"), unix.AT_FDCWD, r.path("old"), unix.RENAME_EXCHANGE))
		r.await("web@4")
		r.put("p/m/w.yaml", doc("web", 5))
		r.await("web@5")
	})
}

// A ConfigMap: each file is a link through ..data, which is swapped.
func TestDirectoryConfigMap(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for i, dir := range []string{"m/..t1", "m/..t2"} {
			r.mkdir(dir)
			r.put(dir+"/w.yaml", doc("web", i+1))
			r.put(dir+"/db.yaml", doc("db", i+1))
		}
		r.link("..t1", "m/..data")
		r.link("..data/w.yaml", "m/w.yaml")
		r.link("..data/db.yaml", "m/db.yaml")
		r.start()
		r.await("web@1", "db@1")
		r.relink("..t2", "m/..data")
		r.remove("m/..t1")
		r.await("web@2", "db@2")
	})
}

// Links out of the directory: to files, to folders, through other links.
func TestDirectoryLinksOut(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("out/deep")
		r.put("out/w", doc("web", 1))
		r.put("out/deep/db.yaml", doc("db", 1))
		r.link("out", "hop")
		r.link("../hop/w", "m/w.yaml")
		r.link(r.path("hop/deep"), "m/deep")
		r.start()
		r.await("web@1", "db@1")
		r.write(r.path("out/w"), doc("web", 2))
		r.await("web@2", "db@1")
		r.put("out/w", doc("web", 3))
		r.put("out/deep/db.yaml", doc("db", 2))
		r.await("web@3", "db@2")
		r.mkdir("other/deep")
		r.put("other/w", doc("web", 4))
		r.put("other/deep/db.yaml", doc("db", 4))
		r.relink("other", "hop")
		r.await("web@4", "db@4")
		// A target that is gone may be coming back: nothing is removed.
		r.remove("other/w")
		s := r.await("web@4", "db@4", "blocked", "!w.yaml")
		wantMessage(t, s.Problems, "w.yaml", "the target of the symbolic link does not exist")
		r.remove("m/w.yaml")
		r.await("db@4")
	})
}

func TestDirectoryLinkCycles(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.mkdir("m/a")
		r.put("m/a/w.yaml", doc("web", 1))
		r.link(".", "m/here")
		r.link("..", "m/a/up")
		r.link("/", "m/all")
		r.link("loop.yaml", "m/loop.yaml")
		r.link("a", "m/z") // no cycle, but the same folder again
		r.must(os.Link(r.path("m/a/w.yaml"), r.path("m/a/x.yaml")))
		r.start()
		s := r.await("web@1", "!here", "!a/up", "!all", "!loop.yaml")
		wantMessage(t, s.Problems, "here", "a cycle of symbolic links: it leads back to "+r.path("m"))
		wantMessage(t, s.Problems, "loop.yaml", "a cycle of symbolic links")
		wantMessage(t, s.Skipped, "z", "the same folder as a")
		wantMessage(t, s.Skipped, "a/x.yaml", "the same file as a/w.yaml")
		// Nothing of it holds up what is certain.
		r.put("m/db.yaml", doc("db", 1))
		r.await("web@1", "db@1", "!here", "!a/up", "!all", "!loop.yaml")
		r.remove("m/db.yaml")
		r.await("web@1", "!here", "!a/up", "!all", "!loop.yaml")
	})
}
