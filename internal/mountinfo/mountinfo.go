// Package mountinfo reads the kernel's table of mounts, which tells of file
// systems without asking them anything.
package mountinfo

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is a line of it.
type Mount struct {
	ID       int
	Parent   int    // the ID of what it is mounted on
	Device   string // of the file system, major:minor
	Root     string // the directory or file of the file system that is mounted
	Point    string // where
	ReadOnly bool
	Kind     string // the file system's type
	Source   string // what it was made of
	Options  string // the file system's own, with what the kernel has escaped in them
}

// own is the table of the calling thread. That of the process is its first thread's,
// which may have been left in another namespace.
const own = "/proc/thread-self/mountinfo"

// Read reads the mounts of the calling thread's namespace, those that others
// stand on first.
func Read() ([]Mount, error) {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc", Err: err}
	}
	defer unix.Close(proc)
	return ReadIn(proc)
}

// ReadIn is Read for a thread that sees no /proc but by its descriptor.
func ReadIn(proc int) ([]Mount, error) { return ReadAt(proc, "thread-self/mountinfo") }

// ReadAt reads the table of the mounts that another process sees, a file in its
// directory of /proc. The error is ESRCH or ENOENT where that has ended, or is about to.
func ReadAt(dir int, name string) ([]Mount, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.EINVAL {
		err = unix.ESRCH // it has let go of its namespaces
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "mountinfo", Err: err}
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return parse(string(b))
}

// Lines are those of the table that the calling thread sees, as the kernel writes
// them, whose mount choose picks.
func Lines(choose func(Mount) bool) (lines []string, err error) {
	b, err := os.ReadFile(own)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		mounts, err := parse(line)
		if err != nil {
			return nil, err
		}
		if choose(mounts[0]) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines, nil
}

func parse(text string) ([]Mount, error) {
	var mounts []Mount
	for line := range strings.Lines(text) {
		// One space between them: names may have others than the kernel escapes, and
		// the source may be empty.
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		end := len(fields)
		for i, f := range fields {
			if i >= 6 && f == "-" {
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
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("mountinfo: %w", err)
		}
		source, options := "", ""
		if len(fields) > end+2 {
			source = fields[end+2]
		}
		if len(fields) > end+3 {
			options = fields[end+3]
		}
		mounts = append(mounts, Mount{
			ID: id, Parent: parent, Device: fields[2], Root: unescape(fields[3]), Point: unescape(fields[4]),
			ReadOnly: strings.HasPrefix(fields[5]+",", "ro,"), Kind: fields[end+1],
			Source: unescape(source), Options: options,
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

// Concerns chooses the mounts that matter to who works in some directories: what is
// mounted in them, what they are on, and the hierarchies of cgroups.
func Concerns(dirs ...string) func(Mount) bool {
	below := func(path, dir string) bool {
		return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
	}
	return func(m Mount) bool {
		return strings.HasPrefix(m.Kind, "cgroup") || slices.ContainsFunc(dirs, func(dir string) bool {
			return below(m.Point, dir) || below(dir, m.Point)
		})
	}
}
