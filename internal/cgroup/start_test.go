package cgroup

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// begun is what a process finds of itself.
type begun struct {
	Cgroups   string
	Args, Env []string
	FDs       []string
}

// in says whether it is in the cgroup in every hierarchy that is used.
func (b begun) in(c *Cgroup) bool {
	found := false
	for line := range strings.Lines(b.Cgroups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		v2 := controllers == ""
		if v2 != (c.host.Mode() == V2) || !v2 && !slices.ContainsFunc(strings.Split(controllers, ","), used) {
			continue
		}
		if path != c.Path() {
			return false
		}
		found = true
	}
	return found
}

// show writes it to stdout.
func show() int {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	b := begun{Cgroups: string(cgroups), Args: os.Args, Env: os.Environ()}
	for fd := 0; fd < 1000; fd++ {
		// What the runtime opened for itself is not inherited.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			link, _ := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
			b.FDs = append(b.FDs, link)
		}
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(b)
	}
	if err != nil {
		return 1
	}
	return 0
}

// started runs a command in the cgroup and returns what it found.
func started(t *testing.T, c *Cgroup, files []*os.File) begun {
	t.Helper()
	out := &strings.Builder{}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"name", "a,b", ""}, Env: []string{role + "=show"},
		ExtraFiles: files, Stdout: out}
	var b begun
	err := c.Start(cmd, (*exec.Cmd).Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		err = json.Unmarshal([]byte(out.String()), &b)
	}
	if err != nil {
		t.Error(err)
	}
	return b
}

// A process begins in the cgroup, in every hierarchy, and finds nothing but
// what it would find elsewhere. The caller stays where it was.
func TestStart(t *testing.T) {
	// What this test was started with open would be found in its children.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		where, err := os.ReadFile("/proc/self/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		// Numbers of one, two and three digits.
		for _, n := range []int{1, 7, 100} {
			b := started(t, c, slices.Repeat([]*os.File{null}, n))
			if !b.in(c) {
				t.Errorf("it is not in %s everywhere:\n%s", c.Path(), b.Cgroups)
			}
			if !slices.Equal(b.Args, []string{"name", "a,b", ""}) || !slices.Equal(b.Env, []string{role + "=show"}) {
				t.Errorf("its arguments are %q, its environment %q", b.Args, b.Env)
			}
			// Its standard files, one of which is a pipe.
			b.FDs = slices.DeleteFunc(b.FDs, func(link string) bool { return strings.HasPrefix(link, "pipe:") })
			if len(b.FDs) != n+2 || slices.ContainsFunc(b.FDs, func(link string) bool { return link != os.DevNull }) {
				t.Errorf("it was given %d files and has %q", n, b.FDs)
			}
		}
		if now, err := os.ReadFile("/proc/self/cgroup"); err != nil || string(now) != string(where) {
			t.Errorf("the caller was moved from\n%sto\n%s%v", where, now, err)
		}
	})
}

// Processes may be started in many cgroups at once.
func TestStartTogether(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		top := parent(t, h)
		var wg sync.WaitGroup
		for i := range 8 {
			c := create(t, h, top+"/"+strconv.Itoa(i), Limits{})
			wg.Go(func() {
				if b := started(t, c, nil); !b.in(c) {
					t.Errorf("what is to be in %s is in\n%s", c.Path(), b.Cgroups)
				}
			})
		}
		wg.Wait()
	})
}

func TestStartFails(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		top := parent(t, h)
		c := create(t, h, top+"/a", Limits{})
		started(t, c, nil) // what is opened once for all is open from now on
		open := openFiles(t)
		if err := c.Start(exec.Command("/no/such/program"), (*exec.Cmd).Start); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a program that is not there: %v", err)
		}
		refuse := func(*exec.Cmd) error { return unix.EPERM }
		if err := c.Start(exec.Command("/bin/true"), refuse); !errors.Is(err, unix.EPERM) {
			t.Errorf("start's own error: %v", err)
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(exec.Command("/bin/true"), (*exec.Cmd).Start); !errors.Is(err, ErrNotFound) {
			t.Errorf("a cgroup that is not there: %v", err)
		}
		if now := openFiles(t); now != open {
			t.Errorf("%d files are open, %d before", now, open)
		}
	})
}

// What goes wrong where no error can be returned any more is said in words.
func TestStartFailsInChild(t *testing.T) {
	h := detect(t)
	if h.Mode() != V1 {
		t.Skip("only v1 has processes join by themselves")
	}
	top := parent(t, h)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, program string
		start         func(*Cgroup, *exec.Cmd) error
	}{
		{"removed", "/bin/true", func(c *Cgroup, cmd *exec.Cmd) error {
			if err := c.Delete(t.Context()); err != nil {
				return err
			}
			return cmd.Start()
		}},
		{"no program", data, func(_ *Cgroup, cmd *exec.Cmd) error { return cmd.Start() }},
	} {
		c := create(t, h, top+"/"+strings.ReplaceAll(test.name, " ", "-"), Limits{})
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(test.program)
		cmd.ExtraFiles = []*os.File{nil, w}
		err = c.Start(cmd, func(cmd *exec.Cmd) error { return test.start(c, cmd) })
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(said) != joinerText {
			t.Errorf("%s: it said %q, %v", test.name, said, err)
		}
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: it ended with %v", test.name, cmd.ProcessState)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
