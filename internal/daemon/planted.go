package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// notPlanted refuses directories of this daemon's in which a container can have left, or
// changed, what the daemon would take for its own. untouched: nothing was made there yet
// since the daemon began to start, and directories that were put in the place of others
// count, too.
func (d *daemon) notPlanted(check func(path string) error, untouched bool) error {
	all, err := written.New(written.Dir, "", check).Writers()
	if err != nil || len(all) == 0 {
		return err
	}
	dirs := []string{filepath.Join(d.c.StateDir, "sandboxes"), d.c.DataDir}
	for _, t := range d.own.all() {
		// What it leads to: the link is found on the way.
		if strings.HasPrefix(t.What, linkThing) && t.Path != filepath.Join(d.c.DataDir, "volumes") && check(t.Path) == nil {
			dirs = append(dirs, t.Path)
		}
	}
	if err := planting(all, dirs, filepath.Join(d.c.DataDir, "volumes"), d.kept.all(), untouched, check); err != nil {
		return fmt.Errorf("what is there may not be the daemon's own: %w; or choose another directory", err)
	}
	return nil
}

// believed are how names begin of what a daemon looks for in its data directory.
var believed = []string{"manifests", "memory", "records", "checkpoints", "volumes", "logs", "events"}

// planting is why what is in directories is not believed. volumes is the one in which all
// is the containers'. What does not answer, as check says, may be anything.
func planting(all written.Writers, dirs []string, volumes string, kept []shelf.Kept, untouched bool, check func(path string) error) error {
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if any, err := canReach(all, real, volumes); err != nil || !any {
			if err != nil {
				return err
			}
			continue
		}
		empty := true // but for what is nobody's
		var top error
		err = filepath.WalkDir(real, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile
			}
			if err != nil {
				return err
			}
			isTop := dir == filepath.Dir(volumes) && filepath.Dir(path) == real
			if isTop && !slices.ContainsFunc(believed, func(name string) bool { return strings.HasPrefix(e.Name(), name) }) {
				if e.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			if e.Type() != fs.ModeSymlink { // that is not followed
				if err := check(path); err != nil {
					return err
				}
			}
			f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			defer f.Close()
			err = all.Planted(f, path, kept)
			switch {
			case path == real:
				top = err
				return nil
			case err != nil:
				return err
			}
			empty = false
			if isTop && e.Name() == filepath.Base(volumes) && e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		})
		if err == nil && untouched && !empty {
			err = top
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// canReach says whether a volume of some container's is around a directory, or in it but
// for one.
func canReach(all written.Writers, dir, but string) (bool, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if can, err := all.Can(f); err != nil || can {
		return can, err
	}
	// What is mounted in it is on another file system, or elsewhere on this one.
	mounts, err := mountinfo.Read()
	if err != nil {
		return false, err
	}
	in, err := shelf.Places(f, mounts, nil)
	if err != nil {
		return false, err
	}
	var own []shelf.Place
	if v, err := os.OpenFile(but, unix.O_PATH|unix.O_NOFOLLOW, 0); err == nil {
		where, err := shelf.Locate(v, mounts)
		v.Close()
		if err != nil {
			return false, err
		}
		own = append(own, where)
	}
	return slices.ContainsFunc(all, func(w written.Writer) bool {
		return slices.ContainsFunc(w.Places, func(p shelf.Place) bool {
			return !p.Own && !p.In(own) && (p.In(in) || slices.ContainsFunc(in, func(i shelf.Place) bool { return i.In([]shelf.Place{p}) }))
		})
	}), nil
}
