package hostpath

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/owner"
)

// names are what there may be in a directory that a fuzzer plants.
var names = []string{"a", "b", "c", "a/b", "b/a", "a/b/c"}

// plant makes of each two bytes a folder, a file, a link to one of the targets or
// a change of who can write one, below dir and, whatever the links, nowhere else.
func plant(dir int, plan []byte, targets []string) {
	for i := 0; i+1 < len(plan); i += 2 {
		path, choice := names[int(plan[i]>>3)%len(names)], int(plan[i+1])
		at, name := dir, path
		if slash := strings.LastIndexByte(path, '/'); slash >= 0 {
			name = path[slash+1:]
			how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH}
			var err error
			if at, err = unix.Openat2(dir, path[:slash], &how); err != nil {
				continue
			}
		}
		switch plan[i] % 5 { // what is there already stays
		case 0, 1:
			_ = unix.Mkdirat(at, name, 0o755)
		case 2:
			if fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600); err == nil {
				unix.Close(fd)
			}
		case 3:
			_ = unix.Symlinkat(targets[choice%len(targets)], at, name)
		case 4:
			var st unix.Stat_t
			if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFLNK {
				_ = unix.Fchmodat(at, name, []uint32{0o755, 0o775, 0o757, 0o700}[choice%4], 0)
			}
		}
		if at != dir {
			unix.Close(at)
		}
	}
}

// uproot removes all that is in a directory, of which most is what was planted.
func uproot(t *testing.T, root *os.Root, dir int) {
	for _, name := range names[:3] {
		switch err := unix.Unlinkat(dir, name, 0); err {
		case nil, unix.ENOENT:
		case unix.EISDIR:
			if unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) != nil {
				check(t, root.RemoveAll(name))
			}
		default:
			t.Fatal(err)
		}
	}
}

// Wherever links lead, a path opens what the kernel would open, if nobody but root
// could have made a link on the way, and else nothing: so says owner.Resolve, too,
// which walks it in another way. What is made is made where the path leads.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0, 0, 8, 0, 19, 4, 25, 0, 41, 0}, "a/b/c", false)
	f.Add([]byte{0, 0, 27, 0, 4, 2}, "a/b/new/x", true)
	f.Add([]byte{3, 3, 11, 2, 19, 8}, "a/../c/./b", false)
	f.Add([]byte{3, 5, 8, 0, 35, 6}, "a/b", false)
	f.Add([]byte{3, 1, 11, 0}, "a", false)
	f.Add([]byte{0, 0, 4, 1, 28, 1}, "a/b", false) // a link that others could have made
	// A directory for which no disk is written, if there is one.
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
	if err != nil {
		dir = f.TempDir()
	} else {
		f.Cleanup(func() { check(f, os.RemoveAll(dir)) })
	}
	// It is made once, and empty for each input.
	at := filepath.Join(dir, "t")
	check(f, os.Mkdir(at, 0o755))
	root, err := os.OpenRoot(at)
	check(f, err)
	f.Cleanup(func() { root.Close() })
	opened, err := root.Open(".")
	check(f, err)
	f.Cleanup(func() { opened.Close() })
	planted := int(opened.Fd())
	f.Fuzz(func(t *testing.T, plan []byte, name string, making bool) {
		if len(plan) > 24 || len(name) > 64 || strings.ContainsRune(name, 0) || making && strings.Contains(name, "..") {
			return
		}
		defer uproot(t, root, planted)
		targets := []string{"b", ".", at + "/b", "c"}
		if !making { // nothing is to be made elsewhere on this host
			targets = append(targets, "../a", "..", "/", "../../../../..", "./c/../b")
		}
		plant(planted, plan, targets)
		path := at + "/" + name
		real, folders, err := owner.Resolve("/", path, func(string, string) {})
		others := false
		for _, folder := range folders {
			info, err := os.Lstat(folder)
			check(t, err)
			others = others || owner.Others(info) != ""
		}
		making = making && err != nil
		if making && !strings.HasPrefix(real, at+"/") {
			return
		}
		if making { // names of any kind
			defer func() {
				_, err := opened.Seek(0, io.SeekStart)
				check(t, err)
				made, err := opened.Readdirnames(-1)
				check(t, err)
				for _, name := range made {
					check(t, root.RemoveAll(name))
				}
			}()
		}
		var got File
		var openErr error
		if making {
			got, openErr = onlyRoots().Make(path, 0o755)
		} else {
			got, openErr = onlyRoots().Open(path)
		}
		if openErr == nil {
			defer got.Close()
		}
		switch {
		case openErr == nil && others:
			t.Fatalf("%q was opened through a link that others could have made: %s", path, got.Real)
		case errors.Is(openErr, ErrLink):
			if !others && !making {
				t.Fatalf("%q was refused: %v", path, openErr)
			}
		case making && openErr == nil:
			if !strings.HasPrefix(got.Real, at) {
				t.Fatalf("%q was made outside, at %s", path, got.Real)
			}
		case (openErr == nil) != (err == nil) && !making:
			// owner.Resolve has no objection to ".." of what is no folder.
			if !errors.Is(openErr, unix.ENOTDIR) {
				t.Fatalf("%q: %v, and %v", path, openErr, err)
			}
		case openErr == nil:
			var a, b unix.Stat_t
			check(t, unix.Fstat(int(got.Fd()), &a))
			// The kernel has an objection to a "/" or "." after it, too.
			if err := unix.Stat(path, &b); err == unix.ENOTDIR && a.Mode&unix.S_IFMT != unix.S_IFDIR {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			if a.Ino != b.Ino || a.Dev != b.Dev || got.Real != real {
				t.Fatalf("%q led to %s, not %s", path, got.Real, real)
			}
		}
	})
}
