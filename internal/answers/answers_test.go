package answers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
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
	m := mounts{"/": "ext4", far: "fuse.sshfs", filepath.Join(far, "tmp"): "tmpfs", filepath.Join(dir, "auto"): "autofs", filepath.Join(dir, "disk"): "xfs"}
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
	m["/"] = "9p"
	if got := m.foreign(dir); got != "/" {
		t.Errorf("a root that is not local: %q", got)
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
