package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if dirs := os.Getenv(carrierEnv); dirs != "" {
		carrier(dirs)
		return
	}
	goleak.VerifyTestMain(m)
}

// open makes a Logs on fresh directories and closes it at the test's end.
func open(t *testing.T, c Config) *Logs {
	t.Helper()
	if c.StateDir == "" {
		c.StateDir = t.TempDir()
	}
	if c.DataDir == "" {
		c.DataDir = t.TempDir()
	}
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// start opens instance n of web/app; the files are the container's ends.
func start(t *testing.T, l *Logs, n int) (id string, out, err *os.File) {
	t.Helper()
	id = fmt.Sprintf("web.app.%d", n)
	out, err, e := l.Open("web", "app", id)
	if e != nil {
		t.Fatal(e)
	}
	t.Cleanup(func() { out.Close(); err.Close() })
	return id, out, err
}

func finish(t *testing.T, l *Logs, id string) {
	t.Helper()
	if err := l.Finish("web", "app", id); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, l *Logs, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.Read(t.Context(), "web", "app", o, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var all = Options{Tail: All}

func TestNewNeedsItsFolders(t *testing.T) {
	for _, c := range []Config{{}, {StateDir: "/s"}, {DataDir: "/d"}} {
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v) succeeded", c)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	want := "one\n\ntwo\x00\xff\n" + strings.Repeat("x", 3*maxPiece) + "\nno end"
	if _, err := out.WriteString(want); err != nil {
		t.Fatal(err)
	}
	finish(t, l, id)
	if got := read(t, l, all); got != want {
		t.Errorf("read %d bytes, want the %d that were written", len(got), len(want))
	}
	// An instance's last line gets an end where it had none.
	id2, _, errs2 := start(t, l, 2)
	fmt.Fprintln(errs2, "and on stderr")
	finish(t, l, id2)
	if got := read(t, l, all); got != want+"\nand on stderr\n" {
		t.Errorf("after a second instance: %q", got[len(want)-10:])
	}
	left, _ := filepath.Glob(filepath.Join(l.cfg.StateDir, "sandboxes/web/io/*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEntriesAreTheCRIs(t *testing.T) {
	l := open(t, Config{})
	id, out, _ := start(t, l, 1)
	fmt.Fprint(out, "whole\npart")
	finish(t, l, id)
	b, err := os.ReadFile(filepath.Join(l.cfg.DataDir, "logs/web/app.log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "Z stdout F:start web.app.1") ||
		!strings.HasSuffix(lines[1], "Z stdout F whole") || !strings.HasSuffix(lines[2], "Z stdout P part") {
		t.Errorf("the file holds %q", b)
	}
	if at, err := time.Parse(time.RFC3339Nano, strings.Fields(lines[0])[0]); err != nil || time.Since(at) > time.Minute {
		t.Errorf("time %v, error %v", at, err)
	}
}

// The writer's end must not be non-blocking: the container shares the
// description and would see EAGAIN.
func TestContainersEndBlocksAndNeverBreaks(t *testing.T) {
	l := open(t, Config{})
	_, out, _ := start(t, l, 1)
	flags, err := unix.FcntlInt(out.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.O_NONBLOCK != 0 || flags&unix.O_ACCMODE != unix.O_RDWR {
		t.Errorf("flags %#x: want blocking and O_RDWR", flags)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteString("nobody reads now\n"); err != nil {
		t.Errorf("a write without a daemon: %v", err)
	}
}

func TestLaterDaemonGoesOn(t *testing.T) {
	c := Config{StateDir: t.TempDir(), DataDir: t.TempDir()}
	first := open(t, c)
	id, out, _ := start(t, first, 1)
	fmt.Fprintln(out, "before")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(out, "between")
	second := open(t, c)
	if err := second.Adopt("web", "app", id); err != nil {
		t.Fatal(err)
	}
	if err := second.Adopt("web", "app", id); err != nil {
		t.Errorf("adopting twice: %v", err)
	}
	fmt.Fprintln(out, "after")
	finish(t, second, id)
	if got := read(t, second, all); got != "before\nbetween\nafter\n" {
		t.Errorf("read %q", got)
	}
	if err := second.Adopt("web", "app", id); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("adopting what is finished: %v", err)
	}
}

// What somebody else still holds open is not lost when the end was missed.
func TestEndThatNobodySaw(t *testing.T) {
	c := Config{StateDir: t.TempDir(), DataDir: t.TempDir()}
	first := open(t, c)
	id, out, _ := start(t, first, 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Finish("web", "app", id); err == nil {
		t.Error("a Logs that is closed finished an instance, and left nothing for the next")
	}
	fmt.Fprintln(out, "last words")
	second := open(t, c)
	finish(t, second, id)
	if got := read(t, second, all); got != "last words\n" {
		t.Errorf("read %q", got)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	l := open(t, Config{})
	_, out, _ := start(t, l, 1)
	fmt.Fprintln(out, "x")
	for range 2 {
		if err := l.Remove("web"); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Join(l.cfg.DataDir, "logs/web"), l.ioDir("web")} {
		if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if len(l.sinks)+len(l.instances) != 0 {
		t.Error("something is still remembered")
	}
	if got := read(t, l, all); got != "" {
		t.Errorf("read %q", got)
	}
}

func TestNamesStayInTheirFolders(t *testing.T) {
	l := open(t, Config{})
	for _, bad := range []string{"", ".", "..", "../x", "a/b", "a\x00"} {
		if _, _, err := l.Open(bad, "app", "id"); err == nil {
			t.Errorf("Open accepted sandbox %q", bad)
		}
		if err := l.Adopt("web", "app", bad); err == nil {
			t.Errorf("Adopt accepted id %q", bad)
		}
		if err := l.Remove(bad); err == nil {
			t.Errorf("Remove accepted %q", bad)
		}
		if err := l.Read(context.Background(), "web", bad, all, io.Discard); err == nil {
			t.Errorf("Read accepted container %q", bad)
		}
	}
}

// A stray process that holds the pipe and goes on writing must not hold up the
// end of its container.
func TestFinishDoesNotWaitForStrayWriters(t *testing.T) {
	l := open(t, Config{MaxFile: 1 << 20})
	id, out, _ := start(t, l, 1)
	ended := make(chan struct{})
	stray, err := os.OpenFile(out.Name(), os.O_RDWR, 0) // pollable, so that closing it ends the writer
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		for {
			if _, err := stray.Write(bytes.Repeat([]byte("y\n"), 4096)); err != nil {
				return
			}
		}
	}()
	finish(t, l, id)
	stray.Close()
	<-ended
}
