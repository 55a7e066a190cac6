package sealed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// copySuffix ends the hidden name of a file's copy, asideSuffix the name that a
// damaged file is kept under.
const (
	copySuffix  = ".copy"
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
func Write(path string, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return write(path, Seal(data))
}

func write(path string, data []byte) error {
	if err := writeCopy(copyOf(path), data); err != nil {
		return err // an earlier one must not stand in for this content
	}
	// The temporary file must be on the same file system, and not be in the
	// way of anybody.
	return renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path)))
}

func writeCopy(path string, data []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		_ = os.Remove(temp) // what is left of it counts for nothing
		return err
	}
	err := os.Rename(temp, path)
	if err != nil && os.RemoveAll(path) == nil { // something else was put there
		err = os.Rename(temp, path)
	}
	return err
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

// readPlain reads a file that must be a plain one.
func readPlain(path string, max int64) ([]byte, error) {
	// Neither following a link nor waiting for a pipe's writer.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, &Damage{"it is not a plain file"}
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
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
	// Such files are replaced, never written to: another one that grows or
	// shrinks meanwhile can't be decoded.
	data := make([]byte, st.Size)
	n, err := io.ReadFull(f, data)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	return data[:n], nil
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
		return write(path, Seal(bytes.TrimSpace(data)))
	}
	if copied, err := readPlain(copyOf(path), max); err == nil && bytes.Equal(copied, data) {
		return nil
	}
	return writeCopy(copyOf(path), data)
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
	for _, p := range []string{path + asideSuffix, copyOf(path) + ".new", copyOf(path), path} { // a copy without its file would stand in for it
		// What stands there may be anything: see SetAside.
		if err := os.RemoveAll(p); err != nil && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
	}
	return nil
}
