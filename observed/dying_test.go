package observed_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// A process that was sent SIGKILL is dying, also while it can't heed it: here its
// cgroup is frozen.
func TestDying(t *testing.T) {
	freezer := "/sys/fs/cgroup/freezer"
	if _, err := os.Stat(freezer); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and a cgroup v1 freezer, in which what was killed stays")
	}
	dir, err := os.MkdirTemp(freezer, "sandboxer-dying")
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, what string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(what), 0); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(dir)
	})
	pid := cmd.Process.Pid
	// ends says whether the end of it is waited for.
	waits := func(what string, want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := observed.AwaitDying(ctx, pid); errors.Is(err, context.DeadlineExceeded) != want || err != nil && !want {
			t.Errorf("%s: %v", what, err)
		}
	}
	waits("alive and well", false)
	write("cgroup.procs", strconv.Itoa(pid))
	write("freezer.state", "FROZEN")
	waits("frozen", false)
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGKILL} {
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		waits(sig.String(), sig == unix.SIGKILL)
	}
	write("freezer.state", "THAWED")
	if err := observed.AwaitDying(t.Context(), pid); err != nil {
		t.Errorf("thawed: %v", err)
	}
	_ = cmd.Wait() // it was killed
	waits("gone", false)
}

// A process whose first thread has ended is one that lives: a look asks the others.
func TestAwaitDyingWithoutItsLeader(t *testing.T) {
	// The first thread of the program ends, and another one sleeps on.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=leaderless")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := observed.AwaitDying(ctx, cmd.Process.Pid); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is not waited for: %v", err)
	}
}

// Whoever was killed has ended when the wait for it is over, however far its end had
// come when it was looked at.
func TestAwaitDyingOfWhoWasJustKilled(t *testing.T) {
	for range 100 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		err := observed.AwaitDying(t.Context(), cmd.Process.Pid)
		var info unix.Siginfo
		ended := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != nil || ended != nil || info.Signo == 0 {
			t.Errorf("%v, %v, signal %d", err, ended, info.Signo)
		}
		_ = cmd.Wait() // it was killed
	}
}
