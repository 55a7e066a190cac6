// Package hostpath opens what manifests name on the host.
//
// A path in a manifest is root's order, but what it leads to may be up to others:
// whoever can write a directory on the way can put a symbolic link there, a
// container into a volume as well as a user into his home. So a path is walked
// name by name, each link has to be in a directory that nobody else can write,
// and what was found is handed on as a descriptor, never as a path to be looked
// up again. Nothing that is opened waits: what is no regular file is not read.
//
// It knows no manifests and has no state. Its functions may be called from many
// goroutines and in any process.
package hostpath

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/internal/owner"
)

// maxLinks is the kernel's bound for the links in one path.
const maxLinks = 40

// ErrLink says that a path leads through a symbolic link that others than root
// could have made.
var ErrLink = errors.New("it is not followed")

// Resolver walks paths.
type Resolver struct {
	// Answers says why a path can't be walked without waiting for ever, nil where
	// it can. Optional.
	Answers func(name string) error
	// Link says whether a link may be followed that is in a folder, which is
	// open while it is asked; required.
	Link func(folder *os.File, name string) error
	// Missing is told of the folder that has no such name, where a path ends in
	// one; last says whether no other names would follow. Optional.
	Missing func(folder *os.File, name string, last bool) error
	// Opened is told what a path led to, and Earlier returns what it led to then,
	// in place of a link that is not followed; nil where it does not know, like
	// the link's error. Both are optional.
	Opened  func(name string, f File)
	Earlier func(name string) (*File, error)
}

// AnyLink follows every link.
func AnyLink(*os.File, string) error { return nil }

// Read reads the regular file that a path leads to, see File.Read.
func (r Resolver) Read(name string, most int) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Read(most)
}

// File is what a path led to.
type File struct {
	*os.File        // it can't be read from (O_PATH)
	Real     string // its path without links
	Earlier  bool   // the path leads elsewhere by now
}

// Open opens what an absolute path leads to, of whatever kind it is, without
// anything happening to it.
func (r Resolver) Open(name string) (File, error) { return r.walk(name, nil) }

// Make opens a path like Open, with folders made that are missing on the way and
// at its end.
func (r Resolver) Make(name string, mode uint32) (File, error) {
	return r.walk(name, func(folder int, name string, _ bool) error { return unix.Mkdirat(folder, name, mode) })
}

// Parent opens the folder that a path's last name is in. That name is not looked
// up.
func (r Resolver) Parent(name string) (folder File, last string, err error) {
	clean := path.Clean(name)
	if clean == "/" {
		return File{}, "", &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	folder, err = r.Open(path.Dir(clean))
	return folder, path.Base(clean), err
}

// MakeFile opens a path like Open, with an empty file made at its end if nothing
// is there.
func (r Resolver) MakeFile(name string, mode uint32) (File, error) {
	return r.walk(name, func(folder int, name string, last bool) error {
		if !last {
			return unix.ENOENT
		}
		// Only what is made here is opened: a pipe would wait, and a device do who
		// knows what.
		fd, err := unix.Openat(folder, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode)
		if err == nil {
			unix.Close(fd)
		}
		return err
	})
}

func (r Resolver) walk(name string, make maker) (File, error) {
	f, err := r.follow(name, make)
	switch {
	case err == nil && r.Opened != nil:
		r.Opened(name, f)
	case errors.Is(err, ErrLink) && r.Earlier != nil:
		earlier, earlierErr := r.Earlier(name)
		if earlierErr != nil {
			return f, errors.Join(err, earlierErr)
		}
		if earlier != nil {
			return *earlier, nil
		}
	}
	return f, err
}

func (r Resolver) follow(name string, make maker) (File, error) {
	if !path.IsAbs(name) {
		return File{}, fmt.Errorf("%s is not an absolute path", name)
	}
	if r.Answers != nil {
		if err := r.Answers(name); err != nil {
			return File{}, err
		}
	}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return File{}, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w := walker{Resolver: r, make: make, fd: fd, real: "/", todo: strings.Split(name, "/")}
	for len(w.todo) > 0 {
		next := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(next); err != nil {
			unix.Close(w.fd)
			return File{}, err
		}
	}
	return File{File: os.NewFile(uintptr(w.fd), name), Real: w.real}, nil
}

// maker makes what is not there.
type maker func(folder int, name string, last bool) error

// walker is on its way.
type walker struct {
	Resolver
	make  maker
	fd    int      // where it is
	real  string   // the path to there
	todo  []string // names to come
	links int
}

// step goes on to one name.
func (w *walker) step(name string) error {
	if name == "" || name == "." {
		return nil
	}
	real := path.Join(w.real, name)
	fail := func(err error) error { return &fs.PathError{Op: "open", Path: real, Err: err} }
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(w.fd, name, flags, 0)
	if err == unix.ENOENT && w.make != nil {
		if err := w.make(w.fd, name, len(w.todo) == 0); err != nil && err != unix.EEXIST {
			return fail(err)
		}
		fd, err = unix.Openat(w.fd, name, flags, 0)
	}
	if err == unix.ENOENT && w.Missing != nil {
		told := w.here(func(folder *os.File) error { return w.Missing(folder, name, len(w.todo) == 0) })
		return errors.Join(fail(err), told)
	}
	if err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		unix.Close(w.fd)
		w.fd, w.real = fd, real
		return nil
	}
	defer unix.Close(fd)
	if w.links++; w.links > maxLinks {
		return fail(unix.ELOOP)
	}
	if err := w.here(func(folder *os.File) error { return w.Link(folder, name) }); err != nil {
		return fmt.Errorf("%s is a symbolic link: %w", real, err)
	}
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if err != nil {
		return fail(err)
	}
	to := string(target[:n])
	if path.IsAbs(to) {
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail(err)
		}
		unix.Close(w.fd)
		w.fd, w.real = root, "/"
	}
	w.todo = append(strings.Split(to, "/"), w.todo...)
	return nil
}

// here calls do with the folder where w is.
func (w *walker) here(do func(*os.File) error) error {
	fd, err := unix.FcntlInt(uintptr(w.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	folder := os.NewFile(uintptr(fd), w.real)
	defer folder.Close()
	return do(folder)
}

// OnlyRoots is an error unless root, and no other user, can write a folder.
func OnlyRoots(folder *os.File) error {
	info, err := folder.Stat()
	if err != nil {
		return err
	}
	if why := owner.Others(info); why != "" {
		return fmt.Errorf("%w: others could have made it, since the folder %s %s", ErrLink, folder.Name(), why)
	}
	return nil
}

// reopen opens what an O_PATH descriptor is of.
func (f File) reopen(flags int) (int, error) {
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), flags|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: f.Real, Err: err}
	}
	return fd, nil
}

// Write puts a file with that content into a folder, in the place of whatever has
// the name.
func (f File) Write(name string, content []byte, mode uint32) error {
	fail := func(err error) error { return &fs.PathError{Op: "write", Path: path.Join(f.Real, name), Err: err} }
	temp := fmt.Sprintf(".%s.%016x", name, rand.Uint64())
	fd, err := unix.Openat(int(f.Fd()), temp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode)
	if err != nil {
		return fail(err)
	}
	file := os.NewFile(uintptr(fd), temp)
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = unix.Renameat(int(f.Fd()), temp, int(f.Fd()), name)
	}
	if err != nil {
		return errors.Join(fail(err), unix.Unlinkat(int(f.Fd()), temp, 0))
	}
	return nil
}

// Remove removes a regular file from a folder if that is its content; another
// one is somebody else's.
func (f File) Remove(name string, content []byte) error {
	real := path.Join(f.Real, name)
	fd, err := unix.Openat(int(f.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "remove", Path: real, Err: err}
	}
	file := File{File: os.NewFile(uintptr(fd), real), Real: real}
	defer file.Close()
	if file.IsRegular() != nil {
		return nil
	}
	if got, err := file.Read(len(content)); err != nil || !bytes.Equal(got, content) {
		return nil // longer, or other: not that one
	}
	if err := unix.Unlinkat(int(f.Fd()), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: real, Err: err}
	}
	return nil
}

// IsRegular is an error unless f is a regular file.
func (f File) IsRegular() error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Real)
	}
	return err
}

// Read reads a regular file of at most so many bytes. It neither waits for what
// may come nor reads what has no end.
func (f File) Read(most int) ([]byte, error) {
	if err := f.IsRegular(); err != nil {
		return nil, err
	}
	fd, err := f.reopen(unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	content, chunk := []byte{}, make([]byte, 32<<10)
	for {
		n, err := unix.Read(fd, chunk)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("%s is not read: it has no end, and one has to wait for what comes", f.Real)
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: f.Real, Err: err}
		case n == 0:
			return content, nil
		}
		if content = append(content, chunk[:n]...); len(content) > most {
			return nil, fmt.Errorf("%s is longer than %d bytes", f.Real, most)
		}
	}
}
