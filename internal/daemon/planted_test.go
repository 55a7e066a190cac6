package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

func placeOf(t *testing.T, path string) shelf.Place {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	check(t, err)
	defer f.Close()
	mounts, err := mountinfo.Read()
	check(t, err)
	where, err := shelf.Locate(f, mounts)
	check(t, err)
	return where
}

// allAnswer is of paths that do.
func allAnswer(string) error { return nil }

// A file that a container can have changed where a daemon finds what it believes is
// found however deep it is, and although all folders are older; what it writes in
// volumes counts for nothing.
func TestPlanting(t *testing.T) {
	for name, c := range map[string]struct {
		volume  string // what a container can write
		change  string // and does
		rename  bool   // it puts an older one in the place
		planted bool
	}{
		"nothing":                     {volume: "v"},
		"in place":                    {volume: "v", change: "v/d/manifests/web.json", planted: true},
		"deep":                        {volume: "v", change: "v/d/checkpoints/web/file", planted: true},
		"a volume inside":             {volume: "v/d/manifests", change: "v/d/manifests/web.json", planted: true},
		"its own volume":              {volume: "v/d/volumes/web/e", change: "v/d/volumes/web/e/file"},
		"another's volume in the way": {volume: "v", change: "v/d/volumes/web/e/file"},
		"behind a link":               {volume: "elsewhere", change: "elsewhere/file", planted: true},
		"elsewhere":                   {volume: "other", change: "other/file"},
		"the lock":                    {volume: "v", change: "v/d/lock"},
		"nobody's":                    {volume: "v", change: "v/d/other/file"},
		"all of it":                   {volume: "v", rename: true, planted: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			check(t, err)
			at := func(name string) string { return filepath.Join(dir, name) }
			for _, file := range []string{"v/d/manifests/web.json", "v/d/checkpoints/web/file", "v/d/volumes/web/e/file", "v/d/lock", "v/d/other/file", "elsewhere/file", "other/file"} {
				check(t, os.MkdirAll(filepath.Dir(at(file)), 0o755))
				check(t, os.WriteFile(at(file), nil, 0o644))
			}
			check(t, os.Symlink(at("elsewhere"), at("v/d/memory")))
			ticked(t, dir)
			since := time.Now()
			ticked(t, dir)
			if c.change != "" {
				changed(t, at(c.change), since)
			}
			if c.rename {
				check(t, errors.Join(os.Rename(at("v/d"), at("v/else")), os.Rename(at("v/else"), at("v/d"))))
			}
			all := written.Writers{{Sandbox: "web", Places: []shelf.Place{placeOf(t, at(c.volume))}, Since: since}}
			err = planting(all, []string{at("v/d"), at("v/d/memory"), at("none")}, at("v/d/volumes"), nil, true, allAnswer)
			if (err != nil) != c.planted {
				t.Errorf("%v", err)
			}
			if c.rename && planting(all, []string{at("v/d")}, at("v/d/volumes"), nil, false, allAnswer) != nil {
				t.Error("what the daemon itself may have changed counts")
			}
			if !c.planted || c.rename {
				return
			}
			var kept []shelf.Kept
			for _, name := range []string{"v/d", "elsewhere"} {
				kept = append(kept, shelf.Kept{Place: placeOf(t, at(name)), Since: time.Now()})
			}
			if planting(all, []string{at("v/d"), at("v/d/memory")}, at("v/d/volumes"), kept, true, allAnswer) == nil {
				t.Error("it is believed once it is kept from containers")
			}
			silent := errors.New("silent")
			answersNot := func(path string) error {
				if path == filepath.Dir(at(c.change)) {
					return silent
				}
				return nil
			}
			if err := planting(all, []string{at("v/d"), at("v/d/memory")}, at("v/d/volumes"), kept, true, answersNot); !errors.Is(err, silent) {
				t.Errorf("what does not answer is looked at: %v", err)
			}
			changed(t, at(c.change), time.Now())
			if err := planting(all, []string{at("v/d"), at("v/d/memory")}, at("v/d/volumes"), kept, true, allAnswer); err != nil && c.volume != "v/d/manifests" {
				t.Errorf("touched: %v", err)
			}
		})
	}
}

// changed writes a file, until that is later than some time: the kernel's clock for files
// has ticks.
func changed(t *testing.T, path string, after time.Time) {
	t.Helper()
	for {
		check(t, os.WriteFile(path, []byte("planted"), 0o644))
		var st unix.Stat_t
		check(t, unix.Stat(path, &st))
		if time.Unix(st.Ctim.Unix()).After(after) {
			return
		}
	}
}

// ticked waits until what is changed is later than what is there.
func ticked(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "tick")
	changed(t, file, time.Now())
	check(t, os.Remove(file))
}
