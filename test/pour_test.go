package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// follower is a "logs --follow" that runs beside a test; what it prints goes
// to files.
type follower struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err *os.File
	ended    chan error
}

// followLogs starts following as a user does.
func (w *world) followLogs(args ...string) *follower {
	w.t.Helper()
	f := &follower{t: w.t, cmd: w.program(append([]string{"logs", "--follow", "--socket", w.socket}, args...)...), ended: make(chan error, 1)}
	for name, file := range map[string]**os.File{"out": &f.out, "err": &f.err} {
		var err error
		if *file, err = os.CreateTemp(w.dir, name); err != nil {
			w.t.Fatal(err)
		}
	}
	f.cmd.Stdout, f.cmd.Stderr = f.out, f.err
	if err := f.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { f.ended <- f.cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = f.cmd.Process.Kill() // it may have ended
		f.out.Close()
		f.err.Close()
	})
	return f
}

// begun waits until it prints.
func (f *follower) begun() {
	f.t.Helper()
	printed := func() bool {
		st, err := f.out.Stat()
		return err == nil && st.Size() > 0
	}
	if !poll(printed) {
		f.t.Fatal("following prints nothing")
	}
}

// wait waits until it ends by itself, and returns what it printed.
func (f *follower) wait() (out, errs string) {
	f.t.Helper()
	select {
	case err := <-f.ended:
		if err != nil {
			b, _ := os.ReadFile(f.err.Name())
			f.t.Fatalf("following ended with %v: %s", err, b[max(0, len(b)-500):])
		}
	case <-time.After(patience):
		f.t.Fatal("following does not end")
	}
	for file, text := range map[*os.File]*string{f.out: &out, f.err: &errs} {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			f.t.Fatal(err)
		}
		*text = string(b)
	}
	return out, errs
}

// checkPoured holds a stream to the n lines of pour: all there, once each, in
// their order.
func checkPoured(t *testing.T, what, text string, n int) {
	t.Helper()
	next := 1
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "line ") {
			continue
		}
		if !strings.HasPrefix(line, fmt.Sprintf("line %d ..", next)) || len(line) != 200 {
			t.Fatalf("%s: line %d is %q", what, next, line)
		}
		next++
	}
	if next != n+1 {
		t.Fatalf("%s: %d lines, want %d", what, next-1, n)
	}
}

// configure writes the daemon's configuration file.
func (w *world) configure(text string) {
	w.t.Helper()
	w.makeConfig()
	if err := os.WriteFile(w.config(), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// A container writes 10 MB a second while the daemon is killed again and again:
// every line is in the log once, and whoever follows sees every line once, over
// all restarts and rotations.
func TestDaemonKilledUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.configure("logs: {maxSize: 1Mi, maxFiles: 200}\n")
	w.start()
	const n = 150_000 // 10 MB a second for 6 s
	w.declare("web", app(fmt.Sprintf("pour %d 10", n), "restartPolicy: Never"))
	w.wait("web", "writing", func(s sandbox) bool { return s.box("app").StartedAt != nil })
	f := w.followLogs("web")
	f.begun()
	for i := range 6 {
		// This sleep is the dice, not a wait for anything.
		time.Sleep(time.Duration(200+97*i) * time.Millisecond)
		w.restart()
	}
	w.wait("web", "done", phase("Succeeded"))
	out, errs := f.wait()
	checkPoured(t, "followed stdout", out, n)
	checkPoured(t, "followed stderr", errs, n)
	kept := w.run("logs", "web")
	checkPoured(t, "kept stdout", kept.out, n)
	checkPoured(t, "kept stderr", kept.err, n)
	logs, _ := filepath.Glob(filepath.Join(w.data, "logs", "web", "app.log*"))
	if len(logs) < 3 {
		t.Errorf("nothing was rotated: %v", logs)
	}
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1<<20 || bytes.Contains(b, []byte(" P ")) {
			t.Errorf("%s: %d bytes, with pieces: %v", path, len(b), bytes.Contains(b, []byte(" P ")))
		}
	}
}

// What a container may leave on the disk is bounded, by size and number.
func TestLogsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.configure("logs: {maxSize: 64Ki, maxFiles: 3}\n")
	w.start()
	w.declare("web", app("flood 20000 then print end then sleep"))
	w.running("web")
	w.said("web", "end")
	logs, _ := filepath.Glob(filepath.Join(w.data, "logs", "web", "*"))
	if len(logs) != 3 {
		t.Errorf("there are %v", logs)
	}
	for _, path := range logs {
		if st, err := os.Stat(path); err != nil || st.Size() > 64<<10 {
			t.Errorf("%s: %d bytes, %v", path, st.Size(), err)
		}
	}
	if out := w.ok("logs", "web", "--tail", "2"); out != "line 20000\nend\n" {
		t.Errorf("the last lines are %q", out)
	}
}

// A full disk holds up no container. What is dropped is counted: all that was
// written is either kept or told of as lost.
func TestLogsOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("test", w.data, "tmpfs", 0, "size=6m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	w.mounted = w.data
	w.configure("logs: {maxSize: 1Mi, maxFiles: 100}\n")
	w.start()
	const n = 30_000 // 12 MB
	w.declare("web", "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", fmt.Sprintf("pour %d 10 then write /v/done x then await /v/go then print more then sleep", n), "volumeMounts: [{name: v, mountPath: /v}]"))
	w.wait("web", "losing output", func(s sandbox) bool { return s.has("OutputLost") })
	w.restart() // which does not forget what was lost
	awaitFile(t, filepath.Join(w.dir, "v", "done"))
	w.wait("web", "losing output under another daemon, too", and(running, func(s sandbox) bool { return s.has("OutputLost") }))
	if out := w.ok("events", "web"); !strings.Contains(out, "OutputLost") {
		t.Errorf("no event says so:\n%s", out)
	}

	// An operator makes room: it is said without the container's doing.
	dir := filepath.Join(w.data, "logs", "web")
	removed, err := os.ReadFile(filepath.Join(dir, "app.log.1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "app.log.1")); err != nil {
		t.Fatal(err)
	}
	w.wait("web", "writing its log again", func(s sandbox) bool { return !s.has("OutputLost") })
	if out := w.ok("events", "web"); !strings.Contains(out, "OutputKept") {
		t.Errorf("no event says so:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.said("web", "more")

	r := w.run("logs", "web")
	kept := bytes.Count(removed, []byte(" F line "))
	lost, lostBytes, notes := 0, 0, 0
	for line := range strings.Lines(r.out + r.err) {
		var n, size int
		if strings.HasPrefix(line, "line ") && len(line) == 200 {
			kept++
		} else if _, err := fmt.Sscanf(line, "[sandboxer] %d lines (%d bytes) of output were lost: ", &n, &size); err == nil {
			lost, lostBytes, notes = lost+n, lostBytes+size, notes+1
		} else if line != "more\n" {
			t.Errorf("the log has %q", line)
		}
	}
	if kept+lost != 2*n || lost == 0 || lostBytes != 200*lost {
		t.Errorf("of %d lines %d are kept and %d (%d bytes) lost, said %d times", 2*n, kept, lost, lostBytes, notes)
	}
}

// awaitFile waits until a file is there.
func awaitFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if _, err := os.Stat(path); err == nil {
			return
		} else if !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			t.Fatalf("waiting for %s: %v", path, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
