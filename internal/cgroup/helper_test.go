package cgroup

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// role makes this test binary play a process in a cgroup instead.
const role = "SANDBOXER_TEST_ROLE"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		os.Exit(play(r))
	}
	goleak.VerifyTestMain(m)
}

// play says on stdout that it runs, and does what its role says until stdin
// ends.
func play(r string) int {
	name, arg, _ := strings.Cut(r, "=")
	switch name {
	case "show":
		return show()
	case "killself":
		h, err := Detect()
		if err == nil {
			err = (&Cgroup{host: h, name: arg}).Kill(context.Background())
		}
		if !errors.Is(err, ErrSelf) {
			fmt.Println("killing the own cgroup:", err)
			return 1
		}
	case "use":
		bytes, _ := strconv.Atoi(arg)
		data := make([]byte, bytes)
		for i := 0; i < len(data); i += 4096 {
			data[i] = 1
		}
		defer func() { data[0]++ }()
	case "write":
		// A child writes half of it.
		os.Setenv(role, "writehalf="+arg+"/child")
		if out, err := exec.Command("/proc/self/exe").CombinedOutput(); err != nil {
			fmt.Println("the child:", err, string(out))
			return 1
		}
		arg += "/own"
		fallthrough
	case "writehalf":
		if err := os.WriteFile(arg, make([]byte, 4*mib), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
	case "grow":
		// As much more as each line on stdin says.
		fmt.Println("ready")
		var held [][]byte
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			bytes, _ := strconv.Atoi(in.Text())
			data := make([]byte, bytes)
			for i := 0; i < len(data); i += 4096 {
				data[i] = 1
			}
			held = append(held, data)
			fmt.Println("grown to", len(held))
		}
		return 0
	case "hop":
		// A shell that goes on in a child of its own, again and again.
		fmt.Println("ready")
		syscall.Exec("/bin/sh", []string{"sh", "-c", "hop() { hop & }; hop"}, nil)
	case "bomb":
		fmt.Println("ready")
		syscall.Exec("/bin/sh", []string{"sh", "-c", "while :; do (while :; do (while :; do (:) & done) & done) & done 2>/dev/null"}, nil)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// hosts runs the test on every kind of host that this machine can be. The v2
// tree of a hybrid host has no controllers but everything else: there only
// limits and their counters need a pure v2 host.
func hosts(t *testing.T, test func(t *testing.T, h *Host)) {
	h := detect(t)
	t.Run(fmt.Sprintf("v%d", h.Mode()), func(t *testing.T) { test(t, h) })
	if cgroups.Mode() != cgroups.Hybrid {
		t.Logf("no hybrid host: only v%d is tested", h.Mode())
		return
	}
	v2, err := newV2("/sys/fs/cgroup/unified")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("v2 without controllers", func(t *testing.T) { test(t, v2) })
}

func detect(t testing.TB) *Host {
	t.Helper()
	h, err := Detect()
	if err != nil {
		t.Fatalf("these tests need a host with cgroups: %v", err)
	}
	return h
}

// parent returns a cgroup path of this test's own. All below it is killed and
// removed at the end.
func parent(t testing.TB, h *Host) string {
	t.Helper()
	name := "/sandboxer-test-" + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() {
		// The test's own context is done by now.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c := &Cgroup{host: h, name: name}
		if err := errors.Join(c.Kill(ctx), c.Delete(ctx)); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return name
}

func create(t testing.TB, h *Host, name string, l Limits) *Cgroup {
	t.Helper()
	c, err := h.Create(name, l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts a process of the role in the cgroup and waits until it says
// that it is ready. It is reaped at the end.
func start(t *testing.T, c *Cgroup, r string) *exec.Cmd {
	t.Helper()
	cmd, ready := launch(t, c, r)
	if ready != "ready" {
		t.Fatalf("the process said %q", ready)
	}
	return cmd
}

func launch(t *testing.T, c *Cgroup, r string) (*exec.Cmd, string) {
	t.Helper()
	cmd, line, _ := converse(t, c, r)
	return cmd, line
}

// converse is launch for a role that is spoken to: say sends a line and returns
// the answer, empty where the process ends instead.
func converse(t *testing.T, c *Cgroup, r string) (cmd *exec.Cmd, first string, say func(string) string) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = []string{role + "=" + r}
	stdin, err := cmd.StdinPipe() // ends the process if this one dies
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(cmd, (*exec.Cmd).Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Signal(unix.SIGKILL)
		cmd.Wait()
	})
	out := bufio.NewReader(stdout)
	read := func() string {
		line, _ := out.ReadString('\n')
		return strings.TrimSpace(line)
	}
	return cmd, read(), func(line string) string {
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			return ""
		}
		return read()
	}
}

// awaitZombie waits for the end of a child without reaping it.
func awaitZombie(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}
