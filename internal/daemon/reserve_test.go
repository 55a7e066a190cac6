package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Directories that would be taken for each other's contents are refused, also by
// links.
func TestApart(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.MkdirAll(at("data/volumes"), 0o700))
	check(t, os.Symlink(at("data"), at("link")))
	check(t, os.MkdirAll(at("alias"), 0o700))
	check(t, unix.Mount(at("data"), at("alias"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { check(t, unix.Unmount(at("alias"), unix.MNT_DETACH)) })
	answers := func(string) error { return nil }
	for _, c := range []struct{ manifests, state, data, want string }{
		{"m", "s", "data", ""},
		{".", "s", "data", ""}, // what is below the manifests' directory is not read
		{"data2", "s", "data", ""},
		{"m", "data", "data", "--data-dir"},
		{"m", "data/s/t", "data", "--state-dir"},
		{"m", "link/s", "data", "--state-dir"},
		{"m", "s", "s/data", "--data-dir"},
		{"s/m", "s", "data", "--manifests"},
		{"data/manifests", "s", "data", "--manifests"},
		{"link/volumes", "s", "data", "--manifests"},
		{"data", "s", "link", "--manifests"},
		{"alias/volumes", "s", "data", "--manifests"},
		{"m", "alias", "data", "--data-dir"},
	} {
		config := Config{Manifests: []string{at("other"), at(c.manifests)}, StateDir: at(c.state), DataDir: at(c.data)}
		err := config.apart(answers)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want+" ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
