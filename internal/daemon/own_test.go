package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sandboxer/observed"
)

// What is the daemon's has no other name once it has started; what containers have
// in its directories stays as it is, and so does the lock.
func TestOwnFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"data/a/twice", "data/once", "data/volumes/v/twice", "data/lock"} {
		check(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		check(t, os.WriteFile(at(name), []byte("content"), 0o640))
	}
	check(t, os.Symlink(at("data/once"), at("data/link")))
	for i, name := range []string{"data/a/twice", "data/volumes/v/twice", "data/lock"} {
		check(t, os.Link(at(name), at(string(rune('0'+i)))))
	}
	if observed.LockFile(at("data")) != at("data/lock") {
		t.Fatal("the lock is elsewhere")
	}
	// The directory itself may be a link.
	check(t, os.Symlink(at("data"), at("linked")))
	none := func(string) (bool, error) { return false, nil }
	copied, err := ownFiles(at("linked"), none, at("linked/volumes"))
	check(t, err)
	if !slices.Equal(copied, []string{at("linked/a/twice")}) {
		t.Errorf("copied: %q", copied)
	}
	check(t, os.WriteFile(at("0"), []byte("evil"), 0))
	info, err := os.Stat(at("data/a/twice"))
	check(t, err)
	if b, err := os.ReadFile(at("data/a/twice")); err != nil || string(b) != "content" || info.Mode() != 0o640 {
		t.Errorf("it holds %q, %v, %v", b, info.Mode(), err)
	}
	if again, err := ownFiles(at("data"), none, at("data/volumes")); err != nil || len(again) > 0 {
		t.Errorf("again: %q, %v", again, err)
	}
	if entries, err := os.ReadDir(at("data/a")); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// Who asks for what can be the name of no sandbox has no file touched by that:
// names become paths.
func TestNoName(t *testing.T) {
	dir := t.TempDir()
	m := memories{dir: filepath.Join(dir, "memory"), damaged: func(string, string) {}}
	check(t, os.Mkdir(m.dir, 0o700))
	file := filepath.Join(dir, "others.json")
	check(t, os.WriteFile(file, []byte(`{"a": 1}`), 0o600))
	if _, err := m.Load("../others"); !errors.Is(err, observed.ErrName) {
		t.Errorf("it said %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != `{"a": 1}` {
		t.Errorf("it holds %s, %v", b, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v", entries, err)
	}
	// Nothing of a daemon is asked: this one has nothing.
	if err := (&daemon{}).Refresh(t.Context(), "../others"); err != nil {
		t.Error(err)
	}
}
