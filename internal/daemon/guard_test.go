package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

// What another daemon has for itself and nobody can look at keeps no container from being
// started. Of a file system that is dead as a whole nothing is shown.
func TestLost(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"tree/dead", "tree/file", "tree/own"} {
		check(t, os.MkdirAll(at(name), 0o755))
	}
	check(t, os.Symlink("loop", at("tree/loop")))
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	check(t, err)
	check(t, unix.Mount("dead", at("tree/dead"), "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd())))
	t.Cleanup(func() { check(t, unix.Unmount(at("tree/dead"), unix.MNT_DETACH)) })
	check(t, fuse.Close())
	var things []shelf.Thing
	for name, want := range map[string]struct {
		lost   error
		silent string
	}{
		"tree/own": {}, "tree/none": {}, "tree/file/own": {},
		"tree/loop/own": {lost: unix.ELOOP},
		"tree/dead":     {lost: unix.ENOTCONN, silent: at("tree/dead")},
		"tree/dead/own": {lost: unix.ENOTCONN, silent: at("tree/dead")},
	} {
		thing := shelf.Thing{What: "the thing", Path: at(name), Hidden: true}
		if err := lost(&thing); !errors.Is(err, want.lost) || thing.Silent != want.silent {
			t.Errorf("%s: %v, %q, want %v, %q", name, err, thing.Silent, want.lost, want.silent)
		}
		if want.lost == nil || want.silent != "" {
			things = append(things, thing)
		}
	}
	ns := shelftest.New(t)
	ns.Put(t, "c.1", shelf.Guard{Things: things}, shelftest.Tree(t, at("tree"), true))
	check(t, ns.Do(t, func() error {
		if entries, err := os.ReadDir("/c.1/0/dead"); err != nil || len(entries) > 0 {
			t.Errorf("what is dead shows %v, %v", entries, err)
		}
		return nil
	}))
	var once told
	for _, want := range []bool{true, false} {
		if once.tell("it", unix.EIO) != want {
			t.Errorf("it is told of: %t", !want)
		}
	}
	if !once.tell("it", unix.ESTALE) {
		t.Error("another error is not told of")
	}
}
