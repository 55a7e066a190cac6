package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// store writes a log file of the given lines.
func store(t *testing.T, l *Logs, name string, lines ...string) {
	t.Helper()
	path := filepath.Join(l.cfg.DataDir, "logs/web", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadOptions(t *testing.T) {
	l := open(t, Config{})
	store(t, l, "app.log.1",
		"2026-01-01T00:00:01.000000000Z stdout F one",
		"2026-01-01T00:00:02.000000000Z stdout P tw")
	store(t, l, "app.log",
		"2026-01-01T00:00:03.000000000Z stderr F three",
		"what is this",
		"2026-01-01T00:00:04.000000000Z stdin F no such stream",
		"yesterday stdout F no time",
		"2026-01-01T00:00:04.000000000Z stdout X no such tag",
		strings.Repeat("far too long ", maxPiece),
		"2026-01-01T00:00:05.000000000Z stdout F o",
		"2026-01-01T00:00:06.000000000Z stdout F ",
		"2026-01-01T00:00:07.000000000Z stderr P open")
	over := make(chan struct{})
	close(over)
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"everything", Options{Tail: All}, "one\ntwthree\no\n\nopen"},
		{"nothing", Options{Tail: 0}, ""},
		{"the open line counts", Options{Tail: 1}, "open"},
		{"an empty line counts", Options{Tail: 2}, "\nopen"},
		{"a line split over files is one", Options{Tail: 4}, "twthree\no\n\nopen"},
		{"more than there are", Options{Tail: 1000}, "one\ntwthree\no\n\nopen"},
		{"since", Options{Tail: All, Since: at(3)}, "three\n\nopen"},
		{"since is inclusive, and tail counts what is left", Options{Tail: 2, Since: at(6)}, "\nopen"},
		{"since the future", Options{Tail: All, Since: at(60)}, ""},
		{"timestamps", Options{Tail: All, Timestamps: true}, "" +
			"2026-01-01T00:00:01.000000000Z one\n" +
			"2026-01-01T00:00:02.000000000Z tw\n" +
			"2026-01-01T00:00:03.000000000Z three\n" +
			"2026-01-01T00:00:05.000000000Z o\n" +
			"2026-01-01T00:00:06.000000000Z \n" +
			"2026-01-01T00:00:07.000000000Z open"},
		{"following what is over ends", Options{Tail: All, Follow: true, Until: over}, "one\ntwthree\no\n\nopen"},
		{"entries", Options{Tail: 2, Entries: true}, "" +
			"2026-01-01T00:00:06.000000000Z stdout F \n" +
			"2026-01-01T00:00:07.000000000Z stderr P open\n"},
		{"after", Options{Tail: All, After: "2026-01-01T00:00:03.000000000Z"}, "o\n\nopen"},
		{"after what is not there", Options{Tail: All, After: "2026-01-01T00:00:05.000000001Z"}, "\nopen"},
		{"after all", Options{Tail: All, After: "2026-01-01T00:00:07.000000000Z"}, ""},
		{"after what was rotated away", Options{Tail: All, After: "2026-01-01T00:00:00.000000000Z"},
			"[sandboxer] " + tooSlow + "\none\ntwthree\no\n\nopen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(t, l, c.o); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// Who goes on after an entry gets what follows it, once, also where the host's clock
// was put back before it or after it.
func TestReadAfterTheClockWasPutBack(t *testing.T) {
	l := open(t, Config{})
	store(t, l, "app.log.1",
		"2027-01-01T00:00:01.000000000Z stdout F one",
		"2027-01-01T00:00:02.000000000Z stdout F two")
	store(t, l, "app.log",
		"2026-01-01T00:00:01.000000000Z stdout F three",
		"2026-01-01T00:00:02.000000000Z stdout F four")
	for after, want := range map[string]string{
		"2027-01-01T00:00:01.000000000Z": "two\nthree\nfour\n",
		"2027-01-01T00:00:02.000000000Z": "three\nfour\n",
		"2026-01-01T00:00:01.000000000Z": "four\n",
		"2026-01-01T00:00:02.000000000Z": "",
	} {
		if got := read(t, l, Options{Tail: All, After: after}); got != want {
			t.Errorf("after %s: %q, want %q", after, got, want)
		}
		lines := min(1, strings.Count(want, "\n"))
		if got := read(t, l, Options{Tail: 1, After: after}); strings.Count(got, "\n") != lines || !strings.HasSuffix(want, got) {
			t.Errorf("the last line after %s: %q", after, got)
		}
	}
}

// What a container wrote before the call is read, also while it is on its way.
func TestReadHasAllThatWasWritten(t *testing.T) {
	l := open(t, Config{})
	_, out, errs := start(t, l, 1)
	for i := range 100 {
		n := 1 + i%(300<<10)*97
		fmt.Fprint(out, strings.Repeat("o", n), "\n")
		fmt.Fprint(errs, "e\n")
		got := read(t, l, Options{Tail: 2})
		if !strings.Contains(got, strings.Repeat("o", n)+"\n") || !strings.Contains(got, "e\n") {
			t.Fatalf("round %d: read %d bytes", i, len(got))
		}
	}
}

func TestPrevious(t *testing.T) {
	l := open(t, Config{MaxFile: 4 << 10, MaxFiles: 2})
	previous := func() (string, error) {
		var b bytes.Buffer
		err := l.Read(t.Context(), "web", "app", Options{Tail: All, Previous: true}, &b)
		return b.String(), err
	}
	if _, err := previous(); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("of a container that never ran: %v", err)
	}
	for n := range 4 {
		id, out, errs := start(t, l, n+1)
		got, err := previous()
		switch {
		case n == 0 && !errors.Is(err, ErrNoPrevious):
			t.Errorf("during the first run: %q, %v", got, err)
		case n > 0 && n < 3 && (err != nil || got != fmt.Sprintf("out %d\nerr %d\nno end %d", n-1, n-1, n-1)):
			t.Errorf("during run %d: %q, %v", n, got, err)
		case n == 3 && (err != nil || got != ""):
			t.Errorf("after a run that wrote nothing: %q, %v", got, err)
		}
		if n == 2 {
			finish(t, l, id)
			continue
		}
		for i, line := range []string{"out %d\n", "err %d\n", "no end %d"} {
			fmt.Fprintf([]io.Writer{out, errs, out}[i], line, n)
			read(t, l, all) // so that the streams keep their order
		}
		finish(t, l, id)
	}
	// One whose beginning was rotated away.
	id, out, _ := start(t, l, 5)
	for i := range 200 {
		fmt.Fprintf(out, "line %d\n", i)
	}
	finish(t, l, id)
	id, _, _ = start(t, l, 6)
	if got, err := previous(); err != nil || !strings.HasPrefix(got, "line ") || !strings.HasSuffix(got, "line 199\n") {
		t.Errorf("half of it: %q, %v", got, err)
	}
	var b bytes.Buffer
	if err := l.Read(t.Context(), "web", "app", Options{Tail: 2, Previous: true}, &b); err != nil || b.String() != "line 198\nline 199\n" {
		t.Errorf("its tail: %q, %v", b.String(), err)
	}
	finish(t, l, id)
	if err := l.Read(t.Context(), "web", "app", Options{Previous: true, Follow: true}, io.Discard); err == nil {
		t.Error("the previous run was followed")
	}
}

// 50 sandboxes must fit into the daemon's share of memory: an idle container
// costs two goroutines and no buffer.
func TestIdleContainersAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	const n = 50
	l := open(t, Config{})
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		out, errs, err := l.Open("web", name, name)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		defer errs.Close()
		fmt.Fprintln(out, "hello")
	}
	var b bytes.Buffer
	for i := range n { // all have spoken
		for b.Reset(); b.Len() == 0; {
			if err := l.Read(t.Context(), "web", fmt.Sprintf("c%d", i), all, &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	b = bytes.Buffer{}
	runtime.GC() // twice, for the pools
	per := (int64(inUse()) - int64(before)) / n
	t.Logf("%d bytes per container", per)
	if per > 20<<10 {
		t.Errorf("%d bytes per container, want at most 20 KiB", per)
	}
}
