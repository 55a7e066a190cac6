package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
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
		{"following what has ended ends", Options{Tail: All, Follow: true}, "one\ntwthree\no\n\nopen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := read(t, l, c.o); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// followed starts following and returns the lines as they come.
func followed(t *testing.T, l *Logs, o Options) (*bufio.Reader, <-chan error) {
	t.Helper()
	o.Follow = true
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := l.Read(t.Context(), "web", "app", o, w)
		w.Close()
		ended <- err
	}()
	return bufio.NewReader(r), ended
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil && err != io.EOF || got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func TestFollowEndsWithTheInstance(t *testing.T) {
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	r, ended := followed(t, l, all) // before there is a file
	for i := range 100 {
		line := fmt.Sprintf("line %d\n", i)
		if _, err := out.WriteString(line); err != nil {
			t.Fatal(err)
		}
		expect(t, r, line)
	}
	late, lateEnded := followed(t, l, Options{Tail: 1})
	expect(t, late, "line 99\n")
	fmt.Fprintln(out, "last")
	expect(t, late, "last\n")
	expect(t, r, "last\n")
	finish(t, l, id)
	expect(t, r, "")
	expect(t, late, "")
	if err := errors.Join(<-ended, <-lateEnded); err != nil {
		t.Error(err)
	}
}

func TestFollowGoesOnOverRotation(t *testing.T) {
	l := open(t, Config{MaxFile: 4 << 10})
	id, out, _ := start(t, l, 1)
	r, ended := followed(t, l, all)
	for i := range 1000 { // in step, so that no more than one turn is behind
		line := fmt.Sprintf("line %d\n", i)
		fmt.Fprint(out, line)
		expect(t, r, line)
	}
	finish(t, l, id)
	expect(t, r, "")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSlowFollowerIsToldWhatItMissed(t *testing.T) {
	l := open(t, Config{MaxFile: 4 << 10})
	id, out, _ := start(t, l, 1)
	fmt.Fprintln(out, "first")
	r, ended := followed(t, l, all)
	expect(t, r, "first\n")
	for i := range 5000 { // the reader does not read: its writer blocks
		fmt.Fprintf(out, "line %d\n", i)
	}
	finish(t, l, id)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(tooSlow)) || !bytes.HasSuffix(b, []byte("line 4999\n")) {
		t.Errorf("read %d bytes ending in %q", len(b), b[max(0, len(b)-40):])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	l := open(t, Config{})
	_, out, _ := start(t, l, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- l.Read(ctx, "web", "app", Options{Tail: All, Follow: true}, w) }()
	fmt.Fprintln(out, "here")
	expect(t, bufio.NewReader(r), "here\n")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	r2, w2 := io.Pipe()
	r2.Close()
	if err := l.Read(t.Context(), "web", "app", Options{Tail: All, Follow: true}, w2); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("with a reader that is gone: %v", err)
	}
}

// /dev/full refuses every write with ENOSPC.
func TestFullDiskCostsLinesAndSaysSo(t *testing.T) {
	l := open(t, Config{})
	path := filepath.Join(l.cfg.DataDir, "logs/web/app.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	_, out, _ := start(t, l, 1)
	fmt.Fprint(out, "lost 1\nlost 2\n")
	if err := l.Close(); err != nil { // carries what is in the pipe
		t.Fatal(err)
	}
	if l.Dropped() != 14 {
		t.Errorf("dropped %d bytes, want 14", l.Dropped())
	}

	l = open(t, l.cfg)
	id, out, _ := start(t, l, 2)
	s := l.sinks[key{"web", "app"}]
	lost := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.lostEntries }
	fmt.Fprint(out, "lost\n")
	for lost() == 0 {
		runtime.Gosched()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(out, "kept\n")
	for lost() != 0 {
		runtime.Gosched()
	}
	fmt.Fprint(out, "too\n")
	finish(t, l, id)
	want := `^\[sandboxer\] 1 pieces of output \(5 bytes\) were lost here: .*` + syscall.ENOSPC.Error() + `\nkept\ntoo\n$`
	if got := read(t, l, all); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("read %q", got)
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
