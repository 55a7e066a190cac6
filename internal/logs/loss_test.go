package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// full makes the log of web/app a disk that is full: /dev/full refuses every
// write with ENOSPC. Removing the path makes room.
func full(t *testing.T, l *Logs) (path string) {
	t.Helper()
	path = filepath.Join(l.logDir("web"), "app.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// until waits for what another goroutine is about to do.
func until(done func() bool) {
	for !done() {
		time.Sleep(time.Millisecond)
	}
}

// What a full disk costs is counted, over a restart of the daemon too, told,
// and written into the log as soon as that can be written.
func TestFullDiskCostsLinesAndSaysSo(t *testing.T) {
	t.Parallel()
	var told []Change
	l := open(t, Config{Changed: func(c Change) { told = append(told, c) }})
	path := full(t, l)
	_, out, _ := start(t, l, 1)
	fmt.Fprint(out, "lost 1\nlost 2\n")
	until(func() bool { return l.Losing("web")["app"].Bytes == 14 })
	if len(l.Losing("other")) != 0 {
		t.Error("another sandbox loses output")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Dropped() != 14 || len(told) != 1 || !told[0].Losing || told[0].Sandbox != "web" || told[0].Container != "app" {
		t.Errorf("dropped %d bytes, want 14; told %+v", l.Dropped(), told)
	}

	told = nil
	l = open(t, l.cfg)
	finish(t, l, "web.app.1")
	id, out, _ := start(t, l, 2)
	fmt.Fprint(out, "lost\n")
	until(func() bool { return l.Losing("web")["app"].Bytes == 19 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// Nothing more is written by the container, and it is said all the same.
	until(func() bool { return len(l.Losing("web")) == 0 })
	if want := "[sandboxer] 3 lines (19 bytes) of output were lost: "; !regexp.MustCompile(regexp.QuoteMeta(want) + ".*" + syscall.ENOSPC.Error() + "\n$").MatchString(read(t, l, all)) {
		t.Errorf("read %q", read(t, l, all))
	}
	fmt.Fprint(out, "kept\n")
	finish(t, l, id)
	if got := read(t, l, all); !regexp.MustCompile(`^\[sandboxer\] .*\nkept\n$`).MatchString(got) {
		t.Errorf("read %q", got)
	}
	if len(told) != 1 || told[0].Losing || told[0].Loss.Bytes != 19 || told[0].Loss.Lines != 3 {
		t.Errorf("told %+v", told)
	}
	if left, _ := filepath.Glob(filepath.Join(l.ioDir("web"), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A disk that takes some writes and refuses others is not told of each time.
func TestFlappingDiskIsToldOnce(t *testing.T) {
	t.Parallel()
	told := 0
	l := open(t, Config{Changed: func(Change) { told++ }})
	id, out, _ := start(t, l, 1)
	path := filepath.Join(l.logDir("web"), "app.log")
	for i := range 10 {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		s := l.sinks[key{"web", "app"}]
		s.mu.Lock()
		s.files.shut()
		s.mu.Unlock()
		full(t, l)
		fmt.Fprintf(out, "lost %d\n", i)
		until(func() bool { return l.Dropped() == uint64(7*(i+1)) })
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "kept %d\n", i)
		read(t, l, all)
		if l.Losing("web")["app"].Bytes != uint64(7*(i+1)) {
			t.Errorf("round %d: %+v", i, l.Losing("web"))
		}
	}
	until(func() bool { return len(l.Losing("web")) == 0 })
	finish(t, l, id)
	if told != 2 {
		t.Errorf("told %d times, want twice", told)
	}
	if n := len(regexp.MustCompile(`(?m)^\[sandboxer\] 1 lines \(7 bytes\) .*\nkept \d$`).FindAllString(read(t, l, all), -1)); n != 10 {
		t.Errorf("the log says so %d times:\n%s", n, read(t, l, all))
	}
}
