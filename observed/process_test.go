package observed_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

func TestLiveness(t *testing.T) {
	alive, _ := child(t)
	ended, end := child(t)
	end()
	for name, tt := range map[string]struct {
		p    observed.Process
		want observed.Liveness
	}{
		"nobody":         {observed.Process{}, observed.None},
		"alive":          {alive, observed.Alive},
		"pid reused":     {reused(alive), observed.Gone},
		"no start time":  {observed.Process{PID: alive.PID}, observed.Gone},
		"reaped":         {ended, observed.Gone},
		"a zombie":       {zombie(t), observed.Gone},
		"no such pid":    {observed.Process{PID: 1 << 30, StartTime: 1}, observed.Gone},
		"a negative pid": {observed.Process{PID: -alive.PID, StartTime: alive.StartTime}, observed.Gone},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.p.Liveness()
			if err != nil || got != tt.want {
				t.Errorf("Liveness = %v, %v; want %v", got, err, tt.want)
			}
			f, err := tt.p.Open()
			if (err == nil) != (tt.want == observed.Alive) || err != nil && !errors.Is(err, observed.ErrGone) {
				t.Errorf("Open = %v", err)
			}
			f.Close()
			dir, err := tt.p.OpenDir()
			if (err == nil) != (tt.want == observed.Alive) || err != nil && !errors.Is(err, observed.ErrGone) {
				t.Errorf("OpenDir = %v", err)
			}
			dir.Close()
			if tt.want != observed.Alive {
				if err := tt.p.Signal(unix.SIGKILL); !errors.Is(err, observed.ErrGone) {
					t.Errorf("Signal = %v", err)
				}
			}
		})
	}
	if got, err := alive.Liveness(); err != nil || got != observed.Alive {
		t.Errorf("the pid's new owner is %v, %v", got, err)
	}
	var err error
	noDescriptors(t, func() { _, err = alive.Liveness() })
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("Liveness without descriptors = %v; want EMFILE", err)
	}
}

func TestSignalEndsIt(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := observed.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != unix.SIGTERM {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}

func TestIdentify(t *testing.T) {
	self, err := observed.Identify(os.Getpid())
	if again, err2 := observed.Identify(os.Getpid()); err != nil || err2 != nil || self != again || self.StartTime == 0 {
		t.Errorf("%v, %v; then %v, %v", self, err, again, err2)
	}
	for _, pid := range []int{0, -1, 1 << 30, zombie(t).PID} {
		if p, err := observed.Identify(pid); !errors.Is(err, observed.ErrGone) {
			t.Errorf("Identify(%d) = %v, %v", pid, p, err)
		}
	}
}

// holdLock starts a daemon's stand-in that holds the lock.
func holdLock(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = []string{role + "=lock"}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the holder said %q", line)
	}
	return cmd
}

func TestLock(t *testing.T) {
	dir := t.TempDir() + "/state"
	holder := holdLock(t, dir)
	_, err := observed.Lock(dir)
	if !errors.Is(err, observed.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", holder.Process.Pid)) {
		t.Errorf("Lock = %v; want one that names process %d", err, holder.Process.Pid)
	}
	holder.Process.Kill()
	holder.Wait()
	unlock, err := observed.Lock(dir)
	if err != nil {
		t.Fatalf("Lock after the holder was killed = %v", err)
	}
	if _, err := observed.Lock(dir); !errors.Is(err, observed.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("Lock = %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = observed.Lock(dir); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the state directory is %v, %v", st.Mode(), err)
	}
}

func TestStopped(t *testing.T) {
	p, end := child(t)
	defer end()
	if stopped, err := p.Stopped(); stopped || err != nil {
		t.Errorf("a process that runs: stopped %v, error %v", stopped, err)
	}
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.PID, &info, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if stopped, err := p.Stopped(); !stopped || err != nil {
		t.Errorf("a stopped process: stopped %v, error %v", stopped, err)
	}
	if _, err := reused(p).Stopped(); !errors.Is(err, observed.ErrGone) {
		t.Errorf("another process of the pid: error %v, want ErrGone", err)
	}
}
