package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// files are a container's log: PATH, which grows, and PATH.1 and on, older ones
// with higher numbers. One may be missing: a crash came between two renames.
type files struct {
	path string
	max  int64 // bytes of one file
	keep int   // how many files there may be
	file *os.File
	size int64 // of file
	// dev and inode are the file's.
	dev, inode uint64
	// turn counts rotations, so that a follower knows when its file is complete.
	turn int
}

// number is the path of the i-th file; 0 is the one that grows.
func (f *files) number(i int) string {
	if i == 0 {
		return f.path
	}
	return f.path + "." + strconv.Itoa(i)
}

// ready makes sure that there is a file with room for n bytes, and says whether
// it is another one than before.
func (f *files) ready(n int) (changed bool, err error) {
	if f.file != nil {
		// Somebody may have removed it, to make room on a full disk, renamed it, as
		// logrotate does, or cut it.
		var st unix.Stat_t
		err := unix.Lstat(f.path, &st)
		if err != nil && err != unix.ENOENT {
			return false, &os.PathError{Op: "stat", Path: f.path, Err: err}
		}
		if f.size = st.Size; err != nil || st.Dev != f.dev || st.Ino != f.inode {
			f.turn++
			f.shut()
		}
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return false, err
		}
		changed = true
	}
	if f.size == 0 || f.size+int64(n) <= f.max {
		return changed, nil
	}
	if err := f.rotate(); err != nil {
		return changed, fmt.Errorf("rotating: %w", err)
	}
	return true, nil
}

// rotate puts a new file into the place of the one that is full. Every step
// leaves a log that can be read and written.
func (f *files) rotate() error {
	for i := f.keep - 1; i > 0; i-- {
		if err := os.Rename(f.number(i-1), f.number(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f.turn++
	f.shut()
	return f.open()
}

// open opens the file for appending, ends a line that a crash left torn, and
// removes files that are more than are kept by now.
func (f *files) open() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	for i := f.keep; os.Remove(f.number(i)) == nil; i++ {
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size, err := endLine(file)
	if err != nil {
		file.Close()
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return os.NewSyscallError("fstat", err)
	}
	f.file, f.size, f.dev, f.inode = file, size, st.Dev, st.Ino
	return nil
}

// endLine returns the file's size after giving its last line an end.
func endLine(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return st.Size(), err
	}
	_, err = f.Write([]byte{'\n'})
	return st.Size() + 1, err
}

// cut shortens the log to what it was; one that is shorter, or gone, stays so.
func (f *files) cut(size int64) error {
	st, err := os.Stat(f.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && st.Size() <= size {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(f.path, size)
}

// put appends p; after a failure the file ends where it did before.
func (f *files) put(p []byte) error {
	if _, err := f.file.Write(p); err != nil {
		if f.file.Truncate(f.size) != nil {
			f.shut() // open repairs its end
		}
		return err
	}
	f.size += int64(len(p))
	return nil
}

func (f *files) shut() {
	if f.file != nil {
		f.file.Close()
		f.file, f.size = nil, 0
	}
}
