package answers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sandboxer/internal/mountinfo"
)

// The way of a path is followed through links, and not beyond what is not local.
func TestForeign(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	far := filepath.Join(dir, "far")
	for link, to := range map[string]string{"in": "far/x", "above": "../" + filepath.Base(dir) + "/far", "absolute": far, "chain": "in", "loop": "loop", "near": "."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	m := foreignOf([]mountinfo.Mount{
		{Point: "/", Kind: "ext4"}, {Point: far, Kind: "fuse.sshfs"}, {Point: filepath.Join(far, "tmp"), Kind: "tmpfs"},
		{Point: filepath.Join(dir, "auto"), Kind: "autofs"}, {Point: filepath.Join(dir, "disk"), Kind: "nfs"}, {Point: filepath.Join(dir, "disk"), Kind: "xfs"},
	})
	for path, want := range map[string]string{
		"/": "", "": "", dir: "",
		far: far, far + "/": far, far + "/a/b": far, far + "/tmp/x": far,
		dir + "/far/../disk": far, dir + "/disk/x": "", dir + "/auto": dir + "/auto", dir + "/farther": "",
		dir + "/in": far, dir + "/in/y": far, dir + "/above": far, dir + "/absolute/z": far, dir + "/chain": far,
		dir + "/loop": "", dir + "/near/far": far, dir + "/near/disk": "", dir + "/missing/x": "",
	} {
		if got := m.foreign(path); got != want {
			t.Errorf("%s leads to %q, want %q", path, got, want)
		}
	}
	if got := m.foreign("/proc/self/../../" + far); got != far {
		t.Errorf("got %q", got)
	}
	m["/"] = true
	if got := m.foreign(dir); got != "/" {
		t.Errorf("a root that is not local: %q", got)
	}
}

// An overlay is no more local than what it is made of, wherever its mount is told of.
func TestForeignOverlays(t *testing.T) {
	overlay := func(point, options string) mountinfo.Mount {
		return mountinfo.Mount{Point: point, Kind: "overlay", Options: options}
	}
	m := foreignOf([]mountinfo.Mount{
		{Point: "/", Kind: "ext4"}, overlay("/second", "rw,lowerdir=/d:/over/x"), overlay("/over", "rw,lowerdir=/d:/far/x,upperdir=/u,workdir=/w"),
		{Point: "/far", Kind: "nfs"}, overlay("/near", "rw,lowerdir+=/d,upperdir=/u"), overlay("/hidden", "lowerdir=/far"), {Point: "/hidden", Kind: "tmpfs"},
		overlay("/upper", "lowerdir=/d,upperdir=/far/u"),
	})
	for path, want := range map[string]string{
		"/over/a": "/over", "/second": "/second", "/upper/b": "/upper", "/near/a": "", "/hidden": "", "/far": "/far", "/d": "",
	} {
		if got := m.foreign(path); got != want {
			t.Errorf("%s leads to %q, want %q", path, got, want)
		}
	}
}

// Paths of local file systems cost no process.
func TestLocalPathsCostNoProcess(t *testing.T) {
	c := New("/nonexistent", nil)
	scan := c.Scan(Limit)
	for _, path := range []string{t.TempDir(), "", "relative", "/proc/self/exe", "/dev/null"} {
		if err := errors.Join(c.Check(path), scan(path, false)); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// An answer that comes while it is given up is one: nobody is told of it later.
func TestAnsweredInTheLastMoment(t *testing.T) {
	c := New("/nonexistent", nil)
	for range 100 { // which of two is seen first, the answer or the time, is by chance
		q := &question{since: time.Now().Add(-Limit), answered: make(chan struct{})}
		q.end()
		if err := c.await(q, "/far", Limit); err != nil || q.late {
			t.Fatalf("%v, given up: %v", err, q.late)
		}
	}
}
