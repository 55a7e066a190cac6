// Package shelftest makes mount namespaces for tests, in the place of a sentry's.
package shelftest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/shelf"
)

// Namespace is a mount namespace that lasts as long as the test.
type Namespace struct{ file *os.File }

// New makes one.
func New(t testing.TB) Namespace {
	t.Helper()
	var n Namespace
	err := onThread(func() (err error) {
		n.file, err = alone()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// alone puts this thread into a namespace of its own and opens that.
func alone() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/mnt")
}

// Open implements shelf.Namespace.
func (n Namespace) Open() (*os.File, error) {
	fd, err := unix.FcntlInt(n.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), n.file.Name()), nil
}

// Close lets go of the namespace before the test ends.
func (n Namespace) Close() { n.file.Close() }

// Put puts trees of the host into the namespace and returns their directory.
func (n Namespace) Put(t testing.TB, id string, g shelf.Guard, trees ...shelf.Tree) *os.File {
	t.Helper()
	root, _, err := shelf.Put(n, id, trees, g)
	for _, tree := range trees {
		tree.File.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// Tree is what is at a path.
func Tree(t testing.TB, path string, readOnly bool) shelf.Tree {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(real, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return shelf.Tree{File: f, Path: path, ReadOnly: readOnly}
}

// Do calls do on a thread in the namespace.
func (n Namespace) Do(t testing.TB, do func() error) error {
	t.Helper()
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNS); err != nil {
			return err
		}
		return do()
	})
}

// onThread calls do on a thread that ends with it, and is not the process's first: what
// /proc/self shows is that one's.
func onThread(do func() error) error {
	done := make(chan error)
	var run func()
	run = func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- do()
			return
		}
		defer runtime.UnlockOSThread()
		another := make(chan struct{})
		go func() { defer close(another); run() }()
		<-another
	}
	go run()
	return <-done
}
