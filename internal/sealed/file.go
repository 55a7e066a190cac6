package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// copySuffix ends the hidden name of a file's copy, newSuffix that of what is to
// become a file or a copy, asideSuffix the name that a damaged file is kept under.
const (
	copySuffix  = ".copy"
	newSuffix   = ".new"
	asideSuffix = ".damaged"
)

func copyOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+copySuffix)
}

// Of gives the name of the file that an entry of its directory is, or is the
// copy of; ok is false for what is neither.
func Of(entry string) (file string, ok bool) {
	hidden, isHidden := strings.CutPrefix(entry, ".")
	if file, isCopy := strings.CutSuffix(hidden, copySuffix); isHidden && isCopy {
		return file, true
	}
	return entry, !isHidden && !strings.HasSuffix(entry, asideSuffix)
}

// Aside gives the name of the file that an entry of its directory was set aside
// of.
func Aside(entry string) (file string, ok bool) { return strings.CutSuffix(entry, asideSuffix) }

// Write replaces a file by an object. It is durable, and the old or the new one
// at any moment; the copy comes first and is not durable.
func Write(path string, object any) error { return seal(path, object, write) }

// Put is Write for what no power cut outlives, or need not: it waits for no disk.
// Whoever is killed leaves the old or the new one.
func Put(path string, object any) error { return seal(path, object, put) }

func seal(path string, object any, write func(path string, data []byte) error) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	data = Seal(data)
	err = write(path, data)
	// Somebody may have removed the directory under the daemon.
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		err = write(path, data)
	}
	return err
}

func write(path string, data []byte) error {
	if err := writeCopy(path, data); err != nil {
		return err // an earlier one must not stand in for this content
	}
	return instead(path, func() error {
		// The temporary file must be on the same file system, and not be in the
		// way of anybody.
		return renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path)))
	})
}

func put(path string, data []byte) error {
	if err := writeCopy(path, data); err != nil {
		return err
	}
	return instead(path, func() error { return replace(path, newOf(path), data) })
}

// writeCopy writes in place where it can: whoever is killed then leaves the file as
// it was, and to make and remove a file can cost far more than all the rest.
func writeCopy(path string, data []byte) error {
	copied := copyOf(path)
	if overwrite(copied, data) == nil {
		return nil
	}
	return instead(copied, func() error { return replace(copied, newOf(copied), data) })
}

// overwrite gives a plain file that is there another content, if its disk has room: on a
// full one it would be torn.
func overwrite(path string, data []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|asIs, 0)
	if err != nil {
		return err
	}
	if err = reserve(fd, int64(len(data))); err == nil {
		err = writeAll(fd, data)
	}
	if err == nil {
		err = unix.Ftruncate(fd, int64(len(data))) // no file of another kind has a length
	}
	return errors.Join(err, unix.Close(fd))
}

// reserve has a file have room for so much. Where the file system can't promise that, it is
// an error for one that is to grow.
func reserve(fd int, size int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Blocks*512 >= size {
		return nil
	}
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size)
	}
	return err
}

func writeAll(fd int, data []byte) (err error) {
	for len(data) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, data); err == unix.EINTR {
			err = nil
		}
		data = data[max(n, 0):]
	}
	return err
}

// instead has a file take the place of path, also where a directory stands there,
// which no rename replaces: that is set aside.
func instead(path string, rename func() error) error {
	err := rename()
	if _, named := errors.AsType[*os.LinkError](err); !named {
		return err
	}
	if info, statErr := os.Lstat(path); statErr != nil || !info.IsDir() || SetAside(path) != nil {
		return err
	}
	return rename()
}

// newOf is what a file is while it is written: in nobody's way.
func newOf(path string) string {
	return filepath.Join(filepath.Dir(path), "."+strings.TrimPrefix(filepath.Base(path), ".")+newSuffix)
}

// replace has a file of that content take the place of another one, or of none.
// It makes no calls but those that it needs: records are written all the time.
func replace(path, temp string, data []byte) error {
	const how = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
	fd, err := unix.Open(temp, how, 0o600)
	if err == unix.EEXIST && os.RemoveAll(temp) == nil { // left by who was killed, or anything else
		fd, err = unix.Open(temp, how, 0o600)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: temp, Err: err}
	}
	if err = errors.Join(writeAll(fd, data), unix.Close(fd)); err != nil {
		err = &fs.PathError{Op: "write", Path: temp, Err: err}
	} else if err = place(temp, path); err != nil {
		err = &os.LinkError{Op: "rename", Old: temp, New: path, Err: err}
	}
	if err != nil {
		_ = unix.Unlink(temp) // what is left of it counts for nothing
	}
	return err
}

// place has a file take the place of another one, or of none. They change places, and
// the other one is removed: a rename over a file has file systems allocate and write
// out at once what took its place (ext4: auto_da_alloc), which is against power cuts
// and takes longer than all else.
func place(temp, path string) error {
	exchange := func() error {
		return unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	}
	if exchange() != nil { // there is none, or the file system can't
		return unix.Rename(temp, path)
	}
	if unix.Unlink(temp) == nil {
		return nil
	}
	if err := exchange(); err != nil { // a directory stood there, which is the caller's to set aside
		return err
	}
	return unix.Rename(temp, path)
}

// Damage says why a file can't be used.
type Damage struct{ Why string }

func (d *Damage) Error() string { return d.Why }

// Read gives decode what a file holds, of at most max bytes, or, where that is
// damaged, missing, or refused by decode, what its copy does. decode must leave
// nothing behind of what it refuses.
//
// stoodIn says what is wrong with the file where the copy stood in for it; nil:
// nothing is. The error is fs.ErrNotExist where there is neither, and a *Damage
// where neither can be used; any other says that nobody knows.
func Read(path string, max int64, decode func([]byte) error) (stoodIn *Damage, err error) {
	err = read(path, max, decode)
	damage, damaged := errors.AsType[*Damage](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		damage = &Damage{"it is missing"}
	case !damaged:
		return nil, err
	}
	copyErr := read(copyOf(path), max, decode)
	_, copyDamaged := errors.AsType[*Damage](copyErr)
	switch {
	case copyErr == nil:
		return damage, nil
	case errors.Is(copyErr, fs.ErrNotExist), copyDamaged && damaged:
		return nil, err
	}
	return nil, copyErr
}

func read(path string, max int64, decode func([]byte) error) error {
	data, err := readPlain(path, max)
	if err != nil {
		return err
	}
	if err := Check(data); err != nil {
		return &Damage{err.Error()}
	}
	if err := decode(data); err != nil {
		return &Damage{err.Error()}
	}
	return nil
}

// asIs neither follows a link nor waits for a pipe's other end.
const asIs = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// readPlain reads a file that must be a plain one.
func readPlain(path string, max int64) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|asIs, 0)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, &Damage{"it is not a plain file"}
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &Damage{"it is not a plain file"}
	}
	if st.Size > max {
		return nil, &Damage{fmt.Sprintf("it is longer than %d bytes, and so nothing that was written here", max)}
	}
	// A file is replaced, never written to, and a copy is read only where its file
	// is damaged: one that grows or shrinks meanwhile can't be decoded.
	data := make([]byte, st.Size)
	n, err := readAll(fd, data)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data[:n], nil
}

// readAll reads until data is full or the file ends.
func readAll(fd int, data []byte) (n int, err error) {
	for n < len(data) {
		more, err := unix.Read(fd, data[n:])
		switch {
		case err == unix.EINTR:
		case err != nil, more == 0:
			return n, err
		default:
			n += more
		}
	}
	return n, nil
}

// Mend makes a file what its copy is, and keeps the damaged one beside it. A
// file that can be used stays as it is.
func Mend(path string, max int64, decode func([]byte) error) error {
	stoodIn, err := Read(path, max, decode)
	if err != nil || stoodIn == nil {
		return err
	}
	data, err := readPlain(copyOf(path), max)
	if err != nil {
		return err
	}
	if err := SetAside(path); err != nil {
		return err
	}
	return write(path, data)
}

// Tend makes the copy of a file that can be used what the file is, which it may
// not be after an earlier version, or damage to it alone. A file without a seal
// gets one: it is an earlier version's, or has lost no more than that, but what it
// loses next would not show.
func Tend(path string, max int64, decode func([]byte) error) error {
	data, err := readPlain(path, max)
	if err != nil || Check(data) != nil || decode(data) != nil {
		return nil // for Mend, or for nobody
	}
	if !sealed(data) && hasMembers(data) {
		// With it, it may be longer than what is read: then it stays as it is.
		if whole := Seal(bytes.TrimSpace(data)); int64(len(whole)) <= max {
			return write(path, whole)
		}
	}
	if copied, err := readPlain(copyOf(path), max); err == nil && bytes.Equal(copied, data) {
		return nil
	}
	return writeCopy(path, data)
}

// hasMembers says whether data is an object that can be sealed.
func hasMembers(data []byte) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(data, &members) == nil && len(members) > 0
}

// SetAside keeps a damaged file under another name, in place of an earlier one;
// one that is not there is set aside.
func SetAside(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(path + asideSuffix); err != nil {
		return err
	}
	return os.Rename(path, path+asideSuffix)
}

// Remove removes a file with its copy and what was set aside of it; what is not
// there is removed.
func Remove(path string) error {
	copied := copyOf(path) // without its file it would stand in for it
	for _, p := range []string{path + asideSuffix, copied + asideSuffix, newOf(copied), copied, newOf(path), path} {
		err := unix.Unlink(p)
		if err == nil || err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		// What stands there may be anything: see SetAside.
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}
