package actuator

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// noMountPoint says of a container that could not be started what of its root
// is in the way of a mount, which the sentry's words hide: it gives the call that
// failed. It is asked after that, since what earlier mounts bring may be part of
// the way.
func (b *bundle) noMountPoint(cause error) error {
	for _, m := range b.spec.Mounts {
		if !strings.Contains(cause.Error(), "creating mount point "+strconv.Quote(m.Destination)) {
			continue
		}
		if why := inTheWay(b.mounts[0].tree.File, m.Destination); why != "" {
			return fmt.Errorf("there is no place for the mount at %s: in the root %s, %s: %w", m.Destination, b.root, why, cause)
		}
	}
	return cause
}

// inTheWay says why a path in a root can be no mount point; empty: nobody knows.
func inTheWay(root *os.File, name string) string {
	walked := "/"
	for part := range strings.SplitSeq(strings.Trim(path.Clean(name), "/"), "/") {
		walked = path.Join(walked, part)
		err := lookIn(root, walked, 0)
		switch {
		case err == nil:
			continue
		case errors.Is(err, unix.ENOTDIR):
			return path.Dir(walked) + " is no directory: mount elsewhere, or make it one"
		case lookIn(root, walked, unix.O_NOFOLLOW) != nil:
			return "" // it is missing, and would be made
		}
		const remedy = "mount where it is meant to lead, or make a directory of it"
		if errors.Is(err, unix.ELOOP) {
			return walked + " is a link that leads back to itself: " + remedy
		}
		return walked + " is a link that leads to nothing: " + remedy
	}
	return ""
}

// lookIn opens nothing but a place: links lead no further than the root.
func lookIn(root *os.File, name string, flags uint64) error {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
