package hostpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onlyRoots follows links that nobody but root can have made.
func onlyRoots() Resolver {
	return Resolver{Link: func(folder *os.File, _ string) error { return OnlyRoots(folder) }}
}

// Links are followed where root alone can write, and refused elsewhere, whatever
// place in the path they have.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	check(t, os.MkdirAll(at("target/sub"), 0o755))
	check(t, os.WriteFile(at("target/sub/file"), []byte("content"), 0o600))
	for name, make := range map[string]func(string) error{
		"good":  func(string) error { return nil },
		"group": func(d string) error { return os.Chmod(d, 0o775) },
		"all":   func(d string) error { return os.Chmod(d, 0o777|os.ModeSticky) },
		"user":  func(d string) error { return os.Chown(d, 1000, 0) },
	} {
		check(t, os.Mkdir(at(name), 0o755))
		check(t, os.Symlink("../target", at(name, "relative")))
		check(t, os.Symlink(at("target"), at(name, "absolute")))
		check(t, make(at(name)))
		for _, link := range []string{"relative", "absolute"} {
			f, err := onlyRoots().Open(at(name, link, "sub/file"))
			if name != "good" {
				if !errors.Is(err, ErrLink) || !strings.Contains(err.Error(), at(name)) {
					t.Errorf("%s/%s: %v", name, link, err)
				}
				continue
			}
			check(t, err)
			if f.Real != at("target/sub/file") {
				t.Errorf("%s/%s led to %s", name, link, f.Real)
			}
			if b, err := f.Read(7); err != nil || string(b) != "content" {
				t.Errorf("%q, %v", b, err)
			}
			f.Close()
		}
		if _, err := onlyRoots().Make(at(name, "absolute", "new"), 0o755); (err == nil) != (name == "good") {
			t.Errorf("making a folder through %s: %v", name, err)
		}
	}
	check(t, os.Symlink("loop", at("loop")))
	if _, err := onlyRoots().Open(at("loop")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: %v", err)
	}
	if _, err := onlyRoots().Open(at("none/none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := onlyRoots().Open("relative"); err == nil {
		t.Error("a relative path was opened")
	}
}

// Nothing that is read waits or has no end.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	check(t, unix.Mkfifo(pipe, 0o600))
	large := filepath.Join(dir, "large")
	check(t, os.WriteFile(large, make([]byte, 100), 0o600))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, path := range []string{pipe, dir, "/dev/zero", "/dev/null", "/proc/kmsg", large} {
			f, err := onlyRoots().Open(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if _, err := f.Read(99); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", path, err)
			}
			f.Close()
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("something is read for ever")
	}
}

// A file is replaced as a whole, and removed only if it is the one that was
// written.
func TestWriteAndRemove(t *testing.T) {
	dir := t.TempDir()
	folder, name, err := onlyRoots().Parent(filepath.Join(dir, "pid"))
	check(t, err)
	defer folder.Close()
	check(t, folder.Write(name, []byte("12"), 0o644))
	check(t, folder.Remove(name, []byte("1")))
	check(t, folder.Write(name, []byte("13"), 0o644))
	if b, err := os.ReadFile(filepath.Join(dir, "pid")); err != nil || string(b) != "13" {
		t.Errorf("%q, %v", b, err)
	}
	check(t, folder.Remove(name, []byte("13")))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
