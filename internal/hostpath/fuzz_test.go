package hostpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/internal/owner"
)

// plant makes of each two bytes a folder, a file, a link to one of the targets or
// a change of who can write one, below dir and, whatever the links, nowhere else.
func plant(t *testing.T, dir string, plan []byte, targets []string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	check(t, err)
	defer root.Close()
	names := []string{"a", "b", "c", "a/b", "b/a", "a/b/c"}
	for i := 0; i+1 < len(plan); i += 2 {
		path, choice := names[int(plan[i]>>3)%len(names)], int(plan[i+1])
		switch plan[i] % 5 { // what is there already stays
		case 0, 1:
			_ = root.Mkdir(path, 0o755)
		case 2:
			_ = root.WriteFile(path, nil, 0o600)
		case 3:
			_ = root.Symlink(targets[choice%len(targets)], path)
		case 4:
			if info, err := root.Lstat(path); err == nil && info.Mode()&os.ModeSymlink == 0 {
				_ = root.Chmod(path, []os.FileMode{0o755, 0o775, 0o757, 0o700}[choice%4])
			}
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
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, plan []byte, name string, making bool) {
		if len(plan) > 24 || len(name) > 64 || strings.ContainsRune(name, 0) || making && strings.Contains(name, "..") {
			return
		}
		at := filepath.Join(dir, "t")
		check(t, os.Mkdir(at, 0o755))
		defer func() { check(t, os.RemoveAll(at)) }()
		targets := []string{"b", ".", at + "/b", "c"}
		if !making { // nothing is to be made elsewhere on this host
			targets = append(targets, "../a", "..", "/", "../../../../..", "./c/../b")
		}
		plant(t, at, plan, targets)
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
