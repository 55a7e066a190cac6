package serve

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/fsgofer"
)

// stage is where the gofer's root is put together: a directory that every host
// has and that no container needs.
const stage = "/proc/fs"

// mountPath is where mount i stands in the directory that the gofer is given.
// Mounts stand side by side, never inside each other: the sentry alone decides
// where in the container each one shows, so no mount point is ever made in a
// root file system of the host.
func mountPath(i int) string { return "/" + strconv.Itoa(i) }

// enterRoot leaves the process with the directory of the mounts, a descriptor, for
// its root, and with one of its own, where nothing but its descriptors is, to
// work in. The
// process is in mount and user namespaces of its own.
func enterRoot(root int) error {
	// Nothing of what follows may reach the host's mount namespace.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("detaching from the host's mounts: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("gofer", stage, "tmpfs", flags, "size=1m,mode=0755"); err != nil {
		return fmt.Errorf("mounting the gofer's root: %w", err)
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
	if err := unix.Chroot(FDPath + "/" + strconv.Itoa(root)); err != nil {
		return fmt.Errorf("entering the directory of the mounts: %w", err)
	}
	return nil
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
