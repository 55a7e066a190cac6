package shelf

import (
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of mountinfo.
type mount struct {
	id       int
	device   string // of the file system, major:minor
	root     string // the directory or file of the file system that is mounted
	point    string // where
	readOnly bool
	kind     string // the file system's type
}

// readMounts reads the mounts of this thread's namespace, those that others
// stand on first. proc is a descriptor of /proc, which need not be there by
// name.
func readMounts(proc int) ([]mount, error) {
	fd, err := unix.Openat(proc, "thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "mountinfo", Err: err}
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b))
}

func parseMounts(text string) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		end := len(fields)
		for i, f := range fields {
			if f == "-" {
				end = i
				break
			}
		}
		if end < 6 || len(fields) < end+2 {
			return nil, fmt.Errorf("mountinfo: cannot read %q", line)
		}
		id, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, fmt.Errorf("mountinfo: %w", err)
		}
		mounts = append(mounts, mount{
			id: id, device: fields[2], root: unescape(fields[3]), point: unescape(fields[4]),
			readOnly: strings.HasPrefix(fields[5]+",", "ro,"), kind: fields[end+1],
		})
	}
	return mounts, nil
}

// unescape undoes what the kernel does to spaces and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

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

// ownMounts are those of this process's namespace.
func ownMounts() ([]mount, error) {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc", Err: err}
	}
	defer unix.Close(proc)
	return readMounts(proc)
}

// Locate says where the object of a descriptor is.
func Locate(f *os.File) (Place, error) {
	mounts, err := ownMounts()
	if err != nil {
		return Place{}, err
	}
	return locate(f, mounts)
}

func locate(f *os.File, mounts []mount) (Place, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return Place{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return Place{}, err
	}
	for _, m := range mounts {
		if uint64(m.id) == st.Mnt_id && within(m.point, real) {
			return Place{
				Device: m.device, At: path.Join(m.root, below(m.point, real)),
				Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino,
			}, nil
		}
	}
	return Place{}, fmt.Errorf("%s: its mount is not one of this process's", f.Name())
}

// Places are those of an object and of all that is mounted below it.
func Places(f *os.File) ([]Place, error) {
	mounts, err := ownMounts()
	if err != nil {
		return nil, err
	}
	where, err := locate(f, mounts)
	if err != nil {
		return nil, err
	}
	places := []Place{where}
	real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	for _, m := range mounts {
		if m.point != real && within(real, m.point) {
			places = append(places, Place{Device: m.device, At: m.root})
		}
	}
	return places, err
}

// In says whether a place is one of others, or inside one.
func (p Place) In(others []Place) bool {
	return slices.ContainsFunc(others, func(o Place) bool { return o.Device == p.Device && within(o.At, p.At) })
}
