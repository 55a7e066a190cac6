package observed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

type orphan struct {
	p      observed.Process
	status unix.WaitStatus
}

// reaping runs a Reaper in this process until the test ends. Only children
// that are started through it may live meanwhile.
func reaping(t *testing.T) (*observed.Reaper, chan orphan) {
	t.Helper()
	if err := observed.BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	orphans := make(chan orphan, 1000)
	r := observed.NewReaper(func(p observed.Process, s unix.WaitStatus) { orphans <- orphan{p, s} }, nil)
	run(t, r)
	return r, orphans
}

// run runs a Reaper until the test ends.
func run(t *testing.T, r *observed.Reaper) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
			t.Errorf("children are left: %d, %v", pid, err)
		}
	})
}

// A child that is stopped is told of each time, and its waiter still gets its
// end.
func TestReaperTellsOfStops(t *testing.T) {
	stops := make(chan int, 10)
	r := observed.NewReaper(nil, func(pid int) { stops <- pid })
	run(t, r)
	cmd := exec.Command("/bin/sleep", "1000")
	if err := r.Start(cmd); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if pid := <-stops; pid != cmd.Process.Pid {
			t.Errorf("process %d was stopped, told of is %d", cmd.Process.Pid, pid)
		}
		if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(cmd); cmd.ProcessState == nil {
		t.Error(err)
	}
}

// leaver is a process that leaves an orphan behind.
func leaver(script string, exitCode int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", script, strconv.Itoa(exitCode))
	cmd.Env = []string{role + "=orphan", "PATH=" + os.Getenv("PATH")}
	return cmd
}

func TestReaperLeavesChildrenToTheirWaiters(t *testing.T) {
	r, orphans := reaping(t)
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			// The orphan that it leaves behind ends at about the same time.
			cmd := leaver("exit 3", i)
			if err := r.Start(cmd); err != nil {
				t.Error(err)
				return
			}
			err := r.Wait(cmd)
			if got := cmd.ProcessState.ExitCode(); got != i || (i == 0) != (err == nil) {
				t.Errorf("child %d ended with %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	seen := map[observed.Process]bool{}
	for range n {
		o := <-orphans
		if o.status.ExitStatus() != 3 || o.p.StartTime == 0 || seen[o.p] {
			t.Errorf("orphan %+v", o)
		}
		seen[o.p] = true
	}
}

func TestReaperLooksBehindAZombieThatWaits(t *testing.T) {
	r, orphans := reaping(t)
	// Its waiter has not come yet.
	slow := exec.Command("sh", "-c", "exit 7")
	if err := r.Start(slow); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, slow.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"exit 5", "kill -9 $$"} {
		// The parent ends at once; the orphan, when its stdin does.
		parent := leaver("read line; "+end, 0)
		orphanIn, closeIt, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		parent.Stdin = orphanIn
		stdout, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(parent); err != nil {
			t.Fatal(err)
		}
		orphanIn.Close()
		var pid int
		if _, err := fmt.Fscan(stdout, &pid); err != nil {
			t.Fatal(err)
		}
		want, err := observed.Identify(pid)
		if err != nil {
			t.Fatal(err)
		}
		closeIt.Close()
		o := <-orphans
		if o.p != want {
			t.Errorf("orphan %+v; want %v", o, want)
		}
		if end == "exit 5" && o.status.ExitStatus() != 5 || end != "exit 5" && o.status.Signal() != unix.SIGKILL {
			t.Errorf("%s: status %v", end, o.status)
		}
		if err := r.Wait(parent); err != nil {
			t.Error(err)
		}
	}
	if err := r.Wait(slow); slow.ProcessState.ExitCode() != 7 {
		t.Errorf("the slow waiter got %v", err)
	}
}

func TestReaperStartThatFails(t *testing.T) {
	r, _ := reaping(t)
	if err := r.Start(exec.Command("/no/such/command")); err == nil {
		t.Error("no error")
	}
}
