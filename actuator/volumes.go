package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
)

// volumesDir is where the daemon keeps a sandbox's emptyDir and files volumes,
// a folder for each.
func (a *Actuator) volumesDir(sandbox string) string {
	return filepath.Join(a.c.DataDir, "volumes", sandbox)
}

// prepareVolumes makes the volumes that are the daemon's own. It can be done
// again and again: what is in an emptyDir stays, for as long as it is declared.
func (a *Actuator) prepareVolumes(ctx context.Context, d *desired.Sandbox) error {
	err := a.removeVolumesBut(d.Name, func(name string) bool {
		v := volume(d, name)
		return v != nil && v.EmptyDir != nil
	})
	if err != nil {
		return fmt.Errorf("removing volumes that are not declared any more: %w", err)
	}
	if err := a.unmountOthers(d); err != nil {
		return err
	}
	onDisk, err := a.prepareDisk(ctx, d)
	if err != nil {
		return err
	}
	for i := range d.Spec.Volumes {
		v := &d.Spec.Volumes[i]
		dir := filepath.Join(a.volumesDir(d.Name), v.Name)
		var err error
		switch {
		case onDisk && isPlain(v):
			err = a.disk(d.Name).volume(v.Name)
		case v.EmptyDir != nil:
			err = prepareEmptyDir(dir, v.EmptyDir)
		case v.Files != nil:
			err = prepareFiles(dir, v.Files)
		}
		if err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
	}
	return nil
}

// unmountOthers unmounts what emptyDirs were before they were declared otherwise.
func (a *Actuator) unmountOthers(d *desired.Sandbox) error {
	k := a.disk(d.Name)
	for i := range d.Spec.Volumes {
		v := &d.Spec.Volumes[i]
		if v.EmptyDir == nil {
			continue
		}
		mounted, err := isMountPoint(k.at(v.Name))
		if err := ignoreMissing(err); err != nil {
			return err
		}
		held, err := k.holds(v.Name)
		if err != nil {
			return err
		}
		if mounted && held != isPlain(v) {
			if err := k.release(v.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepareEmptyDir makes a directory that every user of the container may write
// to, as in a Pod. A size limit is enforced by a tmpfs of that size.
func prepareEmptyDir(dir string, e *desired.EmptyDir) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mounted, err := isMountPoint(dir)
	if err != nil {
		return err
	}
	if e.SizeLimit != nil {
		var flags uintptr = unix.MS_NOSUID | unix.MS_NODEV
		if mounted {
			flags |= unix.MS_REMOUNT
		}
		files := emptyDirFiles(e.SizeLimit.Value())
		if mounted {
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				return &os.PathError{Op: "statfs", Path: dir, Err: err}
			}
			files = max(files, st.Files-st.Ffree) // the kernel takes no less than there are
		}
		options := fmt.Sprintf("mode=0777,size=%d,nr_inodes=%d", e.SizeLimit.Value(), files)
		if err := unix.Mount("sandboxer", dir, "tmpfs", flags, options); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, tooSmall(dir, e.SizeLimit, err))
		}
	} else if mounted {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", dir, err)
		}
	}
	return os.Chmod(dir, 0o777)
}

// emptyDirFiles is how many files there may be in an emptyDir of a size: one for each
// page, which is what one takes that is not empty, and never few. What the kernel
// remembers of each belongs to no sandbox.
func emptyDirFiles(size int64) uint64 {
	const least, most = 1024, 1 << 20
	return uint64(min(max(size/int64(os.Getpagesize()), least), most))
}

// tooSmall says what to do about a limit that is less than what is there.
func tooSmall(dir string, limit *resource.Quantity, err error) error {
	var fs unix.Statfs_t
	statErr := unix.Statfs(dir, &fs)
	used := resource.NewQuantity(int64(fs.Blocks-fs.Bfree)*fs.Bsize, resource.BinarySI)
	if statErr != nil || used.Cmp(*limit) <= 0 {
		return err
	}
	return fmt.Errorf("%w: its files take %s, more than the sizeLimit %s: raise that, delete files there, or begin with an empty volume by another name", err, used, limit)
}

// prepareFiles writes the literal content of a files volume.
func prepareFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := renameio.WriteFile(filepath.Join(dir, name), []byte(content), 0o644, renameio.IgnoreUmask()); err != nil {
			return err
		}
	}
	return nil
}

// removeVolumes takes away all that prepareVolumes ever made for a sandbox.
func (a *Actuator) removeVolumes(sandbox string) error {
	err := a.removeVolumesBut(sandbox, func(string) bool { return false })
	return errors.Join(err, a.disk(sandbox).remove(), removeDir(a.volumesDir(sandbox)))
}

// removeDir removes an empty directory; one that is not there is removed.
func removeDir(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// removeVolumesBut does so for all volumes but those to be kept.
func (a *Actuator) removeVolumesBut(sandbox string, keep func(name string) bool) error {
	dir := a.volumesDir(sandbox)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || keep(e.Name()) {
			continue // the first are the disk's
		}
		path := filepath.Join(dir, e.Name())
		mounted, err := isMountPoint(path)
		if err != nil {
			return err
		}
		if mounted {
			if err := a.disk(sandbox).release(e.Name()); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

func isMountPoint(path string) (bool, error) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &s)
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// volumeMount is a volume, or a file that host networking brings along, as a
// container mounts it, and as a gofer serves it.
type volumeMount struct {
	name     string // of the volume
	readOnly bool   // here
	mount    specs.Mount
	served   served
}

// volumeMounts opens a container's volumes, which are served for writing where
// any container of the sandbox writes.
func (a *Actuator) volumeMounts(paths hostpath.Resolver, d *desired.Sandbox, c *desired.Container) (mounts []volumeMount, err error) {
	for _, m := range c.VolumeMounts {
		v := volume(d, m.Name)
		if v == nil {
			return mounts, fmt.Errorf("volume %q is not declared", m.Name)
		}
		readOnly := m.ReadOnly || v.Files != nil
		served, err := a.serveVolume(paths, d, v, v.Files != nil || !d.Writes(v.Name))
		if err != nil {
			return mounts, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		mounts = append(mounts, volumeMount{v.Name, readOnly, bindMount(m.MountPath, readOnly), served})
	}
	return mounts, nil
}

// networkMounts are the files that host networking brings along.
func (a *Actuator) networkMounts(paths hostpath.Resolver, d *desired.Sandbox, c *desired.Container, spec *specs.Spec, root *os.File) (mounts []volumeMount, err error) {
	if d.Spec.Network.Mode == desired.NetworkHost {
		for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
			if err := a.c.Answers.Check(path); err != nil {
				return mounts, err
			}
			if covered(path, spec, c) || !canMountFile(root, spec.Root.Readonly, path) {
				continue
			}
			served, err := serveMount(paths, path, true)
			if err != nil {
				return mounts, err
			}
			mounts = append(mounts, volumeMount{"", true, bindMount(path, true), served})
		}
	}
	return mounts, nil
}

// covered says whether a mount of the container's own shows at path or holds
// it: whoever declared that one wants to see what is in it.
func covered(path string, spec *specs.Spec, c *desired.Container) bool {
	return slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return within(filepath.Clean(m.Destination), path) }) ||
		slices.ContainsFunc(c.VolumeMounts, func(m desired.VolumeMount) bool { return within(filepath.Clean(m.MountPath), path) })
}

// canMountFile says whether a file of the host can be shown at the same path
// of a container: the host must have it, and so must a root that nothing can
// be made in.
func canMountFile(root *os.File, readOnly bool, path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	if !readOnly {
		return true
	}
	dir, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Stat(strings.TrimPrefix(path, "/"))
	return err == nil
}

func volume(d *desired.Sandbox, name string) *desired.Volume {
	for i := range d.Spec.Volumes {
		if d.Spec.Volumes[i].Name == name {
			return &d.Spec.Volumes[i]
		}
	}
	return nil
}

func bindMount(destination string, readOnly bool) specs.Mount {
	access := "rw"
	if readOnly {
		access = "ro"
	}
	// The source is the gofer's business; gVisor wants one to be named.
	return specs.Mount{Type: "bind", Source: "/", Destination: destination, Options: []string{"rbind", access}}
}

// within reports whether path is dir or below it; both are clean.
func within(dir, path string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
