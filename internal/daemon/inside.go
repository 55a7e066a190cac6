package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
	"sandboxer/internal/shelf"
)

// linkDepth is how deep in a directory links are looked for: what is each sandbox's may
// be elsewhere, too.
const linkDepth = 2

// linkThing begins what a link is called.
const linkThing = "the link in "

// inside are what is mounted in the daemon's directories and what links in them lead to.
// That has a place of its own on the host, by which a container could reach it. What is
// mounted in the volumes is the containers', and of the manifests' directories nothing is
// read but files.
func (c *Config) inside(check func(path string) error) (things []shelf.Thing, err error) {
	mounts, err := mountinfo.Read()
	if err != nil {
		return nil, err
	}
	add := func(what, path string) {
		if thing := (shelf.Thing{What: what, Path: path, Hidden: true}); !slices.Contains(things, thing) {
			things = append(things, thing)
		}
	}
	volumes := filepath.Join(c.DataDir, "volumes")
	var ofContainers []string
	for _, dir := range []string{c.DataDir, volumes} {
		real, err := resolve(dir, check)
		if err != nil {
			return nil, err
		}
		if dir == c.DataDir {
			real = filepath.Join(real, "volumes")
		}
		ofContainers = append(ofContainers, real+"/")
	}
	for dir, what := range map[string]string{c.StateDir: "the state directory", c.DataDir: "the data directory"} {
		roots := []string{dir}
		if check(dir) == nil {
			links, err := linksIn(dir, linkDepth, volumes, check)
			if err != nil {
				return nil, err
			}
			for _, link := range links {
				add(linkThing+what, link)
			}
			roots = append(roots, links...)
		}
		for _, root := range roots {
			real, err := resolve(root, check)
			if err != nil {
				return nil, err
			}
			for _, m := range mounts {
				isContainers := slices.ContainsFunc(ofContainers, func(dir string) bool { return strings.HasPrefix(m.Point, dir) })
				if strings.HasPrefix(m.Point, strings.TrimSuffix(real, "/")+"/") && !isContainers {
					add("the mount in "+what, m.Point)
				}
			}
		}
	}
	for _, dir := range c.Manifests {
		real, err := resolve(dir, check)
		if err != nil {
			return nil, err
		}
		for _, m := range mounts {
			if filepath.Dir(m.Point) != real || m.Point == real || check(dir) != nil {
				continue
			}
			// No file system has to be asked for that, which may not answer.
			var st unix.Statx_t
			const how = unix.AT_STATX_DONT_SYNC | unix.AT_SYMLINK_NOFOLLOW
			if err := unix.Statx(unix.AT_FDCWD, m.Point, how, unix.STATX_TYPE, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
				add("the mount in the manifests' directory", m.Point)
			}
		}
	}
	slices.SortFunc(things, func(a, b shelf.Thing) int { return strings.Compare(a.Path, b.Path) })
	return things, nil
}

// linksIn are the symbolic links in a directory and, to a depth, in those in it, but in
// one, and in what does not answer.
func linksIn(dir string, depth int, but string, check func(path string) error) (links []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // gone meanwhile
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		switch {
		case e.Type() == fs.ModeSymlink:
			links = append(links, at)
		case e.IsDir() && depth > 1 && at != but && check(at) == nil:
			deeper, err := linksIn(at, depth-1, but, check)
			if err != nil {
				return nil, err
			}
			links = append(links, deeper...)
		}
	}
	return links, nil
}
