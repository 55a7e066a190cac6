package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// Store holds the checkpoints of suspended sandboxes, one for each at most.
type Store struct {
	// Dir holds a directory for each, of its name. It need not exist.
	Dir string
	// Runtime is what writes and reads the checkpoints of this build.
	Runtime string
	// Refused says of checkpoints why nothing is restored from them, whatever they
	// say. Optional.
	Refused map[Directory]string
}

// Directory is a directory, whatever another one is called by now.
type Directory struct {
	inode uint64
	born  unix.StatxTimestamp
}

// DirectoryAt is the directory at a path.
func DirectoryAt(path string) (Directory, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return Directory{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return Directory{st.Ino, st.Btime}, nil
}

// Path is where a sandbox's checkpoint is, or would be.
func (s Store) Path(sandbox string) string { return filepath.Join(s.Dir, sandbox) }

// Read returns the description of a sandbox's checkpoint, nil where it has
// none.
func (s Store) Read(sandbox string) (*observed.Image, error) {
	if err := observed.CheckName(sandbox); err != nil {
		return nil, err
	}
	image, err := Read(s.Path(sandbox), s.Runtime)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A checkpoint appears as a whole: what has no description has lost it.
		if left, err := os.ReadDir(s.Path(sandbox)); err != nil || len(left) == 0 {
			return nil, nil
		}
		return &observed.Image{Unusable: description + " is missing"}, nil
	case err == nil && image.Unusable == "" && image.Sandbox != sandbox:
		image.Unusable = fmt.Sprintf("it is of sandbox %q", image.Sandbox)
	}
	if err != nil || len(s.Refused) == 0 {
		return image, err
	}
	is, err := DirectoryAt(s.Path(sandbox))
	if why := s.Refused[is]; err == nil && why != "" {
		image.Unusable = why
	}
	return image, err
}

// Write makes a sandbox's checkpoint; see the function Write.
func (s Store) Write(sandbox string, image observed.Image, fill func(dir string) error) error {
	if err := errors.Join(observed.CheckName(sandbox), os.MkdirAll(s.Dir, 0o700), sweep(s.Path(sandbox))); err != nil {
		return err
	}
	return Write(s.Path(sandbox), s.Runtime, image, fill)
}

// Remove removes a sandbox's checkpoint for good; one that is not there is
// removed.
func (s Store) Remove(sandbox string) error {
	if err := observed.CheckName(sandbox); err != nil {
		return err
	}
	if err := sweep(s.Path(sandbox)); err != nil {
		return err
	}
	if _, err := os.Lstat(s.Path(sandbox)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return remove(s.Path(sandbox))
}

// Names lists the sandboxes that have a checkpoint, sorted.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if observed.CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
