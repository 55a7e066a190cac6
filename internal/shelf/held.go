package shelf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/observed"
)

// What a process has opened before something was mounted over it stays open: with
// directfs the sentry has directories open that its applications have, or only had
// looked at, and what it opens below one of them meets no cover. So covers are made
// first, and then it is looked for what is open below them, while nothing runs in
// the sandbox: what is open is moved to another descriptor else.

// Held is what a process of a sandbox has open, or mapped, and is covered.
type Held struct {
	// Thing is zero where it is of a mount that is not there any more.
	Thing Thing
	// Process has it; InSentry: that is the sentry.
	Process  observed.Process
	InSentry bool
	// Descriptor is its number; -1: it is mapped.
	Descriptor int
	Dev, Inode uint64
	// Volume is a path that leads to the tree that it came from.
	Volume string
	// Folder: it is the folder that Thing is in, or is to be made in.
	Folder bool
	// shown is the path of the shelf where a folder shows as read-only; empty: nothing
	// shows.
	shown string
}

// String says so of "it".
func (h Held) String() string {
	how := "open"
	if h.Descriptor < 0 {
		how = "mapped"
	}
	where := "what was mounted in one of them"
	if h.Thing != (Thing{}) {
		where = h.Thing.What + " " + h.Thing.Path
	}
	if h.Folder {
		where = "the folder of " + where
	}
	return fmt.Sprintf("it has something in %s %s, by way of its volume %s", where, how, h.Volume)
}

// Shows returns the things that the sandbox would show if they were not covered, and
// those that it is inside of; all says whether anything is to be covered in it.
func (s *Sandbox) Shows(l *Look) (things []Thing, all bool, err error) {
	made, err := l.made(s.mounts)
	if err != nil {
		return nil, false, err
	}
	v := view{Look: l, made: made}
	for _, m := range s.mounts {
		if _, ok := treeOf(m.Point); !ok {
			continue
		}
		all = all || !l.guard.Kernel && slices.Contains(kernelKinds, m.Kind)
		for i := range l.places {
			p := &l.places[i]
			if !made.shows(m, p) && (p.Device != m.Device || !within(m.Root, p.At) && !within(p.At, m.Root)) {
				continue
			}
			all = true
			at := p.At
			if within(p.At, m.Root) {
				at = m.Root
			}
			if (v.hides(m, p, at) || v.keeps(m, p, at) || v.keeps(m, p, path.Dir(at))) && !slices.Contains(things, p.Thing) {
				things = append(things, p.Thing)
			}
		}
	}
	return things, all, nil
}

// Covered returns an error where something is not covered that is where it was found:
// until it is covered, a container may move it away from there and back. What is
// exposed is none of that. It has to be pinned.
func (s *Sandbox) Covered(l *Look) error {
	mounts, err := s.table()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if _, ok := treeOf(m.Point); !ok {
			continue
		}
		for i := range l.places {
			p := &l.places[i]
			if p.missing || p.link || p.silent || p.Device != m.Device || !within(m.Root, p.At) || !p.Hidden && m.ReadOnly {
				continue
			}
			if exposed := isRoot(m) && p.At == m.Root && p.Hidden; !exposed && !isOver(mounts, m, p) {
				return vanished(p.Thing.Path, errors.New("it is not where it was"))
			}
		}
	}
	return nil
}

// Held looks for what is covered and open all the same. It has to be pinned.
func (s *Sandbox) Held(l *Look) (held []Held, err error) {
	mounts, err := s.table()
	if err != nil {
		return nil, err
	}
	made, err := l.made(mounts)
	if err != nil {
		return nil, err
	}
	s.seen = mounts
	v := view{Look: l, made: made, mounts: map[uint64]mountinfo.Mount{}}
	for _, m := range s.mounts {
		m.Root = "" // it was taken out with what is below it, unless it is there still
		v.mounts[uint64(m.ID)] = m
	}
	for _, m := range mounts {
		v.mounts[uint64(m.ID)] = m
	}
	for _, p := range append([]process{s.sentry}, s.beside...) {
		in, err := v.open(p)
		if err != nil && !isGone(err) {
			return nil, err
		}
		for _, h := range in {
			h.InSentry = p.PID == s.sentry.PID
			held = append(held, h)
		}
	}
	for _, p := range s.kin {
		in, err := v.mapped(p)
		if err != nil && !isGone(err) {
			return nil, err
		}
		held = append(held, in...)
	}
	return held, nil
}

// view is what a sandbox sees of what was looked for.
type view struct {
	*Look
	made   made // of what the overlays in it are
	mounts map[uint64]mountinfo.Mount
}

// open are a process's descriptors of what is covered.
func (v *view) open(p process) (held []Held, err error) {
	dir, err := p.open("fd")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		h, err := v.judge(dir, name)
		if err != nil {
			return nil, err
		}
		if h == nil {
			continue
		}
		if h.Descriptor, err = strconv.Atoi(name); err != nil {
			return nil, err
		}
		h.Process = p.Process
		held = append(held, *h)
	}
	return held, nil
}

// mapped is what a process has mapped, so that it sees what others write, or they
// what it does, of what is covered.
func (v *view) mapped(p process) (held []Held, err error) {
	table, err := p.read("maps")
	if err != nil {
		return nil, err
	}
	var dir *os.File
	for line := range strings.Lines(table) {
		// BEGIN-END rw-s OFFSET MAJOR:MINOR INODE PATH
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "s") || !strings.HasPrefix(fields[5], "/") || strings.HasPrefix(fields[5], "/memfd:") {
			continue
		}
		if dir == nil {
			if dir, err = p.open("map_files"); err != nil {
				return nil, err
			}
			defer dir.Close()
		}
		var begin, end uint64
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &begin, &end); err != nil {
			return nil, fmt.Errorf("process %d: %q: %w", p.PID, line, err)
		}
		h, err := v.judge(dir, fmt.Sprintf("%x-%x", begin, end))
		if err != nil {
			return nil, err
		}
		if h != nil {
			h.Process, h.Descriptor = p.Process, -1
			held = append(held, *h)
		}
	}
	return held, nil
}

// judge looks where a link of /proc leads; nil where that is not covered.
func (v *view) judge(dir *os.File, name string) (*Held, error) {
	var st unix.Statx_t
	err := unix.Statx(int(dir.Fd()), name, unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	if isGone(err) {
		return nil, nil // it was closed
	}
	if err != nil {
		return nil, &os.PathError{Op: "stat", Path: path.Join(dir.Name(), name), Err: err}
	}
	// What else there is can't be written to, nor lead further.
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return nil, nil
	}
	m, ok := v.mounts[st.Mnt_id]
	if _, tree := treeOf(m.Point); !ok || !tree || isElsewhere(&st, m) {
		return nil, nil // the host's, or of no mount that has a place
	}
	real, err := readlinkAt(int(dir.Fd()), name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := &Held{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}
	if m.Root == "" {
		h.Volume = v.volume(m)
		return h, nil
	}
	if !within(m.Point, real) {
		return nil, fmt.Errorf("%s: %w", real, errVanished) // a folder on the way was renamed
	}
	at := path.Join(m.Root, below(m.Point, real))
	if thing := v.hidden(m, at); thing != nil {
		h.Thing, h.Volume = *thing, v.volume(m)
		return h, nil
	}
	for i := range v.places {
		if p := &v.places[i]; v.keeps(m, p, at) {
			h.Thing, h.Volume, h.Folder, h.shown = p.Thing, v.volume(m), true, real
			return h, nil
		}
	}
	return nil, nil
}

// isElsewhere says whether something is on another file system than a mount, whose ID
// was used again since it was taken out. An overlay, btrfs and the like have devices for
// parts of them that mountinfo does not know.
func isElsewhere(st *unix.Statx_t, m mountinfo.Mount) bool {
	return (!strings.HasPrefix(m.Device, "0:") || m.Kind == "tmpfs") && m.Device != fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)
}

// volume is what a mount is in, or the mount itself.
func (v *view) volume(m mountinfo.Mount) string {
	for _, root := range v.mounts {
		if isRoot(root) && within(root.Point, m.Point) {
			m = root
		}
	}
	return v.pathOf(Place{Device: m.Device, At: m.Root})
}

// hidden is what something at a path of a mount is covered as, or as a part of; nil
// where it is not.
func (v *view) hidden(m mountinfo.Mount, at string) *Thing {
	if !v.guard.Kernel && slices.Contains(kernelKinds, m.Kind) {
		return &Thing{What: "the kernel's file system at", Path: m.Point}
	}
	for i := range v.places {
		if p := &v.places[i]; v.hides(m, p, at) {
			return &p.Thing
		}
	}
	return nil
}

// hides says whether a place's cover is above a path of a mount, or on it. Nothing
// covers a whole tree of a container's.
func (v *view) hides(m mountinfo.Mount, p *place, at string) bool {
	switch {
	case p.silent, p.link, p.missing, !p.Hidden && m.ReadOnly:
		return false
	case v.made.shows(m, p):
		return !isRoot(m)
	case p.Device != m.Device:
		return false
	case within(m.Root, p.At):
		return within(p.At, at) && !(isRoot(m) && p.At == m.Root && p.Hidden)
	}
	return within(p.At, m.Root) && !isRoot(m)
}

// keeps says whether what is at a path of a mount is a folder that shows as read-only
// for the sake of a place.
func (v *view) keeps(m mountinfo.Mount, p *place, at string) bool {
	switch {
	case m.ReadOnly, p.silent, p.Device != m.Device, !within(m.Root, at), v.made.shows(m, p):
		return false
	case p.link, p.missing:
		return !p.Empty && at == p.At && !(isRoot(m) && at == m.Root)
	}
	return p.Replaced && at == path.Dir(p.At) && !(isRoot(m) && at == m.Root)
}

// Instead is what a sentry gets for what it has open: a directory that can't be
// written to, with the names in it of a directory and a file. Of a folder that shows
// as read-only that is the folder, and of all else something empty.
func (s *Sandbox) Instead(h Held) (f *os.File, dir, file string, err error) {
	if h.shown == "" {
		return s.nothing()
	}
	err = enter(s, func(s *inside) error {
		c := cover{inside: s}
		fd, err := c.find(h.shown)
		if err == nil {
			f = os.NewFile(uintptr(fd), h.shown)
		}
		return err
	})
	return f, ".", ".", err
}

// Alike says whether Instead is the same for both.
func (h Held) Alike(o Held) bool { return h.shown == o.shown }

// nothing is a directory with an empty one and an empty file.
func (s *Sandbox) nothing() (f *os.File, dir, file string, err error) {
	err = enter(s, func(s *inside) error {
		fd, err := unix.OpenTree(s.root, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		if err != nil {
			return os.NewSyscallError("open_tree", err)
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			unix.Close(fd)
			return os.NewSyscallError("mount_setattr", err)
		}
		f = os.NewFile(uintptr(fd), "nothing")
		return nil
	})
	return f, emptyDir, emptyFile, err
}

// Closed says whether nothing was open that is covered by the mounts that are there:
// since it was looked for last, or their container was started, there are no others.
// It has to be pinned.
func (s *Sandbox) Closed() (is bool, err error) {
	mounts, err := s.table()
	if err != nil {
		return false, err
	}
	err = enter(s, func(in *inside) error {
		known, err := in.closed()
		is = !slices.ContainsFunc(treeNames(mounts, "/"), func(m string) bool { return !slices.Contains(known, m) })
		return err
	})
	return is, err
}

// closed are the names of the mounts of which it is noted that nothing was open that
// they cover.
func (s *inside) closed() (names []string, err error) {
	fd, err := unix.Openat(s.root, closed, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: closed, Err: err}
	}
	f := os.NewFile(uintptr(fd), closed)
	defer f.Close()
	b, err := io.ReadAll(f)
	return strings.SplitAfter(string(b), "\n"), err
}

// SetClosed notes that the last call of Held found nothing.
func (s *Sandbox) SetClosed() error {
	return enter(s, func(in *inside) error { return in.close(s.seen, "/") })
}

// close notes that nothing was open of what mounts below a path cover; what was noted
// of others that are there stays. Of two at once one may be lost, which has it be
// looked for again.
func (s *inside) close(mounts []mountinfo.Mount, dir string) error {
	known, err := s.closed()
	if err != nil {
		return err
	}
	fresh := treeNames(mounts, dir)
	names := slices.DeleteFunc(treeNames(mounts, "/"), func(m string) bool { return !slices.Contains(known, m) && !slices.Contains(fresh, m) })
	fd, err := unix.Openat(s.root, closed, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: closed, Err: err}
	}
	f := os.NewFile(uintptr(fd), closed)
	_, err = f.WriteString(strings.Join(names, ""))
	return errors.Join(err, f.Close())
}

func (s *inside) forgetClosed() error {
	if err := unix.Unlinkat(s.root, closed, 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: closed, Err: err}
	}
	return nil
}

// treeNames are lines that tell the mounts of trees from all others, earlier ones
// included.
func treeNames(mounts []mountinfo.Mount, dir string) (names []string) {
	for _, m := range mounts {
		if _, ok := treeOf(m.Point); ok && within(dir, m.Point) {
			names = append(names, fmt.Sprintf("%d %q\n", m.ID, m.Point))
		}
	}
	return names
}
