package owner

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is the kernel's bound for the links in one path.
const maxLinks = 40

// Resolve follows rest from the link-free folder base, name by name, and
// returns the link-free path that it leads to and the folders that hold the
// links on the way. look is called before each name is looked up, so that a
// watch on its folder sees every later change.
func Resolve(base, rest string, look func(dir, name string)) (real string, links []string, err error) {
	real = base
	for todo := strings.Split(rest, "/"); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			real = filepath.Dir(real)
			continue
		}
		look(real, name)
		next := filepath.Join(real, name)
		info, err := os.Lstat(next)
		if err != nil {
			return next, links, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		if len(links) == maxLinks {
			return next, links, &fs.PathError{Op: "follow", Path: next, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return next, links, err
		}
		links = append(links, real)
		if filepath.IsAbs(target) {
			real = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return real, links, nil
}
