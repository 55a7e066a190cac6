package shelf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
	"sandboxer/internal/sealed"
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
	// a cover away until Cover is called, and makes the next one beside it. So the
	// folder that it is in shows as read-only, and is refused as a whole tree that
	// can be written.
	Replaced bool
	// Empty: where a container could make it, an empty file is made first.
	Empty bool
	// Silent is where the file system is mounted that it is on, if that does not
	// answer: nothing of that is looked at, and nothing of it shown to containers
	// that are started meanwhile.
	Silent string
}

// raw is it with names of any bytes.
func (t *Thing) raw() any {
	type plain Thing
	return &struct {
		*plain
		Path   *sealed.Text
		Silent *sealed.Text
	}{(*plain)(t), (*sealed.Text)(&t.Path), (*sealed.Text)(&t.Silent)}
}

// MarshalJSON implements json.Marshaler.
func (t Thing) MarshalJSON() ([]byte, error) { return json.Marshal(t.raw()) }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Thing) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, t.raw()) }

// Guard says what is kept from containers.
type Guard struct {
	Things []Thing
	// Kernel shows procfs, sysfs and their kind: what a process opens in them it
	// opens as the sentry, whose own memory is there, too.
	Kernel bool
	// Answers is asked before a directory is looked at that an overlay is made of.
	// Optional.
	Answers Answers
}

// kernelKinds are the file systems by which the kernel shows itself and its
// devices.
var kernelKinds = []string{
	"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs",
	"bpf", "efivarfs", "pstore", "binfmt_misc", "fusectl", "selinuxfs", "smackfs", "nsfs", "rpc_pipefs", "resctrl",
	"binder", "cpuset", "functionfs", "gadgetfs", "ibmasmfs", "mqueue", "nfsd", "ocfs2_dlmfs", "openpromfs", "oprofilefs", "pidfs",
	"s390_hypfs", "xenfs",
}

// place is where a thing is now.
type place struct {
	Thing
	Place
	// missing: it is not there. The place is that of the folder that it, or the
	// first folder on the way to it that is not there, is to be made in.
	missing bool
	// last: it is what is missing, and not a folder on the way to it.
	last bool
	// link: the place is a folder with a symbolic link on the way to it.
	link bool
	// silent: its file system does not answer. The place is what is mounted of it.
	silent bool
	// overlay is the file system that shows the thing as well: the place is in
	// what that is made of. Empty: it is none.
	overlay string
}

// locate looks where all things are.
func (g Guard) locate(mounts []mountinfo.Mount) ([]place, error) {
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
			where, err := Locate(f, mounts)
			if err != nil {
				return fmt.Errorf("looking for %s: %w", t.What, err)
			}
			p.Thing, p.Place = t, where
			places = append(places, p)
			under, err := where.inLayers(mounts, g.Answers)
			for p.overlay = where.Device; len(under) > 0; under = under[1:] {
				p.Place = under[0]
				places = append(places, p)
			}
			return err
		}
		var failed error
		follow := hostpath.Resolver{
			Link: func(folder *os.File, _ time.Time) error {
				failed = errors.Join(failed, add(folder, place{link: true}))
				return nil
			},
			Missing: func(folder *os.File, _ string, last bool) error {
				failed = errors.Join(failed, add(folder, place{missing: true, last: last}))
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

// Look is where things are at some time.
type Look struct {
	guard  Guard
	mounts []mountinfo.Mount
	places []place
	noting string // see Noting
}

// Noting is the look with which Cover notes what it covers, for Uncover; empty: it notes
// nothing.
func (l *Look) Noting(by string) *Look {
	noting := *l
	noting.noting = by
	return &noting
}

// Look looks for all things.
func (g Guard) Look() (*Look, error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	places, err := g.locate(mounts)
	return &Look{guard: g, mounts: mounts, places: places}, err
}

// Foreign is the look into another daemon's sandboxes: what these may show of the
// kernel is for that to say.
func (l *Look) Foreign() *Look {
	foreign := *l
	foreign.guard.Kernel = true
	return &foreign
}

// Of is what was found of some of the things.
func (l *Look) Of(is func(Thing) bool) *Look {
	of := *l
	of.guard.Things = slices.DeleteFunc(slices.Clone(l.guard.Things), func(t Thing) bool { return !is(t) })
	of.places = slices.DeleteFunc(slices.Clone(l.places), func(p place) bool { return !is(p.Thing) })
	return &of
}

// Found are the places of the things that are there, or, where a thing is replaced as a
// whole, of the folder that it is in.
func (l *Look) Found(each func(t Thing, where Place)) {
	for _, p := range l.places {
		switch {
		case p.missing, p.link, p.silent:
		case p.Replaced:
			if folder := (Place{Device: p.Device, At: path.Dir(p.At)}).shown(l.mounts); folder != nil {
				each(p.Thing, *folder)
			}
		default:
			each(p.Thing, p.Place)
		}
	}
}

// Kept is all things that are there, as something that was always kept.
func (g Guard) Kept() []Kept {
	kept := []Kept{}
	if l, err := g.Look(); err == nil { // what can't be looked for is not known to be kept
		l.Found(func(_ Thing, where Place) { kept = append(kept, Kept{Place: where}) })
	}
	return kept
}

// Text is another one once one of the things is another object, or has moved. What
// is inside of another thing that is hidden is hidden with that.
func (l *Look) Text() string {
	return fmt.Sprint(slices.DeleteFunc(slices.Clone(l.places), func(p place) bool {
		return p.Hidden && slices.ContainsFunc(l.places, func(o place) bool {
			return o.Hidden && !o.missing && !o.link && !o.silent && o.Device == p.Device && o.At != p.At && within(o.At, p.At)
		})
	}))
}

// pathOf is one that leads to a place.
func (l *Look) pathOf(p Place) string {
	if paths := p.Paths(l.mounts); len(paths) > 0 {
		return paths[0]
	}
	return p.At
}

// Again looks once more.
func (l *Look) Again() (*Look, error) {
	now, err := l.guard.Look()
	if err != nil {
		return nil, err
	}
	return now.Noting(l.noting), nil
}

// cover hides things in trees.
type cover struct {
	*inside
	places []place
	kernel bool
	// trees are those of the one container that is looked at; nil: it is done
	// again for all, and it is too late to refuse one.
	trees  []Tree
	made   // of what the overlays in the trees are
	mounts []mountinfo.Mount
	// covered: something was.
	covered bool
	// dry: nothing is, it is only looked for what can't be.
	dry bool
	// emptied says of what trees nothing shows.
	emptied []string
	// exposed is what would be refused, were it not too late.
	exposed []Exposed
}

// Exposed is a thing that can't be kept from a container that runs.
type Exposed struct {
	Thing Thing
	// Tree is what the container has, and Path what leads there.
	Tree Place
	Path string
	why  string // with "%s" for Path
}

// String says so as one sentence.
func (e Exposed) String() string { return strings.Replace(e.why, "%s", e.Path, 1) }

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

// isRoot says whether a mount is a whole tree.
func isRoot(m mountinfo.Mount) bool { return strings.Count(m.Point, "/") == 2 }

// in hides what one mount shows.
func (c *cover) in(m mountinfo.Mount, tree int) error {
	isRoot := isRoot(m)
	if !c.kernel && slices.Contains(kernelKinds, m.Kind) {
		if isRoot && c.trees != nil {
			c.emptied = append(c.emptied, fmt.Sprintf("%s is of the kernel's file system %q, where the sandbox's own memory and the host's devices are: nothing of it is shown, unless the configuration file says allowKernelFileSystems: true", c.trees[tree].Path, m.Kind))
		}
		return c.hide(m.Point, nil)
	}
	for i := range c.places {
		p := &c.places[i]
		if c.made.shows(m, p) {
			// Names in an overlay can be moved to others, and copied.
			if unsure := c.made[m.Device].unsure; isRoot && unsure != "" {
				return c.refuse(m, tree, p, "%s is an overlay that may show "+p.name()+": the kernel's table of mounts can be read in two ways ("+unsure+"); mount it with names without backslashes")
			}
			if isRoot {
				return c.refuse(m, tree, p, "%s is an overlay that shows "+p.name())
			}
			return c.hide(m.Point, nil)
		}
		if p.Device != m.Device {
			continue
		}
		var err error
		switch {
		case p.silent && c.trees == nil:
			// What runs had it hidden while it answered.
		case p.silent && isRoot:
			err = c.refuse(m, tree, p, "%s is on the file system of "+p.name()+", which does not answer")
		case p.silent:
			// A mount on it would wait for whoever waits for a name in it. The trees are
			// private: nothing of the host's is unmounted.
			if err = unix.Unmount(m.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err == nil || err == unix.EINVAL {
				err = c.hide(m.Point, nil)
			}
		case within(m.Root, p.At):
			if err = c.below(m, tree, p); isVanishing(err) && !errors.Is(err, errVanished) {
				err = vanished(p.Thing.Path, err)
			}
		case !p.missing && !p.link && p.Hidden && within(p.At, m.Root):
			// All of the mount is inside of it.
			if isRoot {
				err = c.refuse(m, tree, p, "%s is inside "+p.name())
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

// shows says whether a mount is an overlay of which a directory shows a thing that is
// to be hidden, or is inside of it, or of which that can't be told.
func (all made) shows(m mountinfo.Mount, p *place) bool {
	of := all[m.Device]
	return p.Hidden && !p.missing && !p.link && p.overlay != m.Device && (of.unsure != "" || slices.ContainsFunc(of.places, func(layer Place) bool {
		return layer.Device == p.Device && (within(layer.At, p.At) || within(p.At, layer.At))
	}))
}

// below hides a thing, or keeps it as it is, in a mount that shows it.
func (c *cover) below(m mountinfo.Mount, tree int, p *place) error {
	isRoot := isRoot(m)
	point := path.Join(m.Point, below(m.Root, p.At))
	// Also where it is covered: the next one is not.
	isFolder := isRoot && p.replacedIn(m.Root)
	if isFolder && !m.ReadOnly && !c.readOnly(m.Point) {
		err := c.refuse(m, tree, p, "%s is the folder of "+p.name()+", where what is to replace that is made: mount it readOnly, or keep that in a folder of its own")
		if err != nil || p.missing {
			return err
		}
	}
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
			return c.refuse(m, tree, p, "%s is "+p.name())
		}
		return c.hide(point, p)
	}
	if p.Replaced && point != m.Point && !isFolder {
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
		return c.refuse(m, tree, p, p.name()+" is not there yet and could be made in %s: make it first, or mount that readOnly")
	case point == m.Point && p.link:
		return c.refuse(m, tree, p, "a symbolic link in %s leads to "+p.name()+" and could be replaced: mount that readOnly")
	}
	if c.dry {
		return nil
	}
	if err := c.pinAbove(m, point); err != nil {
		return err
	}
	fd, err := c.find(point)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	c.covered = true
	return c.bind(fd, "", fd, unix.AT_RECURSIVE)
}

// refuse is an error for a container that is to be started; why has "%s" for what the
// tree is called.
func (c *cover) refuse(m mountinfo.Mount, tree int, p *place, why string) error {
	if c.trees == nil && p.missing && p.Empty && !p.last {
		return nil // nobody obeys one that a container has made
	}
	if c.trees == nil {
		c.exposed = append(c.exposed, Exposed{Thing: p.Thing, Tree: Place{Device: m.Device, At: m.Root}, why: why})
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRefused, strings.Replace(why, "%s", c.trees[tree].Path, 1))
}

// replacedIn says whether a path is that of the folder in which its owner replaces it.
func (p *place) replacedIn(at string) bool {
	switch {
	case !p.Replaced, p.link, p.silent, p.missing && !p.last:
		return false
	case p.missing:
		return at == p.At
	}
	return at == path.Dir(p.At) && at != p.At
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
	if c.dry {
		return nil
	}
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
	if p == nil && c.covers(fd) {
		return nil
	}
	for _, m := range slices.Backward(c.mounts) {
		if m.Point != point && within(point, m.Point) {
			if err := unix.Unmount(m.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmounting what is in %s: %w", point, err)
			}
		}
	}
	c.covered = true
	err = c.over(fd)
	if !isVanishing(err) {
		return err
	}
	var st unix.Stat_t
	if p == nil && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Nlink == 0 {
		return nil // of a directory that was removed nothing shows, nor ever will
	}
	return vanished(point, err)
}

// errVanished says that something was removed, or moved, between the look for it
// and the mount upon it.
var errVanished = errors.New("it was removed or moved meanwhile")

// isVanishing reports whether an error may come from that: what is gone is not
// found, and a mount whose folder is gone is in no namespace any more.
func isVanishing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) }

func vanished(point string, err error) error {
	return fmt.Errorf("covering %s: %w: %w", point, errVanished, err)
}

// covers says whether a descriptor is of what covers others. It asks no file system,
// which may not answer.
func (s *inside) covers(fd int) bool {
	const how = unix.AT_STATX_DONT_SYNC | unix.AT_SYMLINK_NOFOLLOW
	var st, empty unix.Statx_t
	if unix.Statx(fd, "", how|unix.AT_EMPTY_PATH, unix.STATX_INO, &st) != nil {
		return false
	}
	for _, name := range []string{emptyDir, emptyFile} {
		if unix.Statx(s.root, name, how, unix.STATX_INO, &empty) == nil &&
			st.Dev_major == empty.Dev_major && st.Dev_minor == empty.Dev_minor && st.Ino == empty.Ino {
			return true
		}
	}
	return false
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
	if s.noting != "" {
		if err := s.note(fd); err != nil {
			return err
		}
	}
	return mountOn(fd, on)
}

// pinAbove has the kernel refuse to rename the folders between a mount and what
// is at point in it.
func (c *cover) pinAbove(m mountinfo.Mount, point string) error {
	if c.dry {
		return nil
	}
	// Others may count on it by the time that what is noted is taken away.
	noting := c.noting
	c.noting = ""
	defer func() { c.noting = noting }()
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
