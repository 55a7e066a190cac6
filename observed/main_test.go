package observed_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// role makes this test binary play another process instead.
const role = "OBSERVED_TEST_ROLE"

// What runs before main does so on the process's first thread.
func init() {
	if os.Getenv(role) == "leaderless" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "lock":
		if _, err := observed.Lock(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "leaderless":
		go func() {
			runtime.LockOSThread()
			stat := fmt.Sprintf("/proc/%d/stat", os.Getpid())
			for {
				if b, err := os.ReadFile(stat); err == nil && strings.Contains(string(b), ") Z ") {
					fmt.Println("ready")
					select {}
				}
			}
		}()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread alone
	case "orphan":
		os.Exit(leaveOrphan(os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

// leaveOrphan starts a shell with this process's stdin, prints its pid, and
// ends without ever waiting for it, as a shell might.
func leaveOrphan(script, exitCode string) int {
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdin = os.Stdin
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return -1
	}
	fmt.Println(cmd.Process.Pid)
	code, _ := strconv.Atoi(exitCode)
	return code
}

// child starts a process that lives until end is called or the test ends.
func child(t testing.TB) (p observed.Process, end func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
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

// zombie makes a process that has ended and is not reaped before the test ends.
func zombie(t testing.TB) observed.Process {
	t.Helper()
	p, _ := child(t)
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.PID, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// reused is the identity of whoever had the pid before.
func reused(p observed.Process) observed.Process {
	p.StartTime--
	return p
}

// recordsIn are those below a directory as the next daemon finds them.
func recordsIn(t testing.TB, dir string) *observed.Records {
	t.Helper()
	r, err := observed.NewRecords(observed.RecordsConfig{StateDir: dir, BootID: "boot-1", Key: []byte("key"), Spares: filepath.Join(dir, "spares")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newRecords(t testing.TB) (*observed.Records, string) {
	t.Helper()
	dir := t.TempDir()
	return recordsIn(t, dir), filepath.Join(dir, "sandboxes")
}

// noDescriptors makes every opening of a file fail with EMFILE: a read error
// that also root meets.
func noDescriptors(t testing.TB, during func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	during()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
