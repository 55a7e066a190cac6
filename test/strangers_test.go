package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What runs below the cgroup parent and belongs to no record is named in an
// event and ended.
func TestStrangerInTheCgroup(t *testing.T) {
	w := newWorld(t, "--resync", "1s")
	stranger := exec.Command(filepath.Join(rootfs, "w"), "sleep")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = stranger.Wait() // it is killed
		close(ended)
	}()
	joined := false
	for _, top := range hierarchies() {
		dir := filepath.Join(top, w.parent, "stranger")
		if os.MkdirAll(dir, 0o755) != nil {
			continue // a hierarchy that takes none, such as cpuset before its set-up
		}
		if os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(fmt.Sprint(stranger.Process.Pid)), 0) == nil {
			joined = true
		} else {
			_ = os.Remove(dir)
			_ = os.Remove(filepath.Dir(dir))
		}
	}
	if !joined {
		t.Fatal("no cgroup took the process")
	}
	w.start()
	select {
	case <-ended:
	case <-time.After(patience):
		_ = stranger.Process.Kill()
		t.Fatalf("it still runs")
	}
	w.declare("web", app("sleep"))
	w.running("web")
	if !poll(func() bool { return strings.Contains(w.ok("events"), "stranger") }) {
		t.Errorf("the events do not name it:\n%s", w.ok("events"))
	}
	for _, controller := range []string{"memory", "pids", "freezer"} {
		dir := filepath.Join("/sys/fs/cgroup", controller, w.parent, "stranger")
		if !w.until(func() bool { _, err := os.Lstat(dir); return os.IsNotExist(err) }) {
			t.Errorf("%s is left", dir)
		}
	}
	// Hierarchies that the daemon has no use for are the stranger's own.
	removeCgroups(w.parent + "/stranger")
	for _, top := range hierarchies() {
		_ = os.Remove(filepath.Join(top, w.parent)) // one in use stays
	}
}

// A directory of manifests that is away holds everything.
func TestDirectoryAway(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	away := filepath.Join(w.dir, "away")
	if err := os.Rename(w.manifests, away); err != nil {
		t.Fatal(err)
	}
	if !w.until(func() bool { return strings.Contains(w.ok("get", "-o", "json"), w.manifests) }) {
		t.Errorf("get does not say that the directory is away")
	}
	w.restart()
	if now := w.wait("web", "running", phase("Running")); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew")
	}
	if err := os.Rename(away, w.manifests); err != nil {
		t.Fatal(err)
	}
	if !w.until(func() bool { return !strings.Contains(w.ok("get", "-o", "json"), w.manifests) }) {
		t.Errorf("get says that the directory is away still")
	}
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew")
	}
}

// What runs and was declared to another daemon, whose memory is gone, is held
// while the directory is away, and ended once that is there and does not
// declare it.
func TestUnknownWhileDirectoryAway(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	w.stop()
	for _, dir := range []string{w.manifests, w.data} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	now := w.wait("web", "held", func(s sandbox) bool { return s.has("DeletionHeld") })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.Status.Phase != "Running" {
		t.Errorf("it did not go on: %+v", now)
	}
	if err := os.Mkdir(w.manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	w.gone("web")
}

// Containers come to and go from a running sandbox without the others.
func TestContainersComeAndGo(t *testing.T) {
	w := start(t)
	spec := func(names ...string) string {
		s := "containers:"
		for _, n := range names {
			s += "\n- " + box(n, "sleep")
		}
		return s
	}
	w.declare("web", spec("one", "two"))
	was := w.running("web")
	w.declare("web", spec("three", "one"))
	now := w.wait("web", "changed", func(s sandbox) bool {
		return running(s) && s.box("three").Ready && s.box("two").Name == "" && len(s.Status.Containers) == 2
	})
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("one").ID != was.box("one").ID || now.box("one").RestartCount != 0 {
		t.Errorf("others suffer: %+v became %+v", was, now)
	}
	w.declare("web", spec("two"))
	now = w.wait("web", "changed", func(s sandbox) bool { return running(s) && s.box("two").Ready && len(s.Status.Containers) == 1 })
	if !now.box("two").StartedAt.After(*was.box("two").StartedAt) || now.box("two").RestartCount != 0 {
		t.Errorf("what came back is %+v", now.box("two"))
	}
}
