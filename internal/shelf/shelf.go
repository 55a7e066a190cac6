package shelf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/observed"
)

// ErrNone says that a container has nothing on the shelf: it was made by a
// version that had none.
var ErrNone = errors.New("the container has no trees in its sandbox")

// Namespace is a mount namespace: an observed.Process has one.
type Namespace interface {
	// Open opens the namespace, or a pidfd of a process that is in it.
	Open() (*os.File, error)
}

// Tree is a directory or file of the host that a container is to see, with all
// that is mounted below it.
type Tree struct {
	// File is the object itself, of this process's mount namespace.
	File *os.File
	// Path is what it is called in messages.
	Path string
	// ReadOnly refuses every change, in submounts too.
	ReadOnly bool
	// Own is for what the caller has made for the container: nothing in it is
	// looked for.
	Own bool
}

// The names of the shelf's own directory and file, which cover others, of the
// directory with what is pinned, and of the files that say which mounts hide nothing
// that is open, and which may be taken away. No container's ID begins with a dot.
const (
	emptyDir  = ".nothing"
	emptyFile = ".empty"
	pins      = ".pins"
	closed    = ".closed"
	notes     = ".notes"
)

// shelfSource is what the shelf says in the kernel's table that it was made of.
const shelfSource = "shelf"

// Put makes a container's trees, hides in them what the guard says, and returns
// the directory that they are in, for its gofers. Trees that the container had
// before are taken away. An error that wraps ErrRefused says that something can't
// be kept from it; emptied, of what trees nothing is shown, and why.
func Put(ns Namespace, id string, trees []Tree, g Guard) (root *os.File, emptied []string, err error) {
	again := func() error {
		return lookAgain(func() error {
			root, emptied, err = put(ns, id, trees, g)
			return err
		})
	}
	err = again()
	var missing *missingError
	if errors.As(err, &missing) {
		if err := missing.make(); err != nil {
			return nil, nil, fmt.Errorf("making what a container could make else: %w", err)
		}
		err = again()
	}
	return root, emptied, err
}

func put(ns Namespace, id string, trees []Tree, g Guard) (_ *os.File, emptied []string, err error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, nil, err
	}
	places, err := g.locate(mounts)
	if err != nil {
		return nil, nil, err
	}
	made, err := layersIn(trees, mounts, g.Answers)
	if err != nil {
		return nil, nil, err
	}
	var clones []int
	defer func() {
		for _, fd := range clones {
			unix.Close(fd)
		}
	}()
	for _, t := range trees {
		fd, err := t.clone()
		if err != nil {
			return nil, nil, err
		}
		clones = append(clones, fd)
	}
	if err := Remove(ns, id); err != nil {
		return nil, nil, err
	}
	var root *os.File
	err = enter(ns, func(s *inside) error {
		if err := s.put(id, trees, clones); err != nil {
			return err
		}
		c := cover{inside: s, places: places, kernel: g.Kernel, trees: trees, made: made}
		if err := c.all("/" + id); err != nil {
			return err
		}
		emptied = c.emptied
		if c.covered {
			if c.mounts, err = mountinfo.ReadIn(s.proc); err != nil {
				return err
			}
		}
		if err := s.close(c.mounts, "/"+id); err != nil { // before anything could be opened
			return err
		}
		root, err = s.open(id)
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(err, Remove(ns, id))
	}
	return root, emptied, nil
}

// Open returns the directory with a container's trees; ErrNone where there is
// none.
func Open(ns Namespace, id string) (root *os.File, err error) {
	err = enter(ns, func(s *inside) error {
		root, err = s.open(id)
		return err
	})
	return root, err
}

// IDs are the containers that have trees, or had and have not been taken out of the
// sandbox.
func IDs(ns Namespace) (ids []string, err error) {
	err = enter(ns, func(s *inside) error {
		entries, err := os.ReadDir("/")
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				ids = append(ids, e.Name())
			}
		}
		return err
	})
	return ids, err
}

// ReadOnly says of each of a container's trees whether it refuses every change.
func ReadOnly(ns Namespace, id string) (readOnly map[int]bool, err error) {
	readOnly = map[int]bool{}
	err = enter(ns, func(s *inside) error {
		mounts, err := mountinfo.ReadIn(s.proc)
		for _, m := range mounts { // what is on top of others comes after them
			if tree, ok := treeOf(m.Point); ok && m.Point == "/"+id+"/"+strconv.Itoa(tree) {
				readOnly[tree] = m.ReadOnly
			}
		}
		return err
	})
	return readOnly, err
}

// Remove takes a container's trees away. What is covered in one stays covered
// for whoever kept a descriptor of it: the directory that all stand on is removed
// from outside of the namespace, which has the kernel take the mounts out as they
// are, while to unmount them would take them apart.
func Remove(ns Namespace, id string) error {
	shelf := -1
	err := enter(ns, func(s *inside) (err error) {
		shelf, err = unix.FcntlInt(uintptr(s.root), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	if errors.Is(err, observed.ErrGone) {
		return nil // and its namespace with it
	}
	if err != nil {
		return err
	}
	defer unix.Close(shelf)
	if err := unix.Unlinkat(shelf, id, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return fmt.Errorf("taking away the mounts of %s: %w", id, err)
	}
	return nil
}

// Cover hides, in all trees of a sandbox, what is to be hidden by now and was
// not there, or another object, when they were made. What can't be is returned.
// known is where things are: they are looked for again only if one has moved since.
// What is open stays so: see Sandbox.
func Cover(ns Namespace, known *Look) (exposed []Exposed, err error) {
	if exposed, err = coverOnce(ns, known, false); !errors.Is(err, errVanished) {
		return exposed, err
	}
	err = lookAgain(func() error {
		now, err := known.Again()
		if err != nil {
			return err
		}
		exposed, err = coverOnce(ns, now, false)
		return err
	})
	return exposed, err
}

// Exposes is what Cover would return, with nothing covered.
func Exposes(ns Namespace, known *Look) ([]Exposed, error) { return coverOnce(ns, known, true) }

// mostLooks is how often things are looked for that move or vanish meanwhile.
const mostLooks = 10

// lookAgain does something again that met what was removed or moved between the
// look for it and the mount upon it.
func lookAgain(do func() error) (err error) {
	for range mostLooks {
		if err = do(); !errors.Is(err, errVanished) {
			break
		}
	}
	return err
}

func coverOnce(ns Namespace, l *Look, dry bool) ([]Exposed, error) {
	var shown []mountinfo.Mount
	if err := enter(ns, func(s *inside) (err error) {
		shown, err = mountinfo.ReadIn(s.proc)
		return err
	}); err != nil {
		return nil, err
	}
	c := cover{places: l.places, kernel: l.guard.Kernel, dry: dry}
	var err error
	if c.made, err = l.made(shown); err != nil {
		return nil, err
	}
	if err := enter(ns, func(s *inside) error {
		c.inside, s.noting = s, l.noting
		err := c.all("/")
		if c.covered { // by mounts that may have the names of earlier ones
			err = errors.Join(err, s.forgetClosed())
		}
		return err
	}); err != nil {
		return nil, err
	}
	for i := range c.exposed {
		c.exposed[i].Path = l.pathOf(c.exposed[i].Tree)
	}
	return c.exposed, nil
}

// clone returns a detached copy of the tree with its attributes set. What is
// mounted on the host later does not come after: it would have none of them.
func (t Tree) clone() (int, error) {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	fd, err := unix.OpenTree(int(t.File.Fd()), "", flags)
	if err != nil {
		return -1, &os.PathError{Op: "copy the mount of", Path: t.Path, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if t.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("restricting %s: %w", t.Path, err)
	}
	return fd, nil
}

// inside is a thread in the sentry's mount namespace.
type inside struct {
	proc   int    // this process's /proc
	root   int    // the shelf
	noting string // see Look.Noting
}

// enter has do run in a mount namespace. The thread ends with it:
// nothing else is to run there. Paths of the host mean nothing to do.
func enter(ns Namespace, do func(*inside) error) error {
	f, err := ns.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	done := make(chan error, 1)
	go func() { done <- onOwnThread(func() error { return enterWith(int(f.Fd()), do) }) }()
	return <-done
}

// onOwnThread calls do on a thread that ends afterwards, as the goroutine that
// calls this must. The first thread of a process can't end, and what /proc/self
// shows is its.
func onOwnThread(do func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		return do()
	}
	defer runtime.UnlockOSThread()
	done := make(chan error, 1)
	go func() { done <- onOwnThread(do) }() // on another one: this one is taken
	return <-done
}

func enterWith(ns int, do func(*inside) error) error {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err == unix.ESRCH {
		return observed.ErrGone
	} else if err != nil {
		return fmt.Errorf("entering the sandbox's mount namespace: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s := &inside{proc: proc, root: root}
	defer func() { unix.Close(s.root) }()
	if err := unix.Faccessat(root, emptyDir, unix.F_OK, 0); err == unix.ENOENT {
		err = s.make()
		if err != nil {
			return fmt.Errorf("making a place for mounts in the sandbox: %w", err)
		}
	} else if err != nil {
		return err
	}
	return do(s)
}

// make makes the shelf.
func (s *inside) make() error {
	fd, err := newTmpfs(shelfSource)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Mkdirat(fd, emptyDir, 0o555), unix.Mkdirat(fd, pins, 0o700))
	var file int
	if err == nil {
		file, err = unix.Openat(fd, emptyFile, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC, 0o444)
	}
	if err == nil {
		unix.Close(file)
		err = mountOn(fd, s.root)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	unix.Close(s.root)
	s.root = fd
	// Absolute paths of this thread begin at the shelf from here on.
	return errors.Join(unix.Fchdir(fd), unix.Chroot("."))
}

// newTmpfs returns a detached file system that only this process can write to.
func newTmpfs(name string) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", name}, {"size", "1m"}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", o[0], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	const attr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	return fd, os.NewSyscallError("fsmount", err)
}

// mountOn mounts a detached mount on what another descriptor is of.
func mountOn(fd, on int) error {
	return os.NewSyscallError("move_mount", unix.MoveMount(fd, "", on, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// put mounts a container's trees.
func (s *inside) put(id string, trees []Tree, clones []int) error {
	dir, err := newTmpfs("trees")
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for i, clone := range clones {
		isDir, err := isDir(clone)
		if err != nil {
			return &os.PathError{Op: "stat", Path: trees[i].Path, Err: err}
		}
		if err := makeMountPoint(dir, strconv.Itoa(i), isDir); err != nil {
			return err
		}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(dir, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	if err := unix.Mkdirat(s.root, id, 0o755); err != nil {
		return os.NewSyscallError("mkdir", err)
	}
	if err := unix.MoveMount(dir, "", s.root, id, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return os.NewSyscallError("move_mount", err)
	}
	for i, clone := range clones {
		err := unix.MoveMount(clone, "", dir, strconv.Itoa(i), unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err == unix.ENOENT {
			err = s.standIn(dir, strconv.Itoa(i)) // the kernel mounts nothing that was removed
		}
		if err != nil {
			return fmt.Errorf("mounting %s: %w", trees[i].Path, err)
		}
	}
	return nil
}

// standIn mounts, in the place of what was removed since it was opened, what is as
// empty as that and can't be written to either.
func (s *inside) standIn(dir int, name string) error {
	on, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(on)
	return s.over(on)
}

// isDir asks for what never changes, which no file system has to be asked for.
func isDir(fd int) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

func makeMountPoint(dir int, name string, isDir bool) error {
	if isDir {
		return os.NewSyscallError("mkdir", unix.Mkdirat(dir, name, 0o755))
	}
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	return unix.Close(fd)
}

// open returns a container's directory.
func (s *inside) open(id string) (*os.File, error) {
	fd, err := unix.Openat(s.root, id, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, ErrNone
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: id, Err: err}
	}
	return os.NewFile(uintptr(fd), "trees of "+id), nil
}
