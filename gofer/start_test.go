package gofer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
	"sandboxer/observed"
)

// program is a gofer and nothing else. It is built without cgo, whatever the
// tests themselves are built with: gofers need that.
var program string

// home is the cgroup of all gofers of these tests.
var home *cgroup.Cgroup

func TestMain(m *testing.M) {
	if os.Getenv(asEnv) == "sentry" {
		os.Exit(beSentry())
	}
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M) (status int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("these tests need root")
	}
	// What whoever runs the tests left open is not to be found in gofers: the
	// daemon does the same when it starts.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "gofer-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "gofer")
	build := exec.Command("go", "build", "-o", program, "sandboxer/internal/goferbin/sandboxer-gofer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the gofer: %w: %s", err, out)
	}
	host, err := cgroup.Detect()
	if err != nil {
		return 0, err
	}
	if home, err = host.Create(fmt.Sprintf("/sandboxer-gofer-test-%d", os.Getpid()), cgroup.Limits{}); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, home.Delete(context.Background())) }()
	// What is opened once for all is open before anything is counted.
	first := exec.Command("/bin/true")
	if err := errors.Join(home.Start(first, (*exec.Cmd).Start), first.Wait()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a gofer that is killed and reaped after the test.
func start(t *testing.T, c Config) *Gofer {
	t.Helper()
	c.Exe, c.Cgroup = program, home
	c.Root, _ = rootOf(t, c.Mounts)
	g, err := openAndStart(context.Background(), c)
	check(t, err)
	t.Cleanup(func() {
		g.Close()
		if err := g.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, observed.ErrGone) {
			t.Error(err)
		}
		reap(t, g.Process.PID)
	})
	return g
}

// rootOf is a directory with the mounts, as a sandbox's sentry has it.
func rootOf(t *testing.T, mounts []serve.Mount) (root *os.File, end func()) {
	t.Helper()
	var trees []shelf.Tree
	for _, m := range mounts {
		trees = append(trees, shelftest.Tree(t, m.Source, m.ReadOnly))
	}
	ns := shelftest.New(t)
	return ns.Put(t, "trees", shelf.Guard{}, trees...), ns.Close
}

func reap(t *testing.T, pid int) {
	t.Helper()
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Errorf("waiting for process %d: %v", pid, err)
			return
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// A gofer stands apart from everything of the host but what it was given.
func TestIsolation(t *testing.T) {
	t.Setenv("SECRET", "of the daemon")
	// Somebody forgot to close these, with numbers between and beyond others.
	leaked := filepath.Join(t.TempDir(), "leaked")
	for range 40 {
		f, err := os.Create(leaked)
		check(t, err)
		defer f.Close()
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
		check(t, err)
	}
	g := start(t, Config{ID: "s.app.1", Mounts: []serve.Mount{{Source: t.TempDir()}, {Source: t.TempDir(), ReadOnly: true}}})
	proc := fmt.Sprintf("/proc/%d/", g.Process.PID)

	for _, ns := range []string{"ipc", "mnt", "net", "pid", "user", "uts"} {
		theirs, err := os.Readlink(proc + "ns/" + ns)
		check(t, err)
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		check(t, err)
		if theirs == ours {
			t.Errorf("it shares our %s namespace", ns)
		}
	}
	status := map[string]string{}
	for line := range strings.Lines(read(t, proc+"status")) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	// CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID.
	const few = "000000000000001f"
	for name, want := range map[string]string{
		"CapEff": few, "CapPrm": few, "CapBnd": few, "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		"Seccomp": "2", "NoNewPrivs": "1",
	} {
		if status[name] != want {
			t.Errorf("%s is %s, want %s", name, status[name], want)
		}
	}
	// Every thread, as each has capabilities and a filter of its own.
	tasks, err := filepath.Glob(proc + "task/*/status")
	check(t, err)
	for _, task := range tasks {
		text := read(t, task)
		if !strings.Contains(text, "CapEff:\t"+few) || !strings.Contains(text, "Seccomp:\t2") {
			t.Errorf("thread %s:\n%s", task, text)
		}
	}
	if env := read(t, proc+"environ"); env != "" {
		t.Errorf("its environment is %q", env)
	}
	if line := read(t, proc+"cmdline"); line != "sandboxer-gofer\x00s.app.1\x00" {
		t.Errorf("its command line is %q", line)
	}
	entries, err := os.ReadDir(proc + "root")
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "0 1" {
		t.Errorf("its root holds %s", got)
	}
	fds, err := filepath.Glob(proc + "fd/*")
	check(t, err)
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		check(t, err)
		if strings.HasPrefix(to, "pipe:") || to == leaked { // its status, or ours
			t.Errorf("it has %s open", to)
		}
	}
	if stat := strings.Fields(read(t, proc+"stat")); stat[5] != fmt.Sprint(g.Process.PID) {
		t.Errorf("it is of session %s", stat[5])
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

// A gofer that can't serve says why, and leaves neither process nor descriptor.
func TestFailures(t *testing.T) {
	good := []serve.Mount{{Source: t.TempDir()}}
	root, _ := rootOf(t, good)
	data := filepath.Join(t.TempDir(), "data")
	check(t, os.WriteFile(data, nil, 0o700))
	text, err := os.Open(data)
	check(t, err)
	defer text.Close()
	for _, c := range []struct {
		name, want string
		config     Config
	}{
		{"root", "entering the directory of the mounts", Config{Mounts: good, Root: text}},
		{"none", "at least one mount", Config{}},
		{"data", "exec", Config{Mounts: good, Exe: data}},
		{"exe", "starting the gofer of exe", Config{Mounts: good, Exe: "/no/such/program"}},
		{"wordless", "ended without a word", Config{Mounts: good, Exe: "/bin/true"}},
	} {
		c.config.ID = c.name
		if c.config.Exe == "" {
			c.config.Exe = program
		}
		c.config.Cgroup = home
		if c.config.Root == nil {
			c.config.Root = root
		}
		before := openFiles(t)
		g, err := openAndStart(context.Background(), c.config)
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if !strings.HasPrefix(err.Error(), "starting the gofer") {
			reap(t, -1)
		}
		if after := openFiles(t); after != before {
			t.Errorf("%s: %d descriptors, %d before", c.name, after, before)
		}
	}
}

// A gofer that does not come to serve is killed when there is no more time.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	mounts := []serve.Mount{{Source: t.TempDir()}}
	root, _ := rootOf(t, mounts)
	// Its command line has it sleep so many seconds.
	_, err := openAndStart(ctx, Config{Exe: "/bin/sleep", ID: "1000", Mounts: mounts, Root: root, Cgroup: home})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	reap(t, -1)
}

// One that is let go of before it is asked whether it serves is ended.
func TestLetGoOf(t *testing.T) {
	mounts := []serve.Mount{{Source: t.TempDir()}}
	root, _ := rootOf(t, mounts)
	before := openFiles(t)
	g, err := Open(len(mounts))
	check(t, err)
	// Its command line has it sleep so many seconds.
	check(t, g.Start(Config{Exe: "/bin/sleep", ID: "1000", Mounts: mounts, Root: root, Cgroup: home}))
	g.Close()
	reap(t, g.Process.PID)
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// It ends by itself when the last that could ask it has gone.
func TestEndsWithItsSockets(t *testing.T) {
	c := Config{Exe: program, ID: "alone", Cgroup: home, Mounts: []serve.Mount{{Source: t.TempDir()}}}
	c.Root, _ = rootOf(t, c.Mounts)
	g, err := openAndStart(context.Background(), c)
	check(t, err)
	g.Close()
	reap(t, g.Process.PID)
}

// openAndStart opens and starts a gofer; nothing is left behind where that fails.
func openAndStart(ctx context.Context, c Config) (*Gofer, error) {
	g, err := Open(len(c.Mounts))
	if err != nil {
		return nil, err
	}
	if err = g.Start(c); err == nil {
		err = g.Ready(ctx)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}
