package answers

import (
	"os"
	"path/filepath"
	"strings"

	"sandboxer/internal/mountinfo"
)

// maxLinks is the kernel's bound for the links in one path.
const maxLinks = 40

// local are file systems whose answers come from this kernel and its disks. What
// is not among them is asked by a process of its own.
var local = map[string]bool{
	"bcachefs": true, "binfmt_misc": true, "bpf": true, "btrfs": true, "cgroup": true, "cgroup2": true, "configfs": true,
	"debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true, "erofs": true, "exfat": true, "ext2": true,
	"ext3": true, "ext4": true, "f2fs": true, "fusectl": true, "hugetlbfs": true, "iso9660": true, "jfs": true, "mqueue": true,
	"nsfs": true, "ntfs3": true, "overlay": true, "proc": true, "pstore": true, "ramfs": true, "rootfs": true, "securityfs": true,
	"selinuxfs": true, "squashfs": true, "sysfs": true, "tmpfs": true, "tracefs": true, "udf": true, "vfat": true, "xfs": true,
	"zfs": true,
}

// mounts are what kind of file system is mounted where, by mount point; what is
// mounted last is what shows.
type mounts map[string]string

func readMounts() (mounts, error) {
	all, err := mountinfo.Read()
	m := mounts{}
	for _, one := range all {
		m[one.Point] = one.Kind
	}
	return m, err
}

// isForeign says whether something is mounted at a path that is not local.
func (m mounts) isForeign(point string) bool {
	kind, mounted := m[point]
	return mounted && !local[kind]
}

// above is the mount point on the way of an absolute, link-free path whose file
// system is not local; "" where there is none.
func (m mounts) above(path string) string {
	for {
		if m.isForeign(path) {
			return path
		}
		if path == "/" {
			return ""
		}
		path = filepath.Dir(path)
	}
}

// foreign is the first mount point on the way of an absolute path, links
// included, whose file system is not local; "" where there is none. Nothing
// beyond it is looked at.
func (m mounts) foreign(path string) string {
	at, links := "/", 0
	for todo := strings.Split(path, "/"); ; {
		if m.isForeign(at) {
			return at
		}
		if len(todo) == 0 {
			return ""
		}
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		if m.isForeign(next) {
			return next
		}
		target, err := os.Readlink(next)
		if err != nil {
			at = next // no link, or nothing at all
			continue
		}
		if links++; links > maxLinks {
			return ""
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
}
