package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a container wrote is kept over restarts of the daemon and of itself,
// each stream in its order, without loss.
func TestLogs(t *testing.T) {
	w := start(t)
	w.declare("web", app("flood 2000 then print end then complain to stderr then sleep"))
	w.running("web")
	// The two streams are two pipes: nobody knows which came first.
	numbered := func(lines []string) (list []string) {
		for _, l := range lines {
			if strings.HasPrefix(l, "line ") {
				list = append(list, l)
			}
		}
		return list
	}
	before := numbered(w.said("web", "end"))
	for i, line := range before {
		if line != fmt.Sprintf("line %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if len(before) != 2000 {
		t.Fatalf("%d lines came", len(before))
	}
	w.said("web", "to stderr")
	if r := w.run("logs", "web", "--tail", "1"); strings.Count(r.out+r.err, "\n") != 1 {
		t.Errorf("the last line is %+v", r)
	}
	stamped := w.run("logs", "web", "--tail", "2", "-t")
	for line := range strings.Lines(stamped.out + stamped.err) {
		stamp, _, _ := strings.Cut(line, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > time.Hour {
			t.Errorf("no time in %q: %v", line, err)
		}
	}
	w.restart()
	w.running("web")
	if again := numbered(w.said("web", "end")); len(again) != 2000 {
		t.Errorf("%d lines are left after the daemon's restart", len(again))
	}
	if out := w.ok("logs", "web", "--since", "1ns"); out != "" {
		t.Errorf("since just now it wrote %q", out)
	}
	if r := w.run("logs", "web/none"); r.code != 1 || !strings.Contains(r.err, "none") {
		t.Errorf("the log of what is not there: %+v", r)
	}
	if r := w.run("logs", "nobody"); r.code != 1 || !strings.Contains(r.err, "nobody") {
		t.Errorf("the log of what is not there: %+v", r)
	}
}

// What a container writes to stderr comes on stderr.
func TestStreamsApart(t *testing.T) {
	w := start(t)
	w.declare("web", app("print hello then complain oops then print bye then exit 0", "restartPolicy: Never"))
	w.wait("web", "done", phase("Succeeded"))
	for _, args := range [][]string{{"logs", "web"}, {"logs", "web", "--follow"}, {"logs", "web/app", "-n", "3"}} {
		if r := w.run(args...); r.code != 0 || r.out != "hello\nbye\n" || r.err != "oops\n" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// The log goes on over restarts of a container, and so does who follows it;
// the run before the last one can be had alone.
func TestLogsOverRestarts(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: OnFailure\nrestartBackoff: {initial: 100ms}\n"+
		"volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", "print begin then await /v/go then succeed-at 3 /v/n", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web", "begin")
	if r := w.run("logs", "web", "--previous"); r.code != 1 || !strings.Contains(r.err, "no output of an earlier run") {
		t.Errorf("before there was a restart: %+v", r)
	}
	f := w.followLogs("web")
	if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs := f.wait()
	if out != "begin\ncount 1\nbegin\ncount 2\nbegin\ncount 3\n" || errs != strings.Repeat("succeed-at: not yet\n", 2) {
		t.Errorf("followed: %q and %q", out, errs)
	}
	if r := w.run("logs", "web"); r.out != out || r.err != errs {
		t.Errorf("kept: %q and %q", r.out, r.err)
	}
	if r := w.run("logs", "web", "--previous"); r.code != 0 || r.out != "begin\ncount 2\n" || r.err != "succeed-at: not yet\n" {
		t.Errorf("the previous run: %+v", r)
	}
}

// A container that writes while no daemon reads loses nothing.
func TestLogsWhileTheDaemonIsAway(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", "print before then await /v/go then flood 1000 then write /v/done x then print end then sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web", "before")
	w.kill()
	// The container writes all of it, and says so where the test can see it.
	w.touch("go")
	awaitFile(t, filepath.Join(w.dir, "v", "done"))
	w.start()
	w.running("web")
	if lines := w.said("web", "end"); len(lines) != 1002 {
		t.Errorf("%d lines came", len(lines))
	}
}

// What a container wrote last is kept when its sandbox is killed while no daemon
// runs.
func TestLastWordsOfAKilledSandbox(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: Never\nvolumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", "print begin then await /v/go then flood 3000 then write /v/done x then sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	s := w.running("web")
	w.said("web", "begin")
	gone := awaitEnd(t, *s.box("app").GoferPID)
	w.kill()
	if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(w.dir, "v", "done"))
	if err := syscall.Kill(s.Status.SandboxPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone() // its gofer ends with it
	w.start()
	w.wait("web", "over", func(s sandbox) bool { return s.box("app").State == "stopped" })
	lines := strings.Split(strings.TrimSpace(w.ok("logs", "web", "--follow")), "\n")
	if len(lines) != 3001 || lines[3000] != "line 3000" {
		t.Errorf("%d lines are kept, the last is %q", len(lines), lines[len(lines)-1])
	}
}
