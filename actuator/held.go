package actuator

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/shelf"
)

// held is what a path of a container led to when it was opened last. It is a
// mount of its own, so that the host's can be unmounted.
type held struct {
	file *os.File
	real string
}

// pathsOf opens what a container's declaration names. A path that leads through
// a volume of its sandbox's can be bent by the sandbox: where it has put a link
// there, the container goes on with what the path led to before.
func (a *Actuator) pathsOf(d *desired.Sandbox, c *desired.Container) hostpath.Resolver {
	paths := a.paths()
	key := d.Name + "/" + c.Name
	paths.Opened = func(name string, f hostpath.File) {
		if a.bendable(d, f) {
			a.holdPath(key, name, f)
		}
	}
	paths.Earlier = func(name string) (*hostpath.File, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		h, ok := a.held[key][name]
		if !ok {
			return nil, nil
		}
		fd, err := unix.FcntlInt(h.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		return &hostpath.File{File: os.NewFile(uintptr(fd), name), Real: h.real, Earlier: true}, nil
	}
	return paths
}

// bendable says whether something is inside of what a sandbox can write to. What
// can't be told is not held, and its path refused once it is bent.
func (a *Actuator) bendable(d *desired.Sandbox, f hostpath.File) bool {
	grants, err := a.declaredGrants(d)
	if err != nil || len(grants) == 0 {
		return false
	}
	mounts, _, err := a.mounts.Read()
	if err != nil {
		return false
	}
	where, err := shelf.Locate(f.File, mounts)
	return err == nil && slices.ContainsFunc(grants, func(g shelf.Place) bool { return g.At != where.At && where.In([]shelf.Place{g}) })
}

func (a *Actuator) holdPath(key, name string, f hostpath.File) {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	fd, err := unix.OpenTree(int(f.Fd()), "", flags)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[key] == nil {
		a.held[key] = map[string]held{}
	}
	if old, ok := a.held[key][name]; ok {
		old.file.Close()
	}
	a.held[key][name] = held{os.NewFile(uintptr(fd), name), f.Real}
}

// endHeld lets go of what was held for a container.
func (a *Actuator) endHeld(sandbox, container string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.letGoHeld(sandbox + "/" + container)
}

// letGoHeld is endHeld for who holds the lock.
func (a *Actuator) letGoHeld(key string) {
	for _, h := range a.held[key] {
		h.file.Close()
	}
	delete(a.held, key)
}
