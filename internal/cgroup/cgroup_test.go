package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLifecycle(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		top := parent(t, h)
		name := top + "/web"
		if _, err := h.Load(name); !errors.Is(err, ErrNotFound) {
			t.Fatalf("Load before Create = %v", err)
		}
		create(t, h, name, Limits{})
		c := create(t, h, name, Limits{}) // again
		if _, err := h.Load(name); err != nil {
			t.Errorf("Load = %v", err)
		}
		if names, err := h.List(top); err != nil || !slices.Equal(names, []string{"web"}) {
			t.Errorf("List = %q, %v", names, err)
		}
		cmd := start(t, c, "idle")
		if pids, err := c.Procs(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("Procs = %v, %v; want %d", pids, err, cmd.Process.Pid)
		}
		if pruned, err := h.Prune(top); pruned || err != nil {
			t.Errorf("Prune of a parent in use = %v, %v", pruned, err)
		}
		if err := c.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pids, err := c.Procs(); err != nil || len(pids) != 0 {
			t.Errorf("Procs after Kill = %v, %v", pids, err)
		}
		cmd.Wait()
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != unix.SIGKILL {
			t.Errorf("the process ended with %v", cmd.ProcessState)
		}
		for range 2 {
			if err := errors.Join(c.Delete(t.Context()), c.Kill(t.Context())); err != nil {
				t.Errorf("Delete, Kill = %v", err)
			}
		}
		if _, err := c.Procs(); !errors.Is(err, ErrNotFound) {
			t.Errorf("Procs after Delete = %v", err)
		}
		for range 2 {
			if pruned, err := h.Prune(top); !pruned || err != nil {
				t.Errorf("Prune = %v, %v", pruned, err)
			}
		}
		if names, err := h.List(top); err != nil || len(names) != 0 {
			t.Errorf("List of what isn't there = %q, %v", names, err)
		}
	})
}

func TestNested(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		inner := create(t, h, c.Path()+"/a/b", Limits{})
		outside, inside := start(t, c, "idle"), start(t, inner, "idle")
		want := []int{outside.Process.Pid, inside.Process.Pid}
		slices.Sort(want)
		if pids, err := c.Procs(); err != nil || !slices.Equal(pids, want) {
			t.Errorf("Procs = %v, %v; want %v", pids, err, want)
		}
		if err := errors.Join(c.Kill(t.Context()), c.Delete(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := h.Load(inner.Path()); !errors.Is(err, ErrNotFound) {
			t.Errorf("Load of the nested one = %v", err)
		}
	})
}

// Who is in any hierarchy joined the first one before.
func TestStarted(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		name := parent(t, h)
		if pids, exists, err := h.Started(name); len(pids) > 0 || exists || err != nil {
			t.Errorf("Started before Create = %v, %t, %v", pids, exists, err)
		}
		c := create(t, h, name, Limits{})
		inner := create(t, h, name+"/a", Limits{})
		want := []int{start(t, c, "idle").Process.Pid, start(t, inner, "idle").Process.Pid}
		slices.Sort(want)
		if pids, exists, err := h.Started(name); !slices.Equal(pids, want) || !exists || err != nil {
			t.Errorf("Started = %v, %t, %v; want %v", pids, exists, err, want)
		}
		dirs := h.dirs(name)
		if len(dirs) == 1 {
			return
		}
		for _, pid := range want {
			if err := writeFile(filepath.Dir(dirs[0])+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
				t.Fatal(err)
			}
		}
		if pids, exists, err := h.Started(name); len(pids) > 0 || !exists || err != nil {
			t.Errorf("moved away from the first, Started = %v, %t, %v", pids, exists, err)
		}
		if err := errors.Join(os.Remove(dirs[0]+"/a"), os.Remove(dirs[0])); err != nil {
			t.Fatal(err)
		}
		if pids, exists, err := h.Started(name); !slices.Equal(pids, want) || !exists || err != nil {
			t.Errorf("left over in others, Started = %v, %t, %v; want %v", pids, exists, err, want)
		}
	})
}

func TestKillOutrunsForks(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		if !h.has("pids") {
			// Nothing would bound a bomb here.
			start(t, c, "hop")
			if err := c.Kill(t.Context()); err != nil {
				t.Error(err)
			}
			return
		}
		// The bomb refills the cgroup as fast as it can be emptied.
		pids := h.dir("pids", c.Path())
		if err := writeFile(pids+"/pids.max", "200"); err != nil {
			t.Fatal(err)
		}
		events, err := open(pids+"/pids.events", unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(events)
		start(t, c, "bomb")
		for contents(t, pids+"/pids.events") == "max 0" {
			// The kernel says when the count goes up; the time is for a count
			// that went up since it was read.
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(events), Events: unix.POLLPRI}}, 10); err != nil && !errors.Is(err, unix.EINTR) {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := c.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestKillFrozen(t *testing.T) {
	h := detect(t)
	if h.Mode() != V1 || !h.has("freezer") {
		t.Skip("only v1's freezer holds up a SIGKILL")
	}
	c := create(t, h, parent(t, h), Limits{})
	inner := create(t, h, c.Path()+"/inner", Limits{})
	start(t, c, "idle")
	start(t, inner, "idle")
	for _, c := range []*Cgroup{inner, c} {
		if frozen, err := c.Frozen(); frozen || err != nil {
			t.Errorf("frozen %v, %v before it is", frozen, err)
		}
		if err := writeFile(h.dir("freezer", c.Path())+"/freezer.state", "FROZEN"); err != nil {
			t.Fatal(err)
		}
		if frozen, err := c.Frozen(); !frozen || err != nil {
			t.Errorf("frozen %v, %v", frozen, err)
		}
	}
	if err := c.Kill(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who was moved out of one hierarchy, whichever it is, ends as all others.
func TestKillFindsTheMoved(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		name := parent(t, h)
		c := create(t, h, name, Limits{})
		dirs := h.dirs(name)
		if len(dirs) == 1 {
			dirs = nil // there it would be in no cgroup of the sandbox's
		}
		for _, dir := range dirs {
			pid := start(t, c, "idle").Process.Pid
			if err := writeFile(filepath.Dir(dir)+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
				t.Fatal(err)
			}
		}
		start(t, c, "idle")
		if err := c.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		if pids, _, err := h.Procs(name); len(pids) > 0 || err != nil {
			t.Errorf("%v are left, %v", pids, err)
		}
	})
}

func TestKillGivesUp(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		start(t, c, "idle")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// Whether the process ends before the answer is the kernel's choice;
		// that the answer comes, and what it says, is not.
		if err := c.Kill(ctx); err != nil && (!errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled)) {
			t.Errorf("Kill = %v", err)
		}
	})
}

func TestKillRefusesItsCaller(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{})
	other := start(t, c, "idle")
	if _, said := launch(t, c, "killself="+c.Path()); said != "ready" {
		t.Error(said)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("another process of the cgroup: %v", err)
	}
}

func TestDeleteWaits(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		cmd := start(t, c, "idle")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := c.Delete(ctx)
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
			t.Fatalf("Delete of a cgroup in use = %v", err)
		}
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("Delete must kill nothing: %v", err)
		}
		deleted := make(chan error)
		go func() { deleted <- c.Delete(t.Context()) }()
		cmd.Process.Kill()
		if err := <-deleted; err != nil {
			t.Error(err)
		}
	})
}

func TestZombiesHoldNothing(t *testing.T) {
	hosts(t, func(t *testing.T, h *Host) {
		c := create(t, h, parent(t, h), Limits{})
		cmd := start(t, c, "idle")
		cmd.Process.Kill()
		awaitZombie(t, cmd)
		if pids, err := c.Procs(); err != nil || len(pids) != 0 {
			t.Errorf("Procs = %v, %v", pids, err)
		}
		if err := c.remove(); err != nil {
			t.Errorf("a zombie holds the cgroup: %v", err)
		}
	})
}

func TestHalfOfIt(t *testing.T) {
	h := detect(t)
	if h.Mode() != V1 {
		t.Skip("v2 has one hierarchy, so that nothing can be there by half")
	}
	c := create(t, h, parent(t, h), Limits{})
	if err := os.Remove(h.dir("cpu", c.Path())); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Load(c.Path()); err != nil {
		t.Errorf("Load = %v", err)
	}
	if err := c.Set(Limits{CPUQuota: 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Set = %v", err)
	}
	if _, err := os.Stat(h.dir("cpu", c.Path())); err == nil {
		t.Error("Set brought a removed directory back")
	}
	create(t, h, c.Path(), Limits{CPUQuota: 1})
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNamesThatReachElsewhere(t *testing.T) {
	h := detect(t)
	for _, name := range []string{"", "/", "web", "/a/../b", "/..", "/a/", "//a", "/a/./b", "../a"} {
		_, err := h.Create(name, Limits{})
		_, loadErr := h.Load(name)
		_, listErr := h.List(name)
		_, pruneErr := h.Prune(name)
		_, _, procsErr := h.Procs(name)
		for _, err := range []error{err, loadErr, listErr, pruneErr, procsErr} {
			if err == nil || !strings.Contains(err.Error(), "cgroup path") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestSubtreeListsChildrenFirst(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := subtree(dir)
	want := []string{filepath.Join(dir, "a", "b"), filepath.Join(dir, "a"), dir}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("subtree = %q, %v; want %q", got, err, want)
	}
	if got, err := subtree(filepath.Join(dir, "none")); err != nil || got != nil {
		t.Errorf("subtree of nothing = %q, %v", got, err)
	}
}
