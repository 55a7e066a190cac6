package shelf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
)

// ErrRefused says that a container would reach what it must not.
var ErrRefused = errors.New("what is the daemon's own is not given to containers")

// Thing is a file or directory of the host that no container may reach.
type Thing struct {
	// Path is absolute; links in it are followed.
	Path string
	// What it is, for messages: "the state directory".
	What string
	// Hidden: it shows as empty and read-only. Else it may be read.
	Hidden bool
	// Replaced: its owner puts another one in its place by a rename, which takes
	// a cover away until Cover is called. Where it can be, the folder that it is
	// in shows as read-only.
	Replaced bool
	// Empty: where a container could make it, an empty file is made first.
	Empty bool
	// Silent is where the file system is mounted that it is on, if that does not
	// answer: nothing of that is looked at, and nothing of it shown to containers
	// that are started meanwhile.
	Silent string
}

// Guard says what is kept from containers.
type Guard struct {
	Things []Thing
	// Kernel shows procfs, sysfs and their kind: what a process opens in them it
	// opens as the sentry, whose own memory is there, too.
	Kernel bool
}

// kernelKinds are the file systems by which the kernel shows itself and its
// devices.
var kernelKinds = []string{
	"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs",
	"bpf", "efivarfs", "pstore", "binfmt_misc", "fusectl", "selinuxfs", "smackfs", "nsfs", "rpc_pipefs", "resctrl",
}

// place is where a thing is now.
type place struct {
	Thing
	Place
	// missing: it is not there. The place is that of the folder that it, or the
	// first folder on the way to it that is not there, is to be made in.
	missing bool
	// link: the place is a folder with a symbolic link on the way to it.
	link bool
	// silent: its file system does not answer. The place is what is mounted of it.
	silent bool
}

// locate looks where all things are.
func (g Guard) locate() ([]place, error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	var places []place
	for _, t := range g.Things {
		if t.Silent != "" {
			for _, m := range mounts {
				if m.Point == t.Silent {
					places = append(places, place{Thing: t, Place: Place{Device: m.Device, At: m.Root}, silent: true})
				}
			}
			continue
		}
		add := func(f *os.File, p place) error {
			where, err := locate(f, mounts)
			if err != nil {
				return fmt.Errorf("looking for %s: %w", t.What, err)
			}
			p.Thing, p.Place = t, where
			places = append(places, p)
			return nil
		}
		var failed error
		follow := hostpath.Resolver{
			Link: func(folder *os.File, _ string) error {
				failed = errors.Join(failed, add(folder, place{link: true}))
				return nil
			},
			Missing: func(folder *os.File, _ string, _ bool) error {
				failed = errors.Join(failed, add(folder, place{missing: true}))
				return nil
			},
		}
		f, err := follow.Open(t.Path)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			err = nil // that is told of, or nothing can be there
		case err == nil:
			err = add(f.File, place{})
			f.Close()
		}
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// Where says where all things are: it is another text once one of them is
// another object, or has moved.
func (g Guard) Where() (string, error) {
	places, err := g.locate()
	return fmt.Sprint(places), err
}

// cover hides things in trees.
type cover struct {
	*inside
	places []place
	kernel bool
	// trees are those of the one container that is looked at; nil: it is done
	// again for all, and it is too late to refuse one.
	trees  []Tree
	mounts []mountinfo.Mount
	// emptied says of what trees nothing shows.
	emptied []string
}

// missingError is of a thing that is to be made first.
type missingError struct{ path string }

func (e *missingError) Error() string { return e.path + " is not there" }

// make makes it.
func (e *missingError) make() error {
	if err := os.MkdirAll(path.Dir(e.path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(e.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// all looks through every mount below dir.
func (c *cover) all(dir string) (err error) {
	if c.mounts, err = mountinfo.ReadIn(c.proc); err != nil {
		return err
	}
	for _, m := range c.mounts {
		tree, ok := treeOf(m.Point)
		if !ok || !within(dir, m.Point) {
			continue
		}
		if c.trees != nil && c.trees[tree].Own {
			continue
		}
		if err := c.in(m, tree); err != nil {
			return err
		}
	}
	return nil
}

// treeOf is the number of the tree that a mount point is in: /ID/N/….
func treeOf(point string) (int, bool) {
	parts := strings.SplitN(point, "/", 4)
	if len(parts) < 3 || strings.HasPrefix(parts[1], ".") {
		return 0, false
	}
	n, err := strconv.Atoi(parts[2])
	return n, err == nil
}

// in hides what one mount shows.
func (c *cover) in(m mountinfo.Mount, tree int) error {
	isRoot := strings.Count(m.Point, "/") == 2
	if !c.kernel && slices.Contains(kernelKinds, m.Kind) {
		if isRoot && c.trees != nil {
			c.emptied = append(c.emptied, fmt.Sprintf("%s is of the kernel's file system %q, where the sandbox's own memory and the host's devices are: nothing of it is shown, unless the configuration file says allowKernelFileSystems: true", c.name(tree), m.Kind))
		}
		return c.hide(m.Point, nil)
	}
	for i := range c.places {
		p := &c.places[i]
		if p.Device != m.Device {
			continue
		}
		var err error
		switch {
		case p.silent && c.trees == nil:
			// What runs had it hidden while it answered.
		case p.silent && isRoot:
			err = c.refuse(fmt.Sprintf("%s is on the file system of %s, which does not answer", c.name(tree), p.name()))
		case p.silent:
			err = c.hide(m.Point, nil)
		case within(m.Root, p.At):
			err = c.below(m, tree, p)
		case !p.missing && !p.link && p.Hidden && within(p.At, m.Root):
			// All of the mount is inside of it.
			if isRoot {
				err = c.refuse(c.name(tree) + " is inside " + p.name())
			} else {
				err = c.hide(m.Point, nil)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below hides a thing, or keeps it as it is, in a mount that shows it.
func (c *cover) below(m mountinfo.Mount, tree int, p *place) error {
	isRoot := strings.Count(m.Point, "/") == 2
	point := path.Join(m.Point, below(m.Root, p.At))
	fd, err := c.openSame(point, p)
	if err != nil || fd < 0 {
		return err // something else is there: another mount, or a cover
	}
	unix.Close(fd)
	switch {
	case p.missing, p.link:
		return c.keepFolder(m, tree, p, point)
	case p.Hidden && point == m.Point:
		if isRoot {
			return c.refuse(c.name(tree) + " is " + p.name())
		}
		return c.hide(point, p)
	}
	if p.Replaced && point != m.Point && path.Dir(point) != m.Point {
		if err := c.keepFolder(m, tree, p, path.Dir(point)); err != nil {
			return err
		}
	}
	if !p.Hidden && m.ReadOnly {
		return nil
	}
	if !m.ReadOnly {
		if err := c.pinAbove(m, point); err != nil {
			return err
		}
	}
	return c.hide(point, p)
}

// keepFolder shows the folder at point, and all below it, as read-only.
func (c *cover) keepFolder(m mountinfo.Mount, tree int, p *place, point string) error {
	if m.ReadOnly || c.readOnly(point) {
		return nil
	}
	switch {
	case point == m.Point && p.missing && p.Empty && c.trees != nil:
		return &missingError{p.Thing.Path}
	case point == m.Point && p.missing:
		return c.refuse(fmt.Sprintf("%s is not there yet and could be made in %s: make it first, or mount that readOnly", p.name(), c.name(tree)))
	case point == m.Point:
		return c.refuse(fmt.Sprintf("a symbolic link in %s leads to %s and could be replaced: mount that readOnly", c.name(tree), p.name()))
	}
	if err := c.pinAbove(m, point); err != nil {
		return err
	}
	fd, err := c.find(point)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return c.bind(fd, "", fd, unix.AT_RECURSIVE)
}

// refuse is an error for a container that is to be started.
func (c *cover) refuse(why string) error {
	if c.trees == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRefused, why)
}

// name is what a tree is called in messages.
func (c *cover) name(tree int) string {
	if c.trees == nil {
		return ""
	}
	return c.trees[tree].Path
}

func (p *place) name() string { return p.What + " " + p.Path }

// find opens what is at a path of the shelf.
func (c *cover) find(point string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(c.root, strings.TrimPrefix(point, "/"), &how)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: point, Err: err}
	}
	return fd, nil
}

// openSame opens what is at a path of the shelf if it is the object of a place;
// -1: it is not.
func (c *cover) openSame(point string, p *place) (int, error) {
	fd, err := c.find(point)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != p.Dev || st.Ino != p.Inode {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// readOnly says whether the mount that shows at a path of the shelf is.
func (c *cover) readOnly(point string) bool {
	fd, err := c.find(point)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// hide covers what is at a path of the shelf, unless it is not p's object any
// more. What is mounted below it goes: it would be kept for nobody.
func (c *cover) hide(point string, p *place) error {
	var fd int
	var err error
	if p != nil {
		fd, err = c.openSame(point, p)
	} else {
		fd, err = c.find(point)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil // with what it stood on
	}
	if err != nil || fd < 0 {
		return err
	}
	defer unix.Close(fd)
	for _, m := range slices.Backward(c.mounts) {
		if m.Point != point && within(point, m.Point) {
			if err := unix.Unmount(m.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmounting what is in %s: %w", point, err)
			}
		}
	}
	return c.over(fd)
}

// over shows something empty on top of what a descriptor is of.
func (s *inside) over(on int) error {
	dir, err := isDir(on)
	if err != nil {
		return os.NewSyscallError("stat", err)
	}
	source := emptyFile
	if dir {
		source = emptyDir
	}
	return s.bind(s.root, source, on, 0)
}

// bind shows what is at name in dir on top of what another descriptor is of,
// read-only.
func (s *inside) bind(dir int, name string, on int, recursive uint) error {
	flags := uint(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC) | recursive
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(dir, name, flags)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(fd)
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		Propagation: unix.MS_PRIVATE,
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	return mountOn(fd, on)
}

// pinAbove has the kernel refuse to rename the folders between a mount and what
// is at point in it.
func (c *cover) pinAbove(m mountinfo.Mount, point string) error {
	for dir := path.Dir(point); dir != m.Point && within(m.Point, dir); dir = path.Dir(dir) {
		if err := c.pin(dir); err != nil {
			return fmt.Errorf("keeping %s where it is: %w", dir, err)
		}
	}
	return nil
}

// pin makes a mount point of a folder in this namespace, in a place where it
// covers nothing that anybody sees.
func (c *cover) pin(dir string) error {
	fd, err := c.find(dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("stat", err)
	}
	name := fmt.Sprintf("%s/%d-%d", pins, st.Dev, st.Ino)
	if err := unix.Mkdirat(c.root, name, 0o700); err != nil && err != unix.EEXIST {
		return os.NewSyscallError("mkdir", err)
	}
	now, err := c.find(name)
	if err != nil {
		return err
	}
	defer func() { unix.Close(now) }()
	var at, nothing unix.Stat_t
	err = errors.Join(unix.Fstat(now, &at), unix.Fstatat(c.root, emptyDir, &nothing, unix.AT_SYMLINK_NOFOLLOW))
	if err != nil {
		return os.NewSyscallError("stat", err)
	}
	if at.Dev == nothing.Dev && at.Ino == nothing.Ino {
		return nil
	}
	if err := c.bind(fd, "", now, 0); err != nil {
		return err
	}
	unix.Close(now)
	if now, err = c.find(name); err != nil {
		return err
	}
	return c.bind(c.root, emptyDir, now, 0)
}
