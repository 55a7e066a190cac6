package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that is killed costs nothing: the next one takes over.
func TestTakesOver(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("one", "tick 0.05")+"\n- "+box("two", "sleep"))
	w.declare("cold", app("tick 0.05", "state: Paused"))
	w.declare("ready", app("sleep", "state: Created"))
	w.declare("off", app("sleep", "state: Stopped"))
	was := map[string]sandbox{"web": w.running("web"), "cold": w.wait("cold", "paused", phase("Paused")),
		"ready": w.wait("ready", "created", phase("Created")), "off": w.wait("off", "stopped", phase("Stopped"))}
	for range 3 {
		w.restart()
		w.unharmed(was)
	}
	w.comesToRest()
	for name, s := range was {
		if n := w.sentries(name); s.Status.SandboxPID != 0 && n != 1 {
			t.Errorf("%s has %d sentries", name, n)
		}
	}
	// Adopted sandboxes obey, and their logs have no hole.
	for i, line := range w.said("web/one", "tick 40") {
		if line != fmt.Sprintf("tick %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	w.declare("cold", app("tick 0.05"))
	w.running("cold")
	w.declare("web", "state: Stopped\ncontainers:\n- "+box("one", "tick 0.05")+"\n- "+box("two", "sleep"))
	if s := w.wait("web", "stopped", phase("Stopped")); !s.box("one").exited(0) {
		t.Errorf("it was not stopped gracefully: %+v", s)
	}
}

// sentries counts the sentries in a sandbox's cgroup.
func (w *world) sentries(name string) (n int) {
	for _, pid := range processesIn(w.parent + "/" + name + "\n") {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(b, []byte("\x00boot\x00")) {
			n++
		}
	}
	return n
}

// What ends while no daemon runs is known by the next one: its code, and what
// is to follow.
func TestEndsWhileTheDaemonIsAway(t *testing.T) {
	w := start(t)
	spec := func(policy string) string {
		return "restartPolicy: " + policy + "\nvolumes:\n- {name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}\ncontainers:\n- " +
			box("app", "count /v/runs-"+policy+" then await /v/go then exit 5", "volumeMounts: [{name: v, mountPath: /v}]") + "\n- " + box("other", "sleep")
	}
	var gofers []int
	for _, policy := range []string{"Never", "Always"} {
		w.declare(strings.ToLower(policy), spec(policy))
		gofers = append(gofers, *w.running(strings.ToLower(policy)).box("app").GoferPID)
		w.said(strings.ToLower(policy)+"/app", "count 1")
	}
	ended := make([]func(), len(gofers))
	for i, pid := range gofers {
		ended[i] = awaitEnd(t, pid)
	}
	w.kill()
	if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, wait := range ended {
		wait() // a gofer ends when its container has
	}
	w.start()
	s := w.wait("never", "ended", func(s sandbox) bool { return s.box("app").exited(5) })
	if c := s.box("app"); c.RestartCount != 0 || c.Reason != "Error" || s.box("other").State != "running" {
		t.Errorf("never restarted: %+v", s)
	}
	w.wait("always", "restarted", func(s sandbox) bool { return s.box("app").RestartCount >= 1 })
	w.saidTimes("always/app", "count", 2)
	if n := strings.TrimSpace(w.ok("logs", "never/app")); n != "count 1" {
		t.Errorf("the log of what never restarts is %q", n)
	}
}

// awaitEnd returns a function that waits for a process's end.
func awaitEnd(t *testing.T, pid int) func() {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		defer unix.Close(fd)
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(poll, int(patience.Milliseconds()))
			if err == unix.EINTR {
				continue
			}
			if err != nil || n == 0 {
				t.Errorf("process %d did not end: %v", pid, err)
			}
			return
		}
	}
}

// Killed at random moments of creating, starting, stopping and destroying:
// nothing is doubled, nothing is killed, nothing is left.
func TestKilledAtAnyMoment(t *testing.T) {
	w := start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w.declare("steady", "containers:\n- "+box("one", "tick 0.02")+"\n- "+box("two", "sleep"))
	was := w.running("steady")
	const others = 4
	specs := make([]string, others)
	for round := range 16 {
		for i := range others {
			name := fmt.Sprint("web", i)
			state := []string{"Running", "Paused", "Stopped", "Created", nothing}[random.IntN(5)]
			if state != nothing {
				specs[i] = app(fmt.Sprintf("print round %d then sleep", random.IntN(3)), "terminationGracePeriodSeconds: 2", "state: "+state)
				w.declare(name, specs[i])
			} else if specs[i] != "" {
				specs[i] = ""
				w.undeclare(name)
			}
		}
		// This sleep is the dice, not a wait for anything.
		time.Sleep(time.Duration(random.IntN(350)) * time.Millisecond)
		w.restart()
		if now := w.running("steady"); now.Status.SandboxPID != was.Status.SandboxPID {
			t.Fatalf("round %d: what had nothing to do with it was replaced", round)
		}
	}
	for i := range others {
		w.declare(fmt.Sprint("web", i), app("print last then sleep"))
	}
	for i := range others {
		name := fmt.Sprint("web", i)
		w.wait(name, "running for the last time", func(s sandbox) bool { return running(s) && s.Status.Ready })
		w.said(name, "last")
		if n := w.sentries(name); n != 1 {
			t.Errorf("%s has %d sentries", name, n)
		}
	}
	now := w.running("steady")
	for i, c := range now.Status.Containers {
		if c.ID != was.Status.Containers[i].ID || c.RestartCount != 0 {
			t.Errorf("it was made anew: %+v", c)
		}
	}
	w.comesToRest()
	for i, line := range w.said("steady/one", "tick 100") {
		if line != fmt.Sprintf("tick %d", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

// A torn record costs nothing: it is made whole again.
func TestTruncatedRecords(t *testing.T) {
	for _, daemon := range []string{"running", "restarted"} {
		t.Run(daemon, func(t *testing.T) {
			w := start(t, "--resync", "500ms")
			spec := "terminationGracePeriodSeconds: 2\ncontainers:\n- " + box("one", "sleep") + "\n- " + box("two", "sleep")
			was := map[string]sandbox{}
			for _, name := range []string{"whole", "torn", "half"} {
				w.declare(name, spec)
				was[name] = w.running(name)
			}
			if daemon == "restarted" {
				w.kill()
			}
			truncate(t, filepath.Join(w.state, "sandboxes", "torn", "sandbox.json"), 0)
			truncate(t, filepath.Join(w.state, "sandboxes", "half", "containers", "one.json"), 20)
			if daemon == "restarted" {
				w.start()
			}
			for _, record := range []string{"torn/sandbox.json", "half/containers/one.json"} {
				mended := func() bool {
					info, err := os.Stat(filepath.Join(w.state, "sandboxes", record))
					return err == nil && info.Size() > 20
				}
				if !poll(mended) {
					t.Fatalf("%s is still damaged", record)
				}
			}
			for name := range was {
				s := w.running(name)
				if s.Status.SandboxPID != was[name].Status.SandboxPID || s.box("one").ID != was[name].box("one").ID || s.box("two").ID != was[name].box("two").ID {
					t.Errorf("a damaged record cost a container: %+v became %+v", was[name], s)
				}
				if n := w.sentries(name); n != 1 {
					t.Errorf("%s has %d sentries", name, n)
				}
			}
		})
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}
