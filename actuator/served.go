package actuator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/gofer/serve"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/shelf"
	"sandboxer/observed"
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
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(kind, "Directory") && !info.IsDir():
		return fmt.Errorf("%s is not a directory", f.Name())
	case strings.HasPrefix(kind, "File") && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.Name())
	case info.Mode()&os.ModeDevice != 0:
		return fmt.Errorf("%s is a device, which containers are not given", f.Name())
	}
	return nil
}

// paths opens what manifests name. Links in folders that others than root can
// write are not followed, and neither are those that a container could have
// made.
func (a *Actuator) paths() hostpath.Resolver {
	return hostpath.Resolver{Answers: a.c.Answers.Check, Link: func(folder *os.File, _ string) error {
		if err := hostpath.OnlyRoots(folder); err != nil {
			return err
		}
		sandbox, err := a.writer(folder)
		if err == nil && sandbox != "" {
			err = fmt.Errorf("%w: the folder %s is in a volume that sandbox %q can write, which could have made it", hostpath.ErrLink, folder.Name(), sandbox)
		}
		return err
	}}
}

// writer is a sandbox of which a container can write to a folder of the host,
// or could once it is started; "" where there is none.
func (a *Actuator) writer(folder *os.File) (string, error) {
	where, err := shelf.Locate(folder)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	for id, places := range a.grants {
		if where.In(places) {
			a.mu.Unlock()
			sandbox, _, _ := strings.Cut(id, ".")
			return sandbox, nil
		}
	}
	a.mu.Unlock()
	for _, d := range a.c.Declared() {
		places, err := a.declaredGrants(d)
		if err != nil {
			return "", err
		}
		if where.In(places) {
			return d.Name, nil
		}
	}
	return "", nil
}

// declaredGrants are the places that a sandbox's containers can write to, wherever
// links lead by now.
func (a *Actuator) declaredGrants(d *desired.Sandbox) (places []shelf.Place, err error) {
	wherever := hostpath.Resolver{Answers: a.c.Answers.Check, Link: hostpath.AnyLink}
	for i := range d.Spec.Volumes {
		v := &d.Spec.Volumes[i]
		if v.HostPath == nil || !d.Writes(v.Name) {
			continue
		}
		f, err := wherever.Open(v.HostPath.Path)
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
			return nil, err // says nothing of the path
		}
		if err != nil {
			continue // nobody can write what is not there or does not answer
		}
		more, err := shelf.Places(f.File)
		f.Close()
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// grantsOf are the places that a container with these mounts can write to.
func grantsOf(all []served) (places []shelf.Place, err error) {
	for _, s := range all {
		if s.ReadOnly || s.tree.Own || s.earlier {
			continue // what is there from earlier is inside another one
		}
		more, err := shelf.Places(s.tree.File)
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// Cover hides from containers that run what is to be hidden by now.
func (a *Actuator) Cover() error {
	guard, err := a.c.Guard()
	if err != nil {
		return err
	}
	now, err := guard.Where()
	if err != nil {
		return err
	}
	a.mu.Lock()
	known := a.covered == now
	a.mu.Unlock()
	if known {
		return nil
	}
	names, err := a.c.Records.List()
	errs := []error{err}
	for _, name := range names {
		loaded, err := a.c.Records.Load(name)
		if err != nil || loaded.Record == nil {
			continue // the loop deals with those
		}
		if err := shelf.Cover(loaded.Record.Sentry, guard); err != nil && !errors.Is(err, observed.ErrGone) {
			errs = append(errs, fmt.Errorf("sandbox %q: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.covered = now
	return nil
}
