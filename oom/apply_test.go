package oom_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
	"sandboxer/oom"
)

// child starts a process that lives as long as the test.
func child(t *testing.T) (observed.Process, func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	p, err := observed.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p, end
}

// dropCapability takes CAP_SYS_RESOURCE from the thread of this test, so that
// the kernel denies on every machine what it denies on some. The thread ends
// with the test.
func dropCapability(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, p observed.Process) int {
	t.Helper()
	score, err := oom.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return score
}

func TestApplyRaisesAndLowers(t *testing.T) {
	p, _ := child(t)
	start := mustRead(t, p)
	for _, score := range []int{1000, 500, 500, start + 1, start} {
		if err := oom.Apply(p, score); err != nil {
			t.Fatalf("Apply(%d): %v", score, err)
		}
		if got := mustRead(t, p); got != score {
			t.Fatalf("score is %d after Apply(%d)", got, score)
		}
	}
}

func TestApplyDenied(t *testing.T) {
	dropCapability(t)
	p, _ := child(t)
	floor := mustRead(t, p)
	for _, from := range []int{floor, min(floor+1, 1000), min(floor+437, 1000), 1000} {
		if err := oom.Apply(p, from); err != nil {
			t.Fatal(err)
		}
		wanted := max(floor-498, -1000)
		err := oom.Apply(p, wanted)
		var d *oom.DeniedError
		if !errors.Is(err, oom.ErrDenied) || !errors.Is(err, unix.EACCES) || !errors.As(err, &d) {
			t.Fatalf("from %d: error %v is not the kernel's denial", from, err)
		}
		if d.Process != p || d.Wanted != wanted || d.Got != floor {
			t.Errorf("from %d: error says %+v; want %v, wanted %d, got %d", from, d, p, wanted, floor)
		}
		if got := mustRead(t, p); got != floor {
			t.Errorf("from %d: score is %d; the nearest permitted is %d", from, got, floor)
		}
		if !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") && from != floor {
			t.Errorf("error %q does not say what is missing", err)
		}
	}
}

func TestApplyBelowTheFloor(t *testing.T) {
	p, _ := child(t)
	wanted := mustRead(t, p) - 1
	err := oom.Apply(p, wanted)
	if errors.Is(err, oom.ErrDenied) {
		t.Skipf("this process lacks CAP_SYS_RESOURCE, so that only a host with it can prove this: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, p); got != wanted {
		t.Errorf("score is %d; want %d", got, wanted)
	}
}

func TestApplyRefusesAnImpossibleScore(t *testing.T) {
	p, _ := child(t)
	before := mustRead(t, p)
	if err := oom.Apply(p, 1001); !errors.Is(err, unix.EINVAL) || errors.Is(err, oom.ErrDenied) {
		t.Errorf("Apply(1001) = %v; want EINVAL", err)
	}
	if got := mustRead(t, p); got != before {
		t.Errorf("score became %d", got)
	}
}

func TestApplyTouchesNobodyElse(t *testing.T) {
	p, _ := child(t)
	before := mustRead(t, p)
	other := p
	other.StartTime-- // whoever had this pid before
	if err := oom.Apply(other, 700); err != nil {
		t.Errorf("a process that is gone needs no score: %v", err)
	}
	if got := mustRead(t, p); got != before {
		t.Errorf("the pid's new owner got the score %d", got)
	}
	if _, err := oom.Read(other); !errors.Is(err, observed.ErrGone) {
		t.Errorf("Read = %v; want ErrGone", err)
	}
}

func TestApplyToTheDead(t *testing.T) {
	p, end := child(t)
	end()
	if err := oom.Apply(p, 700); err != nil {
		t.Errorf("Apply = %v", err)
	}
	if _, err := oom.Read(p); !errors.Is(err, observed.ErrGone) {
		t.Errorf("Read = %v; want ErrGone", err)
	}
}

func TestApplyToAZombie(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	p, err := observed.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo // wait for its end without reaping it
	if err := unix.Waitid(unix.P_PID, p.PID, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if err := oom.Apply(p, 700); err != nil {
		t.Errorf("Apply = %v", err)
	}
}
