package actuator

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
)

// grantsTime is how long it is believed where a declared sandbox's volumes lead: each
// order and link of each sandbox asks for those of all. Where one writes is written
// down before it can, so this is of what can't write yet.
const grantsTime = time.Second

// granted are places that a declared sandbox's containers can write to.
type granted struct {
	places []shelf.Place
	looked time.Time
}

// writers are the sandboxes of the host of which containers can write to it, or
// could, and those of this daemon's that could once they are started.
func (a *Actuator) writers() (written.Writers, error) {
	all, err := a.c.Written.Writers()
	if err != nil {
		return nil, err
	}
	declared := a.c.Declared()
	for _, d := range declared {
		places, err := a.grantedTo(d)
		if err != nil {
			return nil, err
		}
		if len(places) > 0 {
			all = append(all, written.Writer{Sandbox: d.Name, Places: places, Since: time.Now()})
		}
	}
	a.forgetGranted(declared)
	return all, nil
}

// grantedTo is declaredGrants as of grantsTime ago at most, or as long as somebody else
// is looking.
func (a *Actuator) grantedTo(d *desired.Sandbox) ([]shelf.Place, error) {
	now := time.Now()
	a.mu.Lock()
	was, known := a.granted[d]
	if known && now.Sub(was.looked) < grantsTime {
		a.mu.Unlock()
		return was.places, nil
	}
	if known {
		a.granted[d] = granted{was.places, now}
	}
	a.mu.Unlock()
	places, err := a.declaredGrants(d)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.granted, d)
		return nil, err
	}
	a.granted[d] = granted{places, now}
	return places, nil
}

// forgetGranted forgets of what is not declared any more.
func (a *Actuator) forgetGranted(declared []*desired.Sandbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.granted) <= len(declared) {
		return
	}
	is := make(map[*desired.Sandbox]bool, len(declared))
	for _, d := range declared {
		is[d] = true
	}
	for d := range a.granted {
		if !is[d] {
			delete(a.granted, d)
		}
	}
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
		if isShortage(err) {
			return nil, err
		}
		if err != nil {
			continue // nobody can write what is not there or does not answer
		}
		mounts, _, err := a.mounts.Read()
		var more []shelf.Place
		if err == nil {
			more, err = shelf.Places(f.File, mounts, a.c.Answers.Check)
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// grantsOf are the places that a container with these mounts can write to.
func (a *Actuator) grantsOf(all []served) (places []shelf.Place, err error) {
	mounts, _, err := a.mounts.Read()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.ReadOnly || s.earlier {
			continue // what is there from earlier is inside another one
		}
		at := shelf.Places
		if s.tree.Own {
			at = shelf.OwnPlaces
		}
		more, err := at(s.tree.File, mounts, a.c.Answers.Check)
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// grantVolumes writes down where the emptyDirs of a sandbox are, which an earlier version
// did not.
func (a *Actuator) grantVolumes(sandbox string) error {
	f, err := os.OpenFile(a.volumesDir(sandbox), unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	mounts, _, err := a.mounts.Read()
	if err != nil {
		return err
	}
	places, err := shelf.OwnPlaces(f, mounts, a.c.Answers.Check)
	if err != nil {
		return err
	}
	return a.c.Written.Begin(sandbox, places)
}
