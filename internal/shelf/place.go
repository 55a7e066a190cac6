package shelf

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
)

// within says whether path is dir or below it; both are clean.
func within(dir, path string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// below is path as seen from dir, which holds it; "" for dir itself.
func below(dir, path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
}

// Place is where something is, whatever path leads to it: one file system may be
// mounted in many places, and a name may be another one's tomorrow.
type Place struct {
	// Device is its file system's, major:minor as mountinfo has it, and At its
	// path in that.
	Device, At string
	// Dev and Inode are what stat says.
	Dev, Inode uint64
}

// Locate says where the object of a descriptor is.
func Locate(f *os.File) (Place, error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return Place{}, err
	}
	return locate(f, mounts)
}

func locate(f *os.File, mounts []mountinfo.Mount) (Place, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return Place{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return Place{}, err
	}
	for _, m := range mounts {
		if uint64(m.ID) == st.Mnt_id && within(m.Point, real) {
			return Place{
				Device: m.Device, At: path.Join(m.Root, below(m.Point, real)),
				Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino,
			}, nil
		}
	}
	return Place{}, fmt.Errorf("%s: its mount is not one of this process's", f.Name())
}

// Places are those of an object and of all that is mounted below it.
func Places(f *os.File) ([]Place, error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	where, err := locate(f, mounts)
	if err != nil {
		return nil, err
	}
	places := []Place{where}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if m.Point != real && within(real, m.Point) {
			places = append(places, Place{Device: m.Device, At: m.Root})
		}
	}
	return places, nil
}

// In says whether a place is one of others, or inside one.
func (p Place) In(others []Place) bool {
	return slices.ContainsFunc(others, func(o Place) bool { return o.Device == p.Device && within(o.At, p.At) })
}
