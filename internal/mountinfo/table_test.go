package mountinfo

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The table shows each mount from the moment on at which it is made, and is not
// read where nothing has changed.
func TestTable(t *testing.T) {
	if unix.Geteuid() != 0 {
		t.Fatal("this test mounts, and needs root")
	}
	// The thread ends with the goroutine, and its mounts with it.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		testTable(t)
	}()
	<-done
}

func testTable(t *testing.T) {
	var table Table
	defer table.Close()
	dir := t.TempDir()
	want := func(mounted, fresh, readOnly bool) {
		t.Helper()
		mounts, isFresh, err := table.Read()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(mounts, func(m Mount) bool { return m.Point == dir })
		if (i >= 0) != mounted || isFresh != fresh || mounted && (mounts[i].Kind != "tmpfs" || mounts[i].ReadOnly != readOnly) {
			t.Errorf("mounted %t, fresh %t, of %d", i >= 0, isFresh, len(mounts))
		}
	}
	want(false, true, false)
	want(false, false, false)
	for range 3 {
		if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		want(true, true, false)
		want(true, false, false)
		if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
		}
		want(true, true, true)
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		want(false, true, false)
		want(false, false, false)
	}
	table.Close()
	want(false, true, false)
}

// Who watches is told of what is mounted, and of nothing after it has ended.
func TestWatch(t *testing.T) {
	told := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Watch(ctx, func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	}()
	dir := t.TempDir()
	// It may not watch yet.
	for again := true; again; {
		if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		select {
		case <-told:
			again = false
		case <-time.After(100 * time.Millisecond):
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
