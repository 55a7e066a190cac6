package actuator

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// mountedDisk makes a disk in a directory that goes with the test.
func mountedDisk(t *testing.T, dir string, size int64) disk {
	t.Helper()
	k := disk{dir, observed.NewReaper(nil, nil)}
	t.Cleanup(func() {
		if err := k.remove(); err != nil {
			t.Error(err)
		}
	})
	for _, err := range []error{k.make(t.Context(), size), k.mount()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// A disk for which the host has no room stays as it was, and takes nothing of the
// room that is left.
func TestGrowBeyondTheHost(t *testing.T) {
	host := mountedDisk(t, t.TempDir(), 64<<20)
	k := mountedDisk(t, filepath.Join(host.at(diskMount), "volumes"), 4<<20)
	free := func() uint64 {
		t.Helper()
		var s unix.Statfs_t
		if err := unix.Statfs(host.at(diskMount), &s); err != nil {
			t.Fatal(err)
		}
		return s.Bavail * uint64(s.Bsize)
	}
	was, err := os.Stat(k.at(diskImage))
	if err != nil {
		t.Fatal(err)
	}
	before := free()
	if err := k.grow(t.Context(), 1<<30); err == nil {
		t.Fatal("it has grown")
	}
	is, err := os.Stat(k.at(diskImage))
	if err != nil {
		t.Fatal(err)
	}
	if is.Size() != was.Size() || free() < before-1<<20 {
		t.Errorf("%d bytes long, %d before; %d bytes are left, %d before", is.Size(), was.Size(), free(), before)
	}
	if err := k.mount(); err != nil {
		t.Error("it can't be mounted again:", err)
	}
}

// What a program of a killed daemon's still works on is neither made, mounted nor grown
// by the next one, and is once that has ended.
func TestDiskOfEarlier(t *testing.T) {
	k := disk{t.TempDir(), observed.NewReaper(nil, nil)}
	t.Cleanup(func() { check(t, k.remove()) })
	working := func(name string) (end func()) {
		t.Helper()
		image, err := os.OpenFile(k.at(name), os.O_CREATE|os.O_RDWR, 0o600)
		check(t, err)
		check(t, lockImage(image))
		// It has the lock from its daemon, which then dies.
		work := exec.Command("sleep", "3600")
		work.ExtraFiles = []*os.File{image}
		check(t, work.Start())
		check(t, image.Close())
		return func() {
			check(t, work.Process.Kill())
			_ = work.Wait()
		}
	}
	refused := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "is still worked on by a program that an earlier daemon has started") {
			t.Errorf("it said %v", err)
		}
	}
	end := working(diskImage + ".new")
	refused(k.make(t.Context(), 8<<20))
	end()
	check(t, k.make(t.Context(), 8<<20))

	end = working(diskImage)
	refused(k.mount())
	end()
	check(t, k.mount())

	end = working(diskImage)
	refused(k.grow(t.Context(), 16<<20))
	end()
	check(t, k.mount())
	check(t, k.grow(t.Context(), 16<<20))
	check(t, k.grow(t.Context(), 24<<20))

	// Whoever works on it has the lock for as long as that takes.
	image, err := os.OpenFile(k.at("other"), os.O_CREATE|os.O_RDWR, 0o600)
	check(t, err)
	defer image.Close()
	if err := k.tool(t.Context(), image, "sh", "-c", "test /proc/self/fd/3 -ef "+image.Name()); err != nil {
		t.Errorf("the program does not have what is locked: %v", err)
	}
}
