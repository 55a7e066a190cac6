package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"sandboxer/internal/answers"
	"sandboxer/internal/checkpoint"
	"sandboxer/observed"
)

// ownAll has the daemon's files have no other names. It is called once no container can
// reach them, which could make one meanwhile, and before anything is read there.
func (d *daemon) ownAll() error {
	dirs := []string{d.c.StateDir, d.c.DataDir}
	asked := answers.New("/proc/self/exe", nil)
	defer asked.Close()
	for _, t := range d.own.all() {
		// Links are not followed; what they lead to is the daemon's as well.
		if !strings.HasPrefix(t.What, linkThing) || t.Path == filepath.Join(d.c.DataDir, "volumes") || asked.Check(t.Path) != nil {
			continue
		}
		if info, err := os.Stat(t.Path); err == nil && info.IsDir() {
			dirs = append(dirs, t.Path)
		}
	}
	for _, dir := range dirs {
		copied, err := ownFiles(dir, d.withoutCheckpoint, filepath.Join(d.c.DataDir, "volumes"))
		if len(copied) > 0 {
			d.c.Log.Info("files of the daemon's had other names (hard links) by which they could be reached; they are copies now", "files", copied)
		}
		if err != nil {
			return fmt.Errorf("looking for other names of the daemon's files: %w", err)
		}
	}
	return nil
}

// ownFiles replaces every file below a directory of the daemon's that has another
// name (a hard link, as backups make them) by a copy: by that name others may reach
// it, a container in a volume. but are the directories that are not looked at; left
// is asked whether the daemon can do without a file for whose copy there is no room.
func ownFiles(dir string, left func(path string) (bool, error), but ...string) (copied []string, err error) {
	// The directory may be a link to one.
	err = filepath.WalkDir(dir+"/", func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		for _, b := range but {
			if path == b && e.IsDir() {
				return filepath.SkipDir
			}
		}
		// The lock is this daemon's by its inode.
		if !e.Type().IsRegular() || path == observed.LockFile(dir) {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Nlink < 2 {
			return nil //nolint:nilerr // gone meanwhile
		}
		err = copyInPlace(path)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			without, leftErr := left(path)
			if without || leftErr != nil {
				return leftErr
			}
		}
		if err == nil {
			copied = append(copied, path)
		}
		return err
	})
	return copied, err
}

// withoutCheckpoint has a checkpoint refused of which a file has another name, and for
// whose copy there is no room; false: the file is no checkpoint's.
func (d *daemon) withoutCheckpoint(path string) (bool, error) {
	dir := filepath.Join(d.c.DataDir, "checkpoints")
	in, err := filepath.Rel(dir, path)
	sandbox, _, ok := strings.Cut(in, "/")
	if err != nil || !ok || sandbox == ".." {
		return false, nil //nolint:nilerr // it is elsewhere
	}
	is, err := checkpoint.DirectoryAt(filepath.Join(dir, sandbox))
	if err != nil {
		return false, err
	}
	d.refused[is] = fmt.Sprintf("%s has another name (a hard link) by which it could be changed, and its disk has no room for a copy: make room, and start the daemon again", path)
	d.warn("a checkpoint is not used", "sandbox", sandbox, "reason", d.refused[is])
	return true, nil
}

// copyInPlace puts a copy of a file in its place.
func copyInPlace(path string) error {
	from, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := renameio.NewPendingFile(path, renameio.WithPermissions(info.Mode().Perm()), renameio.IgnoreUmask())
	if err != nil {
		return err
	}
	defer func() { _ = to.Cleanup() }()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := to.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, info.ModTime())
}
