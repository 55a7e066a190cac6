package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// version is the format of descriptions that this build writes and reads.
const version = 1

// description is the name of the file that describes a checkpoint. It is the
// last to be written.
const description = "image.json"

// described is what that file holds.
type described struct {
	Version int `json:"version"`
	// Runtime is what wrote the checkpoint and alone can read it.
	Runtime string `json:"runtime"`
	observed.Image
}

// Write makes the checkpoint dir, in which nothing may be yet: fill writes the
// runtime's files, made durable, into a directory that becomes dir once all is
// on disk. runtime is what alone can read them. When it fails nothing is left.
func Write(dir, runtime string, image observed.Image, fill func(dir string) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), unfinished(dir))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	if err := fill(work); err != nil {
		return err
	}
	b, err := json.MarshalIndent(described{version, runtime, image}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(work, description), append(b, '\n')); err != nil {
		return err
	}
	if err := syncDir(work); err != nil {
		return err
	}
	if err := rename(work, dir); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// unfinished names directories that are being made or removed. Names of
// sandboxes have no dots.
func unfinished(dir string) string { return "." + filepath.Base(dir) + ".part-" }

// vacant refuses a place where something is.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name a directory that is not there yet", dir)
	}
	return nil
}

// Read returns the description of a checkpoint. runtime is what would read the
// rest of it: a checkpoint of another one, or a description that can't be
// understood, is Unusable. fs.ErrNotExist: there is no checkpoint at dir.
func Read(dir, runtime string) (*observed.Image, error) {
	b, err := os.ReadFile(filepath.Join(dir, description))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("there is no checkpoint at %s: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	var d described
	switch err := json.Unmarshal(b, &d); {
	case err != nil:
		return &observed.Image{Unusable: fmt.Sprintf("%s can't be understood: %v", description, err)}, nil
	case d.Version != version:
		return &observed.Image{Unusable: fmt.Sprintf("%s has format %d, and this build reads %d", description, d.Version, version)}, nil
	case d.Runtime != runtime:
		d.Unusable = fmt.Sprintf("it was written by %s, and this build has %s: only a sandboxer with the former can restore it", d.Runtime, runtime)
	}
	return &d.Image, nil
}

// rename moves a directory to where nothing or an empty directory is.
func rename(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func writeFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes durable what a directory holds.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove removes the directory in one step, and then what was in it.
func remove(dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), unfinished(dir))
	if err != nil {
		return err
	}
	err = rename(dir, work)
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(work))
}

// sweep removes what was not finished at dir.
func sweep(dir string) error {
	entries, err := os.ReadDir(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished(dir)) {
			errs = append(errs, os.RemoveAll(filepath.Join(filepath.Dir(dir), e.Name())))
		}
	}
	return errors.Join(errs...)
}
