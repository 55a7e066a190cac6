package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the tests share, set once by TestMain.
var (
	sandboxer string // the program
	rootfs    string // a root file system with nothing but /w, the workload
	base      string // holds all of it, and every daemon's directories
	parents   string // the common beginning of all cgroup parents' names
)

// workEnv tells the process that runs the tests from the one that reaps for it.
const workEnv = "SANDBOXER_TEST_DIR"

// resyncOnly says that the daemons are to act on nothing but the resync.
var resyncOnly = os.Getenv("SANDBOXER_TEST_RESYNC_ONLY") != ""

func TestMain(m *testing.M) {
	if what := os.Getenv(denyEnv); what != "" {
		os.Exit(complain(executeDenied(what)))
	}
	base = os.Getenv(workEnv)
	if base == "" {
		os.Exit(supervise())
	}
	sandboxer, rootfs = os.Getenv("SANDBOXER_BIN"), filepath.Join(base, "root")
	parents = "/sandboxer-test-" + filepath.Base(base) + "-"
	os.Exit(m.Run())
}

// supervise runs the tests in a child, and reaps what they orphan at once: the
// sandboxes of a daemon that was killed. Afterwards it removes all that they
// have left.
func supervise() int {
	if os.Geteuid() != 0 {
		return complain(errors.New("these tests make sandboxes: run them as root (sudo make system)"))
	}
	dir, err := os.MkdirTemp("/tmp", "sbx")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir)
	if err := prepare(dir); err != nil {
		return complain(err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return complain(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	tests, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   append(os.Environ(), workEnv+"="+dir, "SANDBOXER_BIN="+sandboxer),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return complain(err)
	}
	go func() {
		for s := range signals {
			_ = tests.Signal(s) // it may have ended by itself
		}
	}()
	status := reap(tests.Pid)
	sweep(dir, "/sandboxer-test-"+filepath.Base(dir)+"-")
	return status
}

// reap reaps whatever ends until pid has, and returns its exit status.
func reap(pid int) int {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return complain(err)
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		case got == pid:
			return ws.ExitStatus()
		}
	}
}

// sweep ends what tests have left of processes, cgroups and mounts: what runs
// in the cgroups, and daemons, which are children by now.
func sweep(dir, parents string) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	for _, c := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(c); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	killCgroups(parents)
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	removeCgroups(parents)
	for _, m := range mountsBelow(dir) {
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
}

// prepare builds what is not there yet, and the root file system.
func prepare(dir string) error {
	if sandboxer = os.Getenv("SANDBOXER_BIN"); sandboxer == "" {
		sandboxer = filepath.Join(dir, "sandboxer")
		if err := build(sandboxer, "../cmd/sandboxer"); err != nil {
			return err
		}
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	// Others than root look through these directories in some tests.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return build(filepath.Join(root, "w"), "../examples/workload")
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, said.String())
	}
	return nil
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "FAIL:", err)
	return 1
}
