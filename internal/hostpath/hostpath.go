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
	"time"

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
	// Do does with what was opened what may wait for ever; nil: it is done
	// directly. It is given a link-free path for what is open. Optional.
	Do func(f *os.File, real string, op Op) ([]byte, error)
	// Link says whether a link may be followed that is in a folder, which is
	// open while it is asked, and was made or renamed at some time; required.
	Link func(folder *os.File, changed time.Time) error
	// Missing is told of the folder that has no such name, where a path ends in
	// one; last says whether no other names would follow. Optional.
	Missing func(folder *os.File, name string, last bool) error
	// Found is asked whether what a path led to may be used. Optional.
	Found func(File) error
	// Opened is told what a path led to, and Earlier returns what it led to then,
	// in place of a link that is not followed; nil where it does not know, like
	// the link's error. Both are optional.
	Opened  func(name string, f File)
	Earlier func(name string) (*File, error)
}

// AnyLink follows every link.
func AnyLink(*os.File, time.Time) error { return nil }

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

	do func(f *os.File, real string, op Op) ([]byte, error) // nil: directly
}

// Open opens what an absolute path leads to, of whatever kind it is, without
// anything happening to it.
func (r Resolver) Open(name string) (File, error) { return r.walk(name, nil) }

// Make opens a path like Open, with folders made that are missing on the way and
// at its end.
func (r Resolver) Make(name string, mode uint32) (File, error) {
	return r.walk(name, func(name string, _ bool) *Op { return &Op{Kind: opMkdir, Name: []byte(name), Mode: mode} })
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
	return r.walk(name, func(name string, last bool) *Op {
		if !last {
			return nil
		}
		return &Op{Kind: opCreate, Name: []byte(name), Mode: mode}
	})
}

func (r Resolver) walk(name string, make maker) (File, error) {
	f, err := r.found(name, make)
	if err == nil && r.Found != nil {
		if err := r.Found(f); err != nil {
			f.Close()
			return File{}, err
		}
	}
	return f, err
}

// found is what a path leads to, or led to.
func (r Resolver) found(name string, make maker) (File, error) {
	f, err := r.follow(name, make)
	f.do = r.Do
	switch {
	case err == nil && r.Opened != nil:
		r.Opened(name, f)
	case errors.Is(err, ErrLink) && r.Earlier != nil:
		earlier, earlierErr := r.Earlier(name)
		if earlierErr != nil {
			return f, errors.Join(err, earlierErr)
		}
		if earlier != nil {
			earlier.do = r.Do
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
	if f, ok := straight(name); ok {
		return f, nil
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

// straight opens a path that has no links in it at once: no link is followed by
// the kernel, whoever exchanges what meanwhile. All others, and all on a kernel
// that can't do this or is kept from it, are walked name by name.
func straight(name string) (File, bool) {
	real := path.Clean(name)
	if strings.Contains("/"+name+"/", "/../") {
		return File{}, false // not what Clean makes of it, where there are links
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, real, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return File{}, false
	}
	return File{File: os.NewFile(uintptr(fd), name), Real: real}, true
}

// maker is how what is not there is made; nil: it is not.
type maker func(name string, last bool) *Op

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
		if op := w.make(name, len(w.todo) == 0); op != nil {
			made := w.here(func(folder *os.File) error {
				_, err := File{File: folder, Real: w.real, do: w.Do}.act(*op)
				return err
			})
			if made != nil && !errors.Is(made, unix.EEXIST) {
				return fail(made)
			}
			fd, err = unix.Openat(w.fd, name, flags, 0)
		}
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
	if err := w.here(func(folder *os.File) error { return w.Link(folder, time.Unix(st.Ctim.Unix())) }); err != nil {
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

// write is Write, directly.
func (f File) write(name string, content []byte, mode uint32) error {
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

// remove is Remove, directly.
func (f File) remove(name string, content []byte) error {
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
	if got, err := file.read(len(content)); err != nil || !bytes.Equal(got, content) {
		return nil // longer, or other: not that one
	}
	if err := unix.Unlinkat(int(f.Fd()), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: real, Err: err}
	}
	return nil
}

// IsRegular is an error unless f is a regular file.
func (f File) IsRegular() error {
	kind, err := f.Kind()
	if err == nil && kind != unix.S_IFREG {
		err = fmt.Errorf("%s is not a regular file", f.Real)
	}
	return err
}

// Kind is what f is, as in a mode. It never changes, and no file system is asked
// for it.
func (f File) Kind() (uint16, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: f.Real, Err: err}
	}
	return st.Mode & unix.S_IFMT, nil
}

// read is Read, directly.
func (f File) read(most int) ([]byte, error) {
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
