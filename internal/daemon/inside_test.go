package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/shelf"
	"sandboxer/internal/shelf/shelftest"
)

// What is mounted in the daemon's directories, or linked there, does not show elsewhere
// either. What is mounted in volumes is the containers'.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{
		"d/logs", "d/manifests", "d/checkpoints", "d/volumes/web/e", "s/sandboxes", "m",
		"v/lg", "v/mfs", "v/x", "v/c", "v/deep", "v/s", "v/free", "v/lk", "v/lk/under", "v/of-container", "v/folder", "m/folder",
	} {
		check(t, os.MkdirAll(at(name), 0o755))
		check(t, os.WriteFile(at(name+"/secret"), nil, 0o644))
	}
	check(t, os.WriteFile(at("v/file"), []byte("secret"), 0o644))
	check(t, os.WriteFile(at("m/web.yaml"), nil, 0o644))
	for to, from := range map[string]string{"d/memory": "v/x", "d/checkpoints/web": "v/c", "d/records": "v/lk", "state": "s"} {
		check(t, os.Symlink(at(from), at(to)))
	}
	for _, m := range [][2]string{
		{"v/lg", "d/logs"}, {"v/mfs", "d/manifests"}, {"v/s", "s/sandboxes"}, {"v/deep", "v/lk/under"}, {"v/of-container", "d/volumes/web/e"},
		{"v/file", "m/web.yaml"}, {"v/folder", "m/folder"},
	} {
		check(t, unix.Mount(at(m[0]), at(m[1]), "", unix.MS_BIND, ""))
		t.Cleanup(func() { check(t, unix.Unmount(at(m[1]), unix.MNT_DETACH)) })
	}
	answers := func(string) error { return nil }
	d := &daemon{c: Config{StateDir: at("state"), DataDir: at("d"), Manifests: []string{at("m")}, Socket: at("s/sock")}}
	things, err := d.things(answers)
	check(t, err)
	ns := shelftest.New(t)
	ns.Put(t, "c.1", shelf.Guard{Things: things}, shelftest.Tree(t, at("v"), false))
	check(t, ns.Do(t, func() error {
		for name, hidden := range map[string]bool{
			"lg": true, "mfs": true, "x": true, "c": true, "s": true, "lk": true, "deep": true, "free": false, "of-container": false, "folder": false,
		} {
			if _, err := os.Lstat("/c.1/0/" + name + "/secret"); (err != nil) != hidden {
				t.Errorf("%s: %v", name, err)
			}
		}
		if b, err := os.ReadFile("/c.1/0/file"); err != nil || len(b) > 0 {
			t.Errorf("the manifest: %q, %v", b, err)
		}
		return nil
	}))
}
