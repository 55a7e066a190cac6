package test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk of the host's that is full gives ENOSPC to who writes to a root, with a
// limit or without, and ends nobody.
func TestHostDiskFull(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("data", w.data, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	w.mounted = w.data
	w.start()
	w.declare("web", storing("64Mi"))
	was := w.running("web")
	for _, name := range []string{"app", "other"} {
		if got := w.ok("exec", "web/"+name, "--", "/w", "fill", "/big", "100"); !strings.Contains(got, "no space left on device") {
			t.Errorf("%s: %s", name, got)
		}
		if r := w.run("exec", "web/"+name, "--", "/w", "touch-map", "/map", "50"); r.code == 0 || !strings.Contains(r.err, "SIGBUS") {
			t.Errorf("%s: %+v", name, r)
		}
		w.ok("exec", "web/"+name, "--", "/w", "remove", "/big", "then", "remove", "/map", "then", "fill", "/big", "2", "then", "remove", "/big")
	}
	for _, name := range []string{"app", "other"} {
		w.same(was, w.running("web"), name)
	}
}

// What ran while the data directory's disk was full has run, also for later daemons:
// nothing of it is run a second time.
func TestRecordsOnFullDisk(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("data", w.data, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	w.mounted = w.data
	w.start()
	ballast := filepath.Join(w.data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for name, policy := range map[string]string{"retried": "OnFailure", "once": "Never"} {
		w.declare(name, "restartPolicy: "+policy+"\n"+app("exit 0"))
	}
	restarted := func(how string) {
		for _, name := range []string{"retried", "once"} {
			s := w.wait(name, "Succeeded", func(s sandbox) bool { return s.Status.Phase == "Succeeded" })
			if c := s.box("app"); c.RestartCount != 0 || !strings.HasSuffix(c.ID, ".1") {
				t.Errorf("%s, %s: %+v", how, name, c)
			}
		}
	}
	restarted("at first")
	w.stop()
	w.start()
	restarted("after a restart")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	restarted("with room, after a kill")
}

// A checkpoint that could be changed by another name, and for whose copy there is no
// room, keeps no daemon from starting: it is told of, and not used before it is copied.
func TestCheckpointLinkedOnFullDisk(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("data", w.data, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatal(err)
	}
	w.mounted = w.data
	w.start()
	w.declare("other", app("sleep"))
	w.declare("web", "restartPolicy: Never\n"+app("witness /own"))
	w.running("web")
	w.witnessed("web", 3)
	w.declare("web", "restartPolicy: Never\n"+app("witness /own", "state: Suspended"))
	w.suspended("web")
	w.stop()
	// All of it, as by cp -l.
	files, err := filepath.Glob(filepath.Join(w.data, "checkpoints/web/*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	kept := filepath.Join(w.data, "volumes", "kept")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Link(file, filepath.Join(kept, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	large := w.fillDisk(w.data, 256<<10)
	w.start()
	w.running("other")
	w.declare("web", "restartPolicy: Never\n"+app("witness /own"))
	s := w.wait("web", "not restored", func(s sandbox) bool { return s.has("RestoreFailed") })
	if c, _ := s.condition("RestoreFailed"); !strings.Contains(c.Message, "has another name") || !strings.Contains(c.Message, "no room") {
		t.Errorf("it says %q", c.Message)
	}
	if err := os.Remove(large); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.witnessed("web", w.steps("web"))
}

// fillDisk fills a disk but for that many bytes, with one file.
func (w *world) fillDisk(dir string, left int64) string {
	w.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-left); err != nil {
		w.t.Fatal(err)
	}
	return f.Name()
}
