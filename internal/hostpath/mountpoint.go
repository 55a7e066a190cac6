package hostpath

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Place is what is to be mounted in a root.
type Place struct {
	At   string // in the root
	File bool   // what is mounted is no directory
	// ReadOnly: nothing can be made in the root, but for directories.
	ReadOnly bool
}

// InTheWay says why a path in a root can be no mount point; empty: nobody knows.
func InTheWay(root *os.File, p Place) string {
	walked := "/"
	for part := range strings.SplitSeq(strings.Trim(path.Clean(p.At), "/"), "/") {
		walked = path.Join(walked, part)
		err := lookIn(root, walked, 0)
		switch {
		case err == nil:
			continue
		case errors.Is(err, unix.ENOTDIR):
			return path.Dir(walked) + " is no directory: mount elsewhere, or make it one"
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ELOOP):
			return ""
		case lookIn(root, walked, unix.O_NOFOLLOW) == nil:
		case p.File && p.ReadOnly:
			return "which is read-only, there is no file " + p.At + ": make an empty one, or mount a directory"
		default:
			return "" // it is missing, and would be made
		}
		const remedy = "mount where it is meant to lead, or make a directory of it"
		if errors.Is(err, unix.ELOOP) {
			return walked + " is a link that leads back to itself: " + remedy
		}
		return walked + " is a link that leads to nothing: " + remedy
	}
	switch err := lookIn(root, walked, unix.O_DIRECTORY); {
	case err == nil && p.File:
		return p.At + " is a directory, on which no file can be mounted: mount elsewhere, or make it a file"
	case errors.Is(err, unix.ENOTDIR) && !p.File:
		return p.At + " is a file, on which no directory can be mounted: mount elsewhere, or make it a directory"
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
