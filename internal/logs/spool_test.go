package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A line is one entry, however it comes through the pipe.
func TestLinesAreWhole(t *testing.T) {
	l := open(t, Config{})
	id, out, errs := start(t, l, 1)
	for i := range 8000 { // more than a spool keeps
		fmt.Fprintf(out, "line %d %s\n", i, strings.Repeat("x", i%297))
		if i%100 == 0 {
			fmt.Fprint(errs, "one line ")
			fmt.Fprint(errs, "in pieces\n")
		}
	}
	if st, err := os.Stat(l.sinks[key{"web", "app"}].spool.textPath(stdout)); err != nil || st.Size() > spoolSize+batch {
		t.Errorf("the spool is %d bytes, %v", st.Size(), err)
	}
	finish(t, l, id)
	b, err := os.ReadFile(filepath.Join(l.logDir("web"), "app.log"))
	if err != nil {
		t.Fatal(err)
	}
	if split := regexp.MustCompile(`(?m)^\S+ \S+ P .*$`).FindAll(b, -1); len(split) > 0 {
		t.Errorf("%d lines are in pieces: %q", len(split), split[0])
	}
	if n := strings.Count(string(b), " stdout F line "); n != 8000 {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(string(b), " stderr F one line in pieces\n"); n != 80 {
		t.Errorf("%d lines in pieces", n)
	}
}

// What has no line's end, such as a prompt, is shown all the same.
func TestPromptIsShown(t *testing.T) {
	t.Parallel()
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	fmt.Fprint(out, "name? ")
	began := time.Now()
	until(func() bool { return read(t, l, all) != "" })
	if took := time.Since(began); took < lineTime/2 {
		t.Errorf("a line's end was waited for %v", took)
	}
	fmt.Fprint(out, "thanks\n")
	finish(t, l, id)
	if got := read(t, l, all); got != "name? thanks\n" {
		t.Errorf("read %q", got)
	}
}

// A daemon that ends within a line leaves it to the next one.
func TestLineOverARestart(t *testing.T) {
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	fmt.Fprint(out, "a line ")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, l.cfg)
	if err := l.Adopt("web", "app", id); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(out, "in pieces\n")
	finish(t, l, id)
	b, err := os.ReadFile(filepath.Join(l.logDir("web"), "app.log"))
	if err != nil || !strings.HasSuffix(string(b), " stdout F a line in pieces\n") {
		t.Errorf("the log is %q, %v", b, err)
	}
	if left, _ := filepath.Glob(filepath.Join(l.ioDir("web"), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A full state directory costs no output.
func TestOutputGoesOnWithoutASpool(t *testing.T) {
	for _, half := range []bool{false, true} {
		l := open(t, Config{})
		blocked := filepath.Join(l.ioDir("web"), "app.spool")
		if half {
			blocked += ".stdout"
		}
		if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		id, out, errs := start(t, l, 1)
		var want strings.Builder
		for i := range 1000 {
			fmt.Fprintf(out, "line %d\n", i)
			fmt.Fprintf(&want, "line %d\n", i)
		}
		fmt.Fprint(out, "no end")
		read(t, l, all)
		fmt.Fprintln(errs, "error")
		finish(t, l, id)
		if got := read(t, l, all); got != want.String()+"no enderror\n" {
			t.Errorf("read %q", got[max(0, len(got)-100):])
		}
	}
}

// What is not this boot's says nothing, least of all how long the log is.
func TestForeignSpoolIsIgnored(t *testing.T) {
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return []byte(strings.Replace(string(b), "1\n", "1\n0", 1)) },
		func(b []byte) []byte { return b[:40] },
		func(b []byte) []byte { return nil },
	} {
		l := open(t, Config{})
		id, out, _ := start(t, l, 1)
		fmt.Fprint(out, "of another boot")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		head := filepath.Join(l.ioDir("web"), "app.spool")
		b, err := os.ReadFile(head)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(head, damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		store(t, l, "app.log", "2026-01-01T00:00:01.000000000Z stdout F "+strings.Repeat("kept", 100))
		l = open(t, l.cfg)
		finish(t, l, id)
		id, out, _ = start(t, l, 2)
		fmt.Fprintln(out, "new")
		finish(t, l, id)
		if got, want := read(t, l, all), strings.Repeat("kept", 100)+"\nnew\n"; got != want {
			t.Errorf("read %q", got)
		}
	}
}

// While somebody keeps the pipes, what a container wrote outlives it and the
// daemon.
func TestKeptPipesKeepTheLastWords(t *testing.T) {
	l := open(t, Config{})
	id, out, errs := start(t, l, 1)
	kept, err := l.Readers("web", "app", id)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range kept {
		defer f.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(out, "last words")
	fmt.Fprint(errs, "last complaint\n")
	out.Close()
	errs.Close()
	l = open(t, l.cfg)
	if err := l.Adopt("web", "app", id); err != nil {
		t.Fatal(err)
	}
	finish(t, l, id)
	got := read(t, l, all)
	if got != "last wordslast complaint\n" && got != "last complaint\nlast words" {
		t.Errorf("read %q", got)
	}
	if _, err := l.Readers("web", "app", id); err == nil {
		t.Error("there are pipes after the end")
	}
	if flags, err := unix.FcntlInt(kept[0].Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("kept ends are open with %#x, %v: one that can write would keep streams from ending", flags, err)
	}
}
