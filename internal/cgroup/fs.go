package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// gone says whether an error means that the cgroup is not there (any more):
// a file of a removed cgroup that is still open answers ENODEV.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// shortRead is asked for first, in bytes. The kernel makes a page of such a
// file at a time: where it gives less than that, there is no more.
const shortRead = 1024

// readFile reads a small file without the poller's system calls that os.Open
// makes for every file of a cgroup: a look at a sandbox reads several.
func readFile(path string) ([]byte, error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, shortRead)
	for {
		if len(data) == cap(data) {
			data = append(data, make([]byte, cap(data))...)[:len(data)]
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return data, nil
		default:
			data = data[:len(data)+n]
			if n < shortRead && n == len(data) {
				return data, nil
			}
		}
	}
}

// writeFile writes an existing file in one write, as cgroup files want it.
func writeFile(path, value string) error {
	fd, err := open(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// rmdir removes one cgroup directory; one that is not there is removed.
func rmdir(path string) error {
	if err := unix.Rmdir(path); err != nil && !gone(err) {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

// children names the directories in a directory.
func children(dir string) ([]string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	// A cgroup's link count is 2 and one more for each child, which saves
	// reading a directory of dozens of files to find none.
	if st.Nlink == 2 {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// subtree lists a cgroup directory and everything below it, children before
// parents. Runtimes and applications may nest cgroups in a sandbox's own. It
// is empty where the directory does not exist.
func subtree(dir string) ([]string, error) {
	names, err := children(dir)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, name := range names {
		below, err := subtree(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, below...)
	}
	return append(dirs, dir), nil
}
