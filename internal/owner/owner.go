// Package owner says who else can write what root takes orders from: manifests,
// what they have the daemon obey, and its configuration.
//
// It looks at files and folders and changes nothing. What is above the folder
// that a file is in is not looked at: who can rename that commands the host too.
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
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("belongs to user %d, who can write it", st.Uid)
	case mode&0o002 != 0:
		return fmt.Sprintf("can be written by everybody (mode %04o)", mode)
	case mode&0o020 != 0:
		// POSIX ACLs show here too: their mask takes the group's place.
		return fmt.Sprintf("can be written by group %d (mode %04o)", st.Gid, mode)
	}
	return ""
}

// Check returns an error unless only root and this process's user can write
// what path leads to, the folder that it is in if it is a file, and every folder
// that holds a symbolic link on the way.
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
	if !info.IsDir() {
		folders = append(folders, filepath.Dir(real))
	}
	for _, folder := range folders {
		info, err := os.Lstat(folder)
		if err != nil {
			return err
		}
		if why := Others(info); why != "" {
			return refused(real, "the folder "+folder+" "+why)
		}
	}
	return nil
}

// CheckAll is Check for a directory that holds only files, and for all of them.
func CheckAll(dir string) error {
	if err := Check(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			return refused(path, "it is not a regular file")
		}
		if err := Check(path); err != nil {
			return err
		}
	}
	return nil
}

func refused(path, why string) error {
	return fmt.Errorf("%s is refused: %s; only root and the daemon's user may be able to write what is obeyed", path, why)
}
