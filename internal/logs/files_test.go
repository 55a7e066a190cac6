package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTornLineCostsOnlyItself(t *testing.T) {
	l := open(t, Config{})
	path := filepath.Join(l.cfg.DataDir, "logs/web/app.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	torn := "2026-01-02T03:04:05.000000000Z stdout F kept\n2026-01-02T03:0"
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	id, out, _ := start(t, l, 1)
	fmt.Fprintln(out, "new")
	finish(t, l, id)
	if got := read(t, l, all); got != "kept\nnew\n" {
		t.Errorf("read %q", got)
	}
}

func TestFilesAreBounded(t *testing.T) {
	const limit = 64 << 10
	l := open(t, Config{MaxFile: limit, MaxFiles: 4})
	path := filepath.Join(l.cfg.DataDir, "logs/web/app.log")
	store(t, l, "app.log.4") // of a time when more were kept
	store(t, l, "app.log.5")
	id, out, _ := start(t, l, 1)
	for i := range 20000 {
		fmt.Fprintf(out, "line %d\n", i)
	}
	finish(t, l, id)
	files, _ := filepath.Glob(path + "*")
	if want := []string{path, path + ".1", path + ".2", path + ".3"}; !slices.Equal(files, want) {
		t.Fatalf("files %v, want %v", files, want)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > limit {
			t.Errorf("%s: %v, %v", f, st.Size(), err)
		}
	}
	if got := read(t, l, Options{Tail: 2}); got != "line 19998\nline 19999\n" {
		t.Errorf("the tail is %q", got)
	}
	// What is kept has no hole, over all files.
	next := -1
	for line := range strings.Lines(read(t, l, all)) {
		var n int
		if _, err := fmt.Sscanf(line, "line %d\n", &n); err != nil || next >= 0 && n != next {
			t.Fatalf("%q where line %d should be", line, next)
		}
		next = n + 1
	}
}

// A log that somebody removes, to make room, is begun anew, and so is one that is
// renamed, with or without another in its place.
func TestRemovedLogIsBegunAnew(t *testing.T) {
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	r, ended := followed(t, l, all)
	fmt.Fprintln(out, "old")
	expect(t, r, "old\n")
	path := filepath.Join(l.logDir("web"), "app.log")
	for i, away := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Rename(path, path+"-rotated") },
		func() error { return errors.Join(os.Rename(path, path+"-rotated"), os.WriteFile(path, nil, 0o600)) },
	} {
		if err := away(); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("new %d\n", i)
		fmt.Fprint(out, line)
		expect(t, r, line)
		if got := read(t, l, all); got != line {
			t.Errorf("read %q", got)
		}
	}
	finish(t, l, id)
	if err := l.Remove("web"); err != nil {
		t.Fatal(err)
	}
	expect(t, r, "")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A crash between two renames leaves a hole in the numbers and none in the log.
func TestRotationThatWasInterrupted(t *testing.T) {
	l := open(t, Config{MaxFile: 4 << 10})
	store(t, l, "app.log.4", "2026-01-01T00:00:01.000000000Z stdout F one")
	store(t, l, "app.log.2", "2026-01-01T00:00:02.000000000Z stdout F two")
	id, out, _ := start(t, l, 1) // and the one that grows is missing
	r, ended := followed(t, l, all)
	expect(t, r, "one\n")
	expect(t, r, "two\n")
	fmt.Fprintln(out, "three")
	expect(t, r, "three\n")
	finish(t, l, id)
	if err := l.Remove("web"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
