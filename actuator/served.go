package actuator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/gofer/serve"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// served is a mount of a container's: what it is of the host, which is open, and
// as its gofer serves it.
type served struct {
	serve.Mount
	tree shelf.Tree
	// earlier: it is not in this process's mount namespace any more.
	earlier bool
}

func mountsOf(all []served) (mounts []serve.Mount) {
	for _, s := range all {
		mounts = append(mounts, s.Mount)
	}
	return mounts
}

func treesOf(all []served) (trees []shelf.Tree) {
	for _, s := range all {
		trees = append(trees, s.tree)
	}
	return trees
}

func closeServed(all []served) {
	for _, s := range all {
		s.tree.File.Close()
	}
}

func serveFile(f hostpath.File, readOnly bool) served {
	return served{
		serve.Mount{Source: f.Real, ReadOnly: readOnly},
		shelf.Tree{File: f.File, Path: f.Name(), ReadOnly: readOnly},
		f.Earlier,
	}
}

// serveMount is a host path that a user declared.
func serveMount(paths hostpath.Resolver, source string, readOnly bool) (served, error) {
	f, err := paths.Open(source)
	if err != nil {
		return served{}, err
	}
	return serveFile(f, readOnly), nil
}

// serveVolume is a volume as a gofer serves it.
func (a *Actuator) serveVolume(paths hostpath.Resolver, d *desired.Sandbox, v *desired.Volume, readOnly bool) (served, error) {
	if v.HostPath != nil {
		f, err := openHostPath(paths, v.HostPath)
		if err != nil {
			return served{}, err
		}
		s := serveFile(f, readOnly)
		s.Sockets = v.HostPath.Sockets
		return s, nil
	}
	path := filepath.Join(a.volumesDir(d.Name), v.Name)
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return served{}, err
	}
	s := serveFile(hostpath.File{File: f, Real: path}, readOnly)
	s.tree.Own = true
	return s, nil
}

// openHostPath does what a hostPath's type asks for, as in a Pod.
func openHostPath(paths hostpath.Resolver, h *desired.HostPath) (f hostpath.File, err error) {
	switch h.Type {
	case "DirectoryOrCreate":
		f, err = paths.Make(h.Path, 0o755)
	case "FileOrCreate":
		f, err = paths.MakeFile(h.Path, 0o644)
	default:
		f, err = paths.Open(h.Path)
	}
	if err != nil {
		return f, err
	}
	if err := checkType(f, h.Type); err != nil {
		f.Close()
		return f, err
	}
	return f, nil
}

// checkType holds what was found to a hostPath's type. A device would be of no
// use, and a pipe's or socket's mount is of the file alone.
func checkType(f hostpath.File, kind string) error {
	is, err := f.Kind()
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(kind, "Directory") && is != unix.S_IFDIR:
		return fmt.Errorf("%s is not a directory", f.Name())
	case strings.HasPrefix(kind, "File") && is != unix.S_IFREG:
		return fmt.Errorf("%s is not a regular file", f.Name())
	case is == unix.S_IFCHR || is == unix.S_IFBLK:
		return fmt.Errorf("%s is a device, which containers are not given", f.Name())
	}
	return nil
}

// paths opens what manifests name. Links in folders that others than root can
// write are not followed, and neither are those that a container could have
// made.
func (a *Actuator) paths() hostpath.Resolver {
	return hostpath.Resolver{Answers: a.c.Answers.Check, Do: a.c.Answers.Do, Link: func(folder *os.File, changed time.Time) error {
		if err := hostpath.OnlyRoots(folder); err != nil {
			return err
		}
		mounts, _, err := a.mounts.Read()
		if err != nil {
			return err
		}
		where, err := shelf.Around(folder, mounts, a.c.Answers.Check)
		if err != nil {
			return err
		}
		all, err := a.writers()
		if err != nil {
			return err
		}
		return all.RefusalLink(folder, where, changed)
	}}
}

// ManifestsReach returns what says why a manifest, a folder or a link is not obeyed that
// was found at a path, by what containers can write now, or could, and what is kept from
// them: it is looked for when it is first needed. elsewhere says that it is in none of
// the manifests' directories.
func (a *Actuator) ManifestsReach(kept []shelf.Kept) desired.Reach {
	writers := sync.OnceValues(a.writers)
	mounted := sync.OnceValues(func() (map[string]bool, error) {
		mounts, err := mountinfo.Read()
		points := map[string]bool{}
		for _, m := range mounts {
			points[m.Point] = true
		}
		return points, err
	})
	exposed := map[string]bool{} // folders
	return func(real string, info fs.FileInfo, elsewhere bool) error {
		all, err := writers()
		if err != nil || len(all) == 0 {
			return err
		}
		linked := info.Mode().IsRegular() && info.Sys().(*syscall.Stat_t).Nlink > 1
		if !elsewhere && !linked {
			points, err := mounted()
			if err != nil {
				return err
			}
			if folder := filepath.Dir(real); !points[real] {
				is, known := exposed[folder]
				if !known {
					if is, err = couldWrite(all, folder); err != nil {
						return err
					}
					exposed[folder] = is
				}
				if !is {
					return nil
				}
			}
		}
		f, err := os.OpenFile(real, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		now, err := f.Stat()
		if err != nil {
			return err
		}
		// Whoever can write the folder may show one thing to who reads it and another one
		// to who judges it.
		if !os.SameFile(now, info) || now.Sys().(*syscall.Stat_t).Ctim != info.Sys().(*syscall.Stat_t).Ctim {
			return fmt.Errorf("%s was changed, or something else was put in its place, while it was looked at", real)
		}
		if elsewhere {
			return all.Refusal(f, real)
		}
		return errors.Join(all.Planted(f, real, kept), all.RefusalElse(f, real))
	}
}

func couldWrite(all written.Writers, folder string) (bool, error) {
	f, err := os.OpenFile(folder, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return all.Can(f)
}
