package test

import (
	"fmt"
	"os/exec"
	"strings"
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
	if out := w.ok("logs", "web", "--tail", "1"); strings.Count(out, "\n") != 1 {
		t.Errorf("the last line is %q", out)
	}
	stamped := w.ok("logs", "web", "--tail", "2", "-t")
	for line := range strings.Lines(stamped) {
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

// A container that writes while no daemon reads loses nothing.
func TestLogsWhileTheDaemonIsAway(t *testing.T) {
	w := start(t)
	w.declare("web", "volumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- "+
		box("app", "print before then await /v/go then flood 1000 then write /v/done x then print end then sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("web")
	w.said("web", "before")
	w.kill()
	// The container writes all of it, and says so where the test can see it.
	if out, err := exec.Command("sh", "-c", fmt.Sprintf("touch %[1]s/v/go; for i in $(seq 900); do [ -e %[1]s/v/done ] && exit 0; sleep 0.1; done; exit 1", w.dir)).CombinedOutput(); err != nil {
		t.Fatalf("it did not go on without a daemon: %v %s", err, out)
	}
	w.start()
	w.running("web")
	if lines := w.said("web", "end"); len(lines) != 1002 {
		t.Errorf("%d lines came", len(lines))
	}
}
