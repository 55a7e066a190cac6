package shelf

import (
	"os"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// Keep has the mount namespace of a container's gofer last as long as the
// sandbox: that of an earlier version's gofer, in which the container's mounts
// are, with what is covered in them. ErrGone where it went with the gofer.
func Keep(ns Namespace, id string, gofer observed.Process) error {
	dir, err := gofer.OpenDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	theirs, err := unix.Openat(int(dir.Fd()), "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ESRCH || err == unix.ENOENT {
		return observed.ErrGone
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: "ns/mnt", Err: err}
	}
	defer unix.Close(theirs)
	clone, err := unix.OpenTree(theirs, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(clone)
	return enter(ns, func(s *inside) error {
		name := ".kept-" + id
		if err := makeMountPoint(s.root, name, false); err != nil {
			return err
		}
		return os.NewSyscallError("move_mount", unix.MoveMount(clone, "", s.root, name, unix.MOVE_MOUNT_F_EMPTY_PATH))
	})
}
