// Package owner says who else can write what root takes orders from: manifests,
// what they have the daemon obey, and its configuration.
//
// It looks at files and folders and changes nothing.
package owner

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Others says how somebody other than root and this process's user can write
// what info describes, and "" where nobody can.
func Others(info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t) // always so on Linux, for os.Stat's results
	mode := info.Mode().Perm()
	switch {
	case !isOurs(info):
		return fmt.Sprintf("belongs to user %d, who can write it", st.Uid)
	case mode&0o002 != 0:
		return fmt.Sprintf("can be written by everybody (mode %04o)", mode)
	case mode&0o020 != 0:
		// POSIX ACLs show here too: their mask takes the group's place.
		return fmt.Sprintf("can be written by group %d (mode %04o)", st.Gid, mode)
	}
	return ""
}

// isOurs says whether something belongs to root or this process's user.
func isOurs(info fs.FileInfo) bool {
	uid := info.Sys().(*syscall.Stat_t).Uid
	return uid == 0 || int(uid) == os.Geteuid()
}

// Folder says how somebody other than root and this process's user can write a
// link-free folder, or put another one in its place, and "" where nobody can:
// the folders above it count, too.
func Folder(real string) (string, error) {
	for dir := real; ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return "", err
		}
		// In a sticky folder nobody moves what is not his: what comes below belongs
		// to root.
		sticky := dir != real && info.Mode()&fs.ModeSticky != 0 && isOurs(info)
		if why := Others(info); why != "" && !sticky {
			return "the folder " + dir + " " + why, nil
		}
		if dir == "/" {
			return "", nil
		}
	}
}

// Check returns an error unless only root and this process's user can write
// what path leads to, the folder that it is in if it is a file, and every folder
// that holds a symbolic link on the way, and can put something else in the place
// of one of these.
func Check(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	real, folders, err := Resolve("/", abs, func(string, string) {})
	if err != nil {
		return err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return err
	}
	if why := Others(info); why != "" {
		return refused(real, why)
	}
	folder := real
	if !info.IsDir() {
		folder = filepath.Dir(real)
	}
	for _, folder := range append(folders, folder) {
		why, err := Folder(folder)
		if err != nil {
			return err
		}
		if why != "" {
			return refused(real, why)
		}
	}
	return nil
}

// CheckOpened is Check for what is open and was found at a path without links.
func CheckOpened(f *os.File, real string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if why := Others(info); why != "" {
		return refused(real, why)
	}
	folder := real
	if !info.IsDir() {
		folder = filepath.Dir(real)
	}
	why, err := Folder(folder)
	if err == nil && why != "" {
		err = refused(real, why)
	}
	return err
}

// CheckIn returns an error unless a directory that CheckOpened has nothing against
// holds only regular files, which only root and this process's user can write.
func CheckIn(dir *os.File, real string) error {
	at := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	entries, err := os.ReadDir(at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := os.Lstat(filepath.Join(at, e.Name()))
		if err != nil {
			return err
		}
		why := Others(info)
		if !info.Mode().IsRegular() {
			why = "it is not a regular file"
		}
		if why != "" {
			return refused(filepath.Join(real, e.Name()), why)
		}
	}
	return nil
}

func refused(path, why string) error {
	return fmt.Errorf("%s is refused: %s; only root and the daemon's user may be able to write what is obeyed", path, why)
}
