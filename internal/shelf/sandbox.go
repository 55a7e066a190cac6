package shelf

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/observed"
)

// Sandbox is what runs of a sandbox that has a shelf. Unlike what its daemon knows of it, all this is
// found from outside: it may be another daemon's.
type Sandbox struct {
	pids   []int
	mounts []mountinfo.Mount // of its namespace, when it was found

	// From Pin on: sentry is the process that has the shelf; kin are it and those
	// that it made for applications, with which it shares its namespace and its
	// descriptors; beside are all others, such as gofers.
	sentry      process
	kin, beside []process
	seen        []mountinfo.Mount // by the last call of Held
}

// process is one by its directory in /proc, which stays its.
type process struct {
	observed.Process
	dir    *os.File
	parent int
	ns     string
}

// Find looks for a sandbox among the processes of a cgroup; nil where none has a
// shelf.
func Find(pids []int) (*Sandbox, error) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	s := &Sandbox{pids: slices.Sorted(slices.Values(pids))} // the sentry is the first one mostly
	seen := []string{own}
	for _, pid := range s.pids {
		dir := "/proc/" + strconv.Itoa(pid)
		ns, err := os.Readlink(dir + "/ns/mnt")
		if isGone(err) || err == nil && slices.Contains(seen, ns) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen = append(seen, ns)
		mounts, err := mountinfo.ReadAt(unix.AT_FDCWD, dir+"/mountinfo")
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(mounts, isShelf) {
			s.mounts = mounts
			return s, nil
		}
	}
	return nil, nil
}

// isOver says whether a mount is over a place, or over a folder that it is in.
func isOver(mounts []mountinfo.Mount, m mountinfo.Mount, p *place) bool {
	point := path.Join(m.Point, below(m.Root, p.At))
	return slices.ContainsFunc(mounts, func(o mountinfo.Mount) bool {
		return o.ID != m.ID && within(m.Point, o.Point) && within(o.Point, point)
	})
}

// Pin opens the sandbox's processes, until Unpin; ErrGone where it has ended.
func (s *Sandbox) Pin() error {
	s.Unpin()
	for _, pid := range s.pids {
		p, err := openProcess(pid)
		if errors.Is(err, observed.ErrGone) || isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		s.beside = append(s.beside, p)
	}
	for _, p := range s.beside {
		if slices.ContainsFunc(s.beside, func(o process) bool { return o.PID == p.parent && o.ns == p.ns }) {
			continue
		}
		mounts, err := mountinfo.ReadAt(int(p.dir.Fd()), "mountinfo")
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(mounts, isShelf) {
			s.sentry = p
		}
	}
	if s.sentry.dir == nil {
		return observed.ErrGone
	}
	isKin := func(p process) bool { return p.ns == s.sentry.ns }
	s.kin = slices.DeleteFunc(slices.Clone(s.beside), func(p process) bool { return !isKin(p) })
	s.beside = slices.DeleteFunc(s.beside, isKin)
	return nil
}

// table is what the sentry, which is pinned, sees mounted; ErrGone where it has ended.
func (s *Sandbox) table() ([]mountinfo.Mount, error) {
	mounts, err := mountinfo.ReadAt(int(s.sentry.dir.Fd()), "mountinfo")
	if isGone(err) {
		err = observed.ErrGone
	}
	return mounts, err
}

func isShelf(m mountinfo.Mount) bool { return m.Source == shelfSource && m.Point == "/" }

// isGone is of an error that a process has ended.
func isGone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) }

func openProcess(pid int) (process, error) {
	p, err := observed.Identify(pid)
	if err != nil {
		return process{}, err
	}
	dir, err := p.OpenDir()
	if err != nil {
		return process{}, err
	}
	is := process{Process: p, dir: dir}
	if is.ns, err = readlinkAt(int(dir.Fd()), "ns/mnt"); err == nil {
		is.parent, err = p.Parent()
	}
	if err != nil {
		dir.Close()
		return process{}, err
	}
	return is, nil
}

func (p process) read(name string) (string, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path.Join(p.dir.Name(), name), Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// open opens one of its directories.
func (p process) open(dir string) (*os.File, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(p.dir.Name(), dir), Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

func readlinkAt(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// Unpin lets go of them.
func (s *Sandbox) Unpin() {
	for _, p := range slices.Concat(s.kin, s.beside) {
		p.dir.Close()
	}
	s.sentry, s.kin, s.beside = process{}, nil, nil
}

// Open implements Namespace, for what is pinned.
func (s *Sandbox) Open() (*os.File, error) {
	fd, err := unix.Openat(int(s.sentry.dir.Fd()), "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if isGone(err) {
		return nil, observed.ErrGone
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "ns/mnt", Err: err}
	}
	return os.NewFile(uintptr(fd), "ns/mnt"), nil
}
