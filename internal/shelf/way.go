package shelf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"sandboxer/internal/mountinfo"
)

// Way is where an object is.
type Way struct {
	// Places are its own, those of the folders that it is in, and where it is on an
	// overlay those in what that is made of.
	Places []Place
	// Anywhere: it is on an overlay, and it can't be told where in what that is
	// made of.
	Anywhere bool
}

// Around says where the object of a descriptor is; the mounts are as for Locate. A
// folder that shows in no mount is left out, and so is what does not answer.
func Around(f *os.File, mounts []mountinfo.Mount, answers Answers) (w Way, err error) {
	where, err := Locate(f, mounts)
	if err != nil {
		return w, err
	}
	layers, all, err := where.beneath(mounts, answers, false)
	if err != nil {
		return w, err
	}
	w.Anywhere = !all
	w.Places = []Place{where}
	for i, p := range append([]Place{where}, layers...) {
		if i > 0 {
			w.Anywhere = w.Anywhere || p.redirected(mounts)
			w.Places = append(w.Places, p)
		}
		for at := p.At; at != "/" && at != "."; {
			at = path.Dir(at)
			folder := (Place{Device: p.Device, At: at}).shown(mounts)
			if folder == nil {
				continue
			}
			w.Anywhere = w.Anywhere || i > 0 && folder.redirected(mounts)
			w.Places = append(w.Places, *folder)
		}
	}
	return w, nil
}

// Under says whether a place is on the way, whatever it is called by now.
func (w Way) Under(o Place) bool {
	return slices.ContainsFunc(w.Places, func(p Place) bool { return !o.Anywhere && (p.Is(o) || p.In([]Place{o})) })
}

// Of says whether the object of a place is on the way, wherever that was.
func (w Way) Of(o Place) bool {
	return slices.ContainsFunc(w.Places, func(p Place) bool { return p.Is(o) })
}

// Maybe says whether it can't be told whether a place is on the way.
func (w Way) Maybe(o Place) bool {
	return (w.Anywhere || o.Anywhere) && !o.Own && o.Device != w.Places[0].Device
}

// redirected says whether what shows of a place in an overlay is what its lower
// layers have under another name.
func (p Place) redirected(mounts []mountinfo.Mount) bool {
	for _, name := range p.Paths(mounts) {
		if _, err := unix.Lgetxattr(name, "trusted.overlay.redirect", nil); err == nil {
			return true
		}
	}
	return false
}

// shown is the place with what is there by now; nil where no mount shows it.
func (p Place) shown(mounts []mountinfo.Mount) *Place {
	for _, name := range p.Paths(mounts) {
		fd, err := unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), name)
		is, err := Locate(f, mounts)
		f.Close()
		if err == nil && is.Device == p.Device && is.At == p.At {
			return &is
		}
	}
	return nil
}

// Gone says whether nothing is left of what was at a place, which shows at a path;
// an error where that can't be told.
func (p Place) Gone(name string) (bool, error) {
	if p.Handle == "" {
		_, err := os.Lstat(name)
		return errors.Is(err, unix.ENOENT), nil
	}
	kind, text, _ := strings.Cut(p.Handle, ":")
	number, err := strconv.ParseInt(kind, 10, 32)
	if err != nil {
		return false, err
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return false, err
	}
	mounts, err := mountinfo.Read()
	if err != nil {
		return false, err
	}
	for _, m := range mounts {
		if m.Device != p.Device || name != m.Point && !within(m.Point, name) {
			continue
		}
		root := Place{Device: m.Device, At: m.Root}.shown(mounts)
		if root == nil || root.UUID != p.UUID {
			continue // another disk has the number by now
		}
		on, err := unix.Open(m.Point, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, err
		}
		fd, err := unix.OpenByHandleAt(on, unix.NewFileHandle(int32(number), b), unix.O_PATH|unix.O_CLOEXEC)
		unix.Close(on)
		if err == nil {
			unix.Close(fd)
		}
		return err == unix.ESTALE, nil
	}
	return false, nil
}

// hasUUID says whether a file system is on a disk, so that it can have an identity
// of its own and answers at once.
func hasUUID(m mountinfo.Mount) bool { return !strings.HasPrefix(m.Device, "0:") || m.Kind == "btrfs" }

// uuid is that of the file system of an object of some kind that is at a path; empty: it does not say.
func uuid(f *os.File, mode uint16, real string) string {
	dir, name := int(f.Fd()), "."
	if mode&unix.S_IFMT != unix.S_IFDIR {
		dir, name = unix.AT_FDCWD, path.Dir(real)
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var in, of unix.Stat_t
	if unix.Fstat(fd, &in) != nil || unix.Fstat(int(f.Fd()), &of) != nil || in.Dev != of.Dev {
		return "" // a file that is mounted by itself
	}
	const getUUID = 0x80111500 // FS_IOC_GETFSUUID
	var answer struct {
		size byte
		uuid [16]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getUUID, uintptr(unsafe.Pointer(&answer))); errno == 0 && answer.uuid != [16]byte{} {
		return hex.EncodeToString(answer.uuid[:])
	}
	// Before Linux 6.9: ext4 and btrfs make this of it.
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Fsid.Val == [2]int32{} {
		return ""
	}
	return fmt.Sprintf("fsid:%08x%08x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
}
