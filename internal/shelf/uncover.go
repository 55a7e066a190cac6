package shelf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
)

// Who is not sure that what it covers will be its own notes that in the shelf, so that
// it, or another one when it is dead, can take that away. What was mounted in what is
// hidden is gone all the same, and the folders above it stay where they are, as long as
// the container lasts.

// note is one line: which mount, and by whom.
type note struct {
	ID int
	By string
}

// note notes a mount that is to be made.
func (s *inside) note(mount int) error {
	var st unix.Statx_t
	if err := unix.Statx(mount, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return os.NewSyscallError("statx", err)
	}
	fd, err := unix.Openat(s.root, notes, unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: notes, Err: err}
	}
	f := os.NewFile(uintptr(fd), notes)
	_, err = fmt.Fprintf(f, "%d %s\n", st.Mnt_id, s.noting)
	return errors.Join(err, f.Close())
}

// noted are the notes of mounts that are there.
func (s *inside) noted(mounts []mountinfo.Mount) (all []note, err error) {
	fd, err := unix.Openat(s.root, notes, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: notes, Err: err}
	}
	f := os.NewFile(uintptr(fd), notes)
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		var n note
		if _, err := fmt.Sscanf(line, "%d %s\n", &n.ID, &n.By); err != nil {
			continue // half of one, of who was killed
		}
		i := slices.IndexFunc(mounts, func(m mountinfo.Mount) bool { return m.ID == n.ID })
		if i < 0 {
			continue
		}
		if _, ok := treeOf(mounts[i].Point); ok && !isRoot(mounts[i]) {
			all = append(all, n)
		}
	}
	return all, nil
}

// Uncover takes away what Cover has noted by somebody, but for what things that are
// still somebody's need. Nobody may cover anything meanwhile.
func Uncover(ns Namespace, by string, still *Look) error {
	var shown []mountinfo.Mount
	var all []note
	if err := enter(ns, func(s *inside) (err error) {
		if shown, err = mountinfo.ReadIn(s.proc); err == nil {
			all, err = s.noted(shown)
		}
		return err
	}); err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(n note) bool { return n.By == by }) {
		return nil
	}
	made, err := still.made(shown)
	if err != nil {
		return err
	}
	return enter(ns, func(s *inside) error {
		gone := map[int]bool{}
		for _, m := range slices.Backward(shown) {
			isNoted := slices.ContainsFunc(all, func(n note) bool { return n.ID == m.ID && n.By == by })
			if !isNoted || still.needs(m, shown, made) || slices.ContainsFunc(shown, func(o mountinfo.Mount) bool {
				return o.Parent == m.ID && o.Point == m.Point && !gone[o.ID]
			}) {
				continue
			}
			if err := unix.Unmount(m.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("uncovering %s: %w", m.Point, err)
			}
			gone[m.ID] = true
		}
		all = slices.DeleteFunc(all, func(n note) bool { return n.By == by })
		fd, err := unix.Openat(s.root, notes, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: notes, Err: err}
		}
		f := os.NewFile(uintptr(fd), notes)
		for _, n := range all {
			_, writeErr := fmt.Fprintf(f, "%d %s\n", n.ID, n.By)
			err = errors.Join(err, writeErr)
		}
		// What is mounted next may have the names of these.
		return errors.Join(err, f.Close(), s.forgetClosed())
	})
}

// needs says whether one of the things is behind a mount that covers something, or is
// what that is inside of.
func (l *Look) needs(m mountinfo.Mount, mounts []mountinfo.Mount, made made) bool {
	i := slices.IndexFunc(mounts, func(o mountinfo.Mount) bool { return o.ID == m.Parent })
	if i < 0 {
		return true // nobody can tell
	}
	under := mounts[i]
	at := path.Join(under.Root, below(under.Point, m.Point))
	if !l.guard.Kernel && slices.Contains(kernelKinds, under.Kind) {
		return true
	}
	return slices.ContainsFunc(l.places, func(p place) bool {
		return made.shows(under, &p) || p.Device == under.Device &&
			(within(at, p.At) || p.Hidden && !p.missing && !p.link && within(p.At, at))
	})
}
