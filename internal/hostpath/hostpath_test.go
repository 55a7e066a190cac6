package hostpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func check(t testing.TB, err error) {
	if err != nil {
		t.Helper() // which looks at the stack: not in all that fuzzers do
		t.Fatal(err)
	}
}

// onlyRoots follows links that nobody but root can have made.
func onlyRoots() Resolver {
	return Resolver{Link: func(folder *os.File, _ time.Time) error { return OnlyRoots(folder) }}
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

// Where a kernel, or what is in front of it, has no openat2, paths are walked with
// the same results.
func TestWithoutOpenat2(t *testing.T) {
	done := make(chan error, 1)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	check(t, os.Symlink("file", filepath.Join(dir, "link")))
	for name, want := range map[string]string{"file": "file", "./file": "file", "link": "file", "../" + filepath.Base(dir) + "/file": "file", "none": ""} {
		go func() {
			runtime.LockOSThread() // and the thread ends with it
			err := withoutOpenat2()
			if _, ok := straight(dir); ok {
				err = errors.New("openat2 is there")
			}
			if root, rootErr := os.Open(dir); rootErr == nil {
				if why := InTheWay(root, Place{At: "/none", File: true, ReadOnly: true}); why != "" {
					err = errors.New("it is said of what nobody has looked at that " + why)
				}
				root.Close()
			}
			f, openErr := onlyRoots().Open(dir + "/" + name)
			if openErr == nil {
				f.Close()
			}
			if err == nil && (openErr == nil) != (want != "") || want != "" && f.Real != filepath.Join(dir, want) {
				err = fmt.Errorf("%s led to %s: %w", name, f.Real, openErr)
			}
			done <- err
		}()
		check(t, <-done)
	}
	for name, ok := range map[string]bool{"file": true, "link": false, "link/": false, "../" + filepath.Base(dir): false, "none": false, "": true} {
		f, got := straight(dir + "/" + name)
		if got {
			f.Close()
		}
		if got != ok {
			t.Errorf("%q is opened at once: %v", name, got)
		}
	}
	if _, ok := straight("/proc/self/exe"); ok {
		t.Error("a link of the kernel's is followed")
	}
}

// withoutOpenat2 refuses it to the calling thread for good.
func withoutOpenat2() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_OPENAT2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
