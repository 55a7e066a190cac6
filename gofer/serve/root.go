package serve

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/fsgofer"
)

// stage is where the new root is put together: a directory that every host
// has and that no container needs.
const stage = "/proc/fs"

// mountPath is where mount i stands in the gofer's own root. Mounts stand side
// by side, never inside each other: the sentry alone decides where in the
// container each one shows, so no mount point is ever made in a root file
// system of the host.
func mountPath(i int) string { return "/" + strconv.Itoa(i) }

// buildRoot makes a read-only tmpfs with the mounts in it and pivots there.
// The process is in mount and user namespaces of its own.
func buildRoot(mounts []Mount) error {
	// Nothing of what follows may reach the host's mount namespace.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("detaching from the host's mounts: %w", err)
	}
	// All sources are pinned before the first mount changes what a path means.
	trees := make([]int, len(mounts))
	for i, m := range mounts {
		fd, err := openTree(m)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		trees[i] = fd
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("gofer", stage, "tmpfs", flags, "size=1m,mode=0755"); err != nil {
		return fmt.Errorf("mounting the gofer's root: %w", err)
	}
	for i, m := range mounts {
		if err := attach(trees[i], filepath.Join(stage, mountPath(i)), m); err != nil {
			return err
		}
	}
	if err := openProc(); err != nil {
		return err
	}
	if err := os.Chdir(stage); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivoting into the gofer's root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("making the gofer's root read-only: %w", err)
	}
	return nil
}

// openTree returns a detached copy of a mount's source, submounts included
// (a copy without them would uncover what they hide), with its attributes set.
// A symbolic link that was put into the path since it was resolved and checked
// leads nowhere.
func openTree(m Mount) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	source, err := unix.Openat2(unix.AT_FDCWD, m.Source, &how)
	if err == unix.ELOOP {
		return -1, fmt.Errorf("%s leads through a symbolic link that was not there when it was checked", m.Source)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: m.Source, Err: err}
	}
	defer unix.Close(source)
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	fd, err := unix.OpenTree(source, "", flags)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: m.Source, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if m.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("restricting %s: %w", m.Source, err)
	}
	return fd, nil
}

// attach puts tree at target and masks what is to be hidden in it.
func attach(tree int, target string, m Mount) error {
	var stat unix.Stat_t
	if err := unix.Fstat(tree, &stat); err != nil {
		return &os.PathError{Op: "stat", Path: m.Source, Err: err}
	}
	isDir := stat.Mode&unix.S_IFMT == unix.S_IFDIR
	if err := makeMountPoint(target, isDir); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting %s: %w", m.Source, err)
	}
	for _, mask := range m.Masks {
		if err := hide(target, mask); err != nil {
			return fmt.Errorf("masking %q in %s: %w", mask, m.Source, err)
		}
	}
	return nil
}

func makeMountPoint(path string, isDir bool) error {
	if isDir {
		return os.Mkdir(path, 0o755)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// hide covers rel below root. The path is opened without following links, so
// that the cover lands inside root; what is not there needs no cover.
func hide(root, rel string) error {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	rel = strings.Trim(filepath.Clean("/"+rel), "/")
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(dir, rel, &how)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	target := "/proc/self/fd/" + strconv.Itoa(fd)
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Mount("/dev/null", target, "", unix.MS_BIND, "")
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return unix.Mount("masked", target, "tmpfs", flags, "size=4k,mode=0555")
}

// openProc gives fsgofer its way to open descriptors again. The directory is
// reached through a bind mount of itself alone, so that ".." leads nowhere.
func openProc() error {
	path := filepath.Join(stage, FDPath)
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	const flags = unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	// The first call takes the flags of what is bound, whatever it is told.
	for _, call := range []uintptr{flags, unix.MS_REMOUNT | flags} {
		if err := unix.Mount("/proc/self/fd", path, "", call, ""); err != nil {
			return fmt.Errorf("binding /proc/self/fd: %w", err)
		}
	}
	if err := fsgofer.OpenProcSelfFD(path); err != nil {
		return err
	}
	return nil
}
