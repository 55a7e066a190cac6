package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// What the daemon is given for itself leads through no link that a container can make,
// or could, in a folder of its volume; through those of root's it does.
func TestFollowed(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(errors.Join(os.MkdirAll(at("v/sub"), 0o755), os.MkdirAll(at("real/more"), 0o755), os.WriteFile(at("real/c.yaml"), nil, 0o600),
		os.Symlink(at("real"), at("v/x")), os.Symlink(at("real"), at("v/sub/x")), os.Symlink(at("real"), at("link"))))
	configs := func(x string) map[string]Config {
		c := Config{StateDir: at("s"), DataDir: at("d"), ConfigFile: at("c.yaml"), Socket: at("so"), Manifests: []string{at("m")}}
		all := map[string]Config{"--state-dir": c, "--data-dir": c, "--manifests": c, "--config": c, "--socket": c}
		for flag, c := range all {
			switch flag {
			case "--state-dir":
				c.StateDir = x + "/new"
			case "--data-dir":
				c.DataDir = x + "/more"
			case "--manifests":
				c.Manifests = append(c.Manifests, x)
			case "--config":
				c.ConfigFile = x + "/c.yaml"
			case "--socket":
				c.Socket = x + "/so"
			}
			all[flag] = c
		}
		return all
	}
	log := written.New(at("written"), "/mine", func(string) error { return nil })
	look := func(x, could string) {
		t.Helper()
		writers, err := log.Writers()
		check(err)
		for flag, c := range configs(at(x)) {
			err := followed(c.named(), writers, func(string) error { return nil })
			if could == "" && err != nil || could != "" && (!errors.Is(err, hostpath.ErrLink) || !strings.HasPrefix(err.Error(), flag+" "+at(x)) || !strings.Contains(err.Error(), could)) {
				t.Errorf("%s by way of %s: %v, want %q", flag, x, err, could)
			}
		}
	}
	look("v/x", "")
	f, err := os.OpenFile(at("v"), unix.O_PATH, 0)
	check(err)
	defer f.Close()
	mounts, err := mountinfo.Read()
	check(err)
	place, err := shelf.Locate(f, mounts)
	check(err)
	check(log.Begin("web", []shelf.Place{place}))
	for _, could := range []string{`sandbox "web" can write`, `sandbox "web" could write until`} {
		look("v/x", could)
		look("v/sub/x", could)
		look("link", "")
		look("real", "")
		check(log.End("web"))
	}
}
