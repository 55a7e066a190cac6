package owner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(err)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(os.Mkdir(at("d"), 0o755))
	must(os.Mkdir(at("links"), 0o755))
	must(os.WriteFile(at("d/f"), nil, 0o644))
	must(os.Symlink("../d", at("links/to")))
	must(os.MkdirAll(at("above/between/d"), 0o755))
	must(os.WriteFile(at("above/between/d/f"), nil, 0o644))
	must(os.Symlink("../../d", at("above/between/to")))
	for _, path := range []string{at("d/f"), at("d"), at("links/to/f"), at("links/to"), at("above/between/d/f"), at("above/between/to/f")} {
		must(Check(path))
	}
	// Where nobody moves what is another's, others may have things of their own.
	must(os.Chmod(at("above"), 0o777|os.ModeSticky))
	must(Check(at("above/between/d/f")))
	must(os.Chmod(at("above"), 0o755))
	checkAll := func(path string) error {
		if err := Check(path); err != nil {
			return err
		}
		f, err := os.Open(path)
		must(err)
		defer f.Close()
		return errors.Join(CheckOpened(f, path), CheckIn(f, path))
	}
	must(checkAll(at("d")))
	opened, err := os.Open(at("d/f"))
	must(err)
	defer opened.Close()
	for _, c := range []struct{ do, undo func() error }{
		{func() error { return os.Chmod(at("d/f"), 0o646) }, func() error { return os.Chmod(at("d/f"), 0o644) }},
		{func() error { return os.Chown(at("d"), 4711, 0) }, func() error { return os.Chown(at("d"), 0, 0) }},
	} {
		must(CheckOpened(opened, at("d/f")))
		must(c.do())
		if CheckOpened(opened, at("d/f")) == nil {
			t.Error("what others can write, and is open, is believed")
		}
		must(c.undo())
	}
	for _, c := range []struct {
		do, undo func() error
		path     string
		all      bool
		want     string
	}{
		{func() error { return os.Chmod(at("d/f"), 0o646) }, func() error { return os.Chmod(at("d/f"), 0o644) }, "d/f", false, "can be written by everybody (mode 0646)"},
		{func() error { return os.Chmod(at("d/f"), 0o664) }, func() error { return os.Chmod(at("d/f"), 0o644) }, "links/to/f", false, "can be written by group 0"},
		{func() error { return os.Chown(at("d/f"), 4711, 0) }, func() error { return os.Chown(at("d/f"), 0, 0) }, "d/f", false, "belongs to user 4711"},
		{func() error { return os.Chown(at("d"), 4711, 0) }, func() error { return os.Chown(at("d"), 0, 0) }, "d/f", false, "the folder " + at("d") + " belongs to user 4711"},
		{func() error { return os.Chmod(at("links"), 0o777) }, func() error { return os.Chmod(at("links"), 0o755) }, "links/to/f", false, "the folder " + at("links") + " can be written by everybody"},
		{func() error { return os.Chmod(at("above"), 0o777) }, func() error { return os.Chmod(at("above"), 0o755) }, "above/between/d/f", false, "the folder " + at("above") + " can be written by everybody"},
		{func() error { return os.Chown(at("above"), 4711, 0) }, func() error { return os.Chown(at("above"), 0, 0) }, "above/between/d", false, "the folder " + at("above") + " belongs to user 4711"},
		{func() error { return os.Chown(at("above"), 4711, 0) }, func() error { return os.Chown(at("above"), 0, 0) }, "above/between/d", true, "the folder " + at("above") + " belongs to user 4711"},
		{func() error { return os.Chmod(at("above"), 0o777) }, func() error { return os.Chmod(at("above"), 0o755) }, "above/between/to/f", false, "the folder " + at("above") + " can be written by everybody"},
		{func() error {
			return errors.Join(os.Chmod(at("above"), 0o777|os.ModeSticky), os.Chown(at("above"), 4711, 0))
		}, func() error { return errors.Join(os.Chown(at("above"), 0, 0), os.Chmod(at("above"), 0o755)) }, "above/between/d/f", false, "the folder " + at("above") + " belongs to user 4711"},
		{func() error { return os.Chmod(at("d"), 0o777|os.ModeSticky) }, func() error { return os.Chmod(at("d"), 0o755) }, "d/f", false, "the folder " + at("d") + " can be written by everybody"},
		{func() error { return os.Chown(at("d/f"), 4711, 0) }, func() error { return os.Chown(at("d/f"), 0, 0) }, "d", true, "belongs to user 4711"},
		{func() error { return os.Symlink("f", at("d/link")) }, func() error { return os.Remove(at("d/link")) }, "d", true, "is not a regular file"},
		{func() error { return unix.Mkfifo(at("d/pipe"), 0o600) }, func() error { return os.Remove(at("d/pipe")) }, "links/to", true, "is not a regular file"},
	} {
		must(c.do())
		check := Check
		if c.all {
			check = checkAll
		}
		if err := check(at(c.path)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
		must(c.undo())
	}
	if err := Check(at("none")); !os.IsNotExist(err) {
		t.Errorf("what is not there: %v", err)
	}
	must(os.Symlink("loop", at("loop")))
	if err := Check(at("loop")); err == nil {
		t.Error("a link to itself")
	}
}
