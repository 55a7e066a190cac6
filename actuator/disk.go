package actuator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// Where every container of a sandbox has a limit of storage, its emptyDirs
// without a sizeLimit are on a disk of their own, as large as the sum of the
// limits: an ext4 file system in a file, in the folder of the sandbox's volumes.
// Names of volumes have no dot.
const (
	diskImage = ".disk"
	diskMount = ".mounted"
	diskRest  = "rest" // takes what the file system has beyond the sum
)

// diskOverhead is what a file system of that size takes for itself, at least: its
// journal, and tables of files. What is too much goes to the rest.
func diskOverhead(size int64) int64 { return (12<<20 + size/32) &^ 4095 }

// diskTime is how long making a file system may take.
const diskTime = time.Minute

// disk is where a sandbox's plain emptyDirs are.
type disk struct {
	dir    string
	reaper *observed.Reaper // of the programs that it takes
}

func (a *Actuator) disk(sandbox string) disk { return disk{a.volumesDir(sandbox), a.c.Reaper} }

func (k disk) at(name string) string { return filepath.Join(k.dir, name) }

// there says whether the sandbox has such a disk, mounted or not.
func (k disk) there() (bool, error) {
	_, err := os.Lstat(k.at(diskImage))
	return err == nil, ignoreMissing(err)
}

// isPlain says whether a volume is an emptyDir without a bound of its own.
func isPlain(v *desired.Volume) bool { return v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil }

// prepareDisk has a sandbox's disk mounted, with the room that is declared. It
// tells whether there is one: also where no limit is declared any more.
func (a *Actuator) prepareDisk(ctx context.Context, d *desired.Sandbox) (bool, error) {
	k, sum := a.disk(d.Name), plan.SumLimits(d).EphemeralStorage
	there, err := k.there()
	if err != nil {
		return false, err
	}
	wanted := slices.ContainsFunc(d.Spec.Volumes, func(v desired.Volume) bool { return isPlain(&v) })
	if !wanted || !there && sum == nil {
		return false, k.remove()
	}
	if !there {
		if err := k.make(ctx, sum.Value()); err != nil {
			return false, fmt.Errorf("making a disk of %s for emptyDir volumes: %w", sum, err)
		}
	}
	if err := k.mount(); err != nil {
		return false, fmt.Errorf("mounting the disk of emptyDir volumes: %w", err)
	}
	room, err := k.fit(sum)
	if err != nil || sum == nil || sum.Value() <= room {
		return true, err
	}
	if err := k.grow(ctx, sum.Value()); err != nil {
		return false, fmt.Errorf("making the disk of emptyDir volumes %s large: %w", sum, err)
	}
	_, err = k.fit(sum)
	return true, err
}

// make makes the file system. All of its space is set aside: what the host's
// disk can't keep later would be lost inside.
func (k disk) make(ctx context.Context, size int64) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	making := k.at(diskImage + ".new")
	f, err := os.OpenFile(making, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(lockImage(f), f.Truncate(0)); err != nil {
		return err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size+diskOverhead(size)); err != nil {
		return errors.Join(fmt.Errorf("setting its space aside: %w", err), os.Remove(making))
	}
	journal := min(max(size>>28, 4), 64) // MiB
	if err := k.tool(ctx, f, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", fmt.Sprintf("size=%d", journal), "-E", "nodiscard,lazy_itable_init=1", making); err != nil {
		return errors.Join(err, os.Remove(making))
	}
	return errors.Join(os.Rename(making, k.at(diskImage)), unlockImage(f))
}

// otherwise is what can be done on a host that can't make such a disk.
const otherwise = "give each emptyDir a sizeLimit, or leave out ephemeral-storage"

// lockImage has nobody else work on a file system. The lock is the programs' too that
// work on it, and outlasts a daemon that is killed meanwhile.
func lockImage(image *os.File) error {
	err := unix.Flock(int(image.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return fmt.Errorf("%s is still worked on by a program that an earlier daemon has started", image.Name())
	}
	return os.NewSyscallError("flock", err)
}

// unlockImage lets others work on it. To close it would not do: whoever was forked
// meanwhile has it open until it executes its program.
func unlockImage(image *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(image.Fd()), unix.LOCK_UN))
}

// tool runs a program of e2fsprogs on what is locked.
func (k disk) tool(ctx context.Context, image *os.File, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, diskTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.ExtraFiles = []*os.File{image}
	var said bytes.Buffer
	cmd.Stderr = &said
	err := k.reaper.Start(cmd)
	if err == nil {
		err = k.reaper.Wait(cmd)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: install e2fsprogs, %s", err, otherwise)
	}
	if code := cmd.ProcessState; name == "e2fsck" && code != nil && code.ExitCode() == 1 {
		return nil // it has mended something
	}
	if err != nil {
		return fmt.Errorf("%s: %w %s", name, err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// mount mounts the file system where it is not. The loop device goes with the
// mount.
func (k disk) mount() error {
	at := k.at(diskMount)
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if mounted, err := isMountPoint(at); err != nil || mounted {
		return err
	}
	image, err := k.open()
	if err != nil {
		return err
	}
	defer image.Close()
	return k.mountImage(image)
}

// mountImage mounts what is open and locked.
func (k disk) mountImage(image *os.File) error {
	// The loop device would keep the lock, and the mount is enough of one.
	if err := unlockImage(image); err != nil {
		return err
	}
	loop, err := attachLoop(image)
	if err != nil {
		return fmt.Errorf("loop device: %w: load the kernel's module loop, %s", err, otherwise)
	}
	defer loop.Close()
	return os.NewSyscallError("mount", unix.Mount(loop.Name(), k.at(diskMount), "ext4", unix.MS_NOSUID|unix.MS_NODEV, "noinit_itable"))
}

// attachLoop gives a file a block device, which is let go of when nobody uses it.
func attachLoop(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if err != unix.EBUSY { // somebody else was faster
			return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
		}
	}
}

// fit has the emptyDirs have as much room as sum says, or none beyond what they
// use; nil: as much as there is. It tells how much there could be.
func (k disk) fit(sum *resource.Quantity) (room int64, err error) {
	rest, err := os.OpenFile(filepath.Join(k.at(diskMount), diskRest), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer rest.Close()
	used, room, err := k.room(rest)
	if err != nil {
		return 0, err
	}
	keep := int64(0)
	if sum != nil {
		keep = max(room-max(sum.Value(), used), 0)
	}
	if err := rest.Truncate(keep); err != nil || keep == 0 {
		return room, err
	}
	err = unix.Fallocate(int(rest.Fd()), 0, 0, keep)
	if err == unix.ENOSPC { // it has taken all that there was, for a container writes meanwhile
		err = nil
	}
	return room, os.NewSyscallError("fallocate", err)
}

// room is what emptyDirs use, and what they could without the rest.
func (k disk) room(rest *os.File) (used, room int64, err error) {
	var s unix.Statfs_t
	var r unix.Stat_t
	if err := errors.Join(unix.Fstatfs(int(rest.Fd()), &s), unix.Fstat(int(rest.Fd()), &r)); err != nil {
		return 0, 0, err
	}
	used = int64(s.Blocks-s.Bfree)*s.Bsize - r.Blocks*512
	// The file system keeps some of what is free to itself.
	return used, used + int64(s.Bavail)*s.Bsize + r.Blocks*512, nil
}

// grow gives the file system room for so much more. Nobody has it mounted
// meanwhile: the kernel would do it under everybody's eyes only for who has
// CAP_SYS_RESOURCE.
func (k disk) grow(ctx context.Context, size int64) error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if held, err := k.holds(e.Name()); err != nil {
			return err
		} else if held && e.Name() != diskMount {
			if err := unix.Unmount(k.at(e.Name()), unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("unmounting %s: %w", k.at(e.Name()), err)
			}
		}
	}
	if err := unix.Unmount(k.at(diskMount), unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmounting %s: %w", k.at(diskMount), err)
	}
	image, err := k.open()
	if err != nil {
		return err
	}
	defer image.Close()
	was, err := image.Stat()
	if err != nil {
		return err
	}
	if err := unix.Fallocate(int(image.Fd()), 0, 0, size+diskOverhead(size)); err != nil {
		// What it got before there was no more would be missed by all others.
		return errors.Join(fmt.Errorf("setting the space aside: %w", err), image.Truncate(was.Size()))
	}
	if err := k.tool(ctx, image, "e2fsck", "-f", "-p", image.Name()); err != nil {
		return err
	}
	// Half of that would be worse than none: it has its time, whatever became late.
	if err := k.tool(context.WithoutCancel(ctx), image, "resize2fs", image.Name()); err != nil {
		return err
	}
	return k.mountImage(image)
}

// open opens and locks the file that the file system is in. One that is mounted
// already, wherever that is, would be destroyed by a second mount.
func (k disk) open() (*os.File, error) {
	image, err := os.OpenFile(k.at(diskImage), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var is os.FileInfo
	if err = lockImage(image); err == nil {
		is, err = image.Stat()
	}
	if err != nil {
		image.Close()
		return nil, err
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, loop := range loops {
		path, readErr := os.ReadFile(loop)
		if readErr != nil {
			continue // it has been let go of
		}
		if other, statErr := os.Stat(strings.TrimSuffix(string(path), "\n")); statErr == nil && os.SameFile(is, other) {
			err = fmt.Errorf("%s is in use by %s: by a sandbox that is about to end, or in another mount namespace", image.Name(), filepath.Base(filepath.Dir(filepath.Dir(loop))))
		}
	}
	if err != nil {
		image.Close()
		return nil, err
	}
	return image, nil
}

// holds says whether what is mounted at a volume's path is on the disk.
func (k disk) holds(name string) (bool, error) {
	var at, disk unix.Stat_t
	if err := unix.Lstat(k.at(diskMount), &disk); err != nil {
		return false, ignoreMissing(err)
	}
	if err := unix.Lstat(k.at(name), &at); err != nil {
		return false, ignoreMissing(err)
	}
	mounted, err := isMountPoint(k.at(name))
	return mounted && at.Dev == disk.Dev, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// volume puts a plain emptyDir on the disk. One that has files already, from
// before there was a limit, stays where it is.
func (k disk) volume(name string) error {
	if held, err := k.holds(name); err != nil || held {
		return err
	}
	dir := k.at(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return err
	}
	source := filepath.Join(k.at(diskMount), "volumes", name)
	if err := os.MkdirAll(source, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(source, 0o777); err != nil {
		return err
	}
	return os.NewSyscallError("mount", unix.Mount(source, dir, "", unix.MS_BIND, ""))
}

// release unmounts what is at a volume's path, and removes what the disk has of
// it.
func (k disk) release(name string) error {
	held, err := k.holds(name)
	if err != nil {
		return err
	}
	if err := unix.Unmount(k.at(name), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmounting %s: %w", k.at(name), err)
	}
	if !held {
		return nil
	}
	return os.RemoveAll(filepath.Join(k.at(diskMount), "volumes", name))
}

// limitDisk has a sandbox's disk hold what is declared. Where there is none, or
// a smaller one, the next sandbox gets it.
func (a *Actuator) limitDisk(d *desired.Sandbox) error {
	k := a.disk(d.Name)
	mounted, err := isMountPoint(k.at(diskMount))
	if err := ignoreMissing(err); err != nil || !mounted {
		return err
	}
	_, err = k.fit(plan.SumLimits(d).EphemeralStorage)
	return err
}

// remove takes the disk away; its volumes are unmounted.
func (k disk) remove() error {
	at := k.at(diskMount)
	mounted, err := isMountPoint(at)
	if err := ignoreMissing(err); err != nil {
		return err
	}
	if mounted {
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmounting %s: %w", at, err)
		}
	}
	return errors.Join(removeDir(at), removeDir(k.at(diskImage)), removeDir(k.at(diskImage+".new")))
}
