package answers

import (
	"os"
	"path/filepath"
	"slices"
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

// mounts are the mount points of file systems that are not local. Most hosts have
// none.
type mounts map[string]bool

// mounts are those of now.
func (c *Checker) mounts() (mounts, error) {
	c.mountsMu.Lock()
	defer c.mountsMu.Unlock()
	all, fresh, err := c.table.Read()
	if err != nil {
		return nil, err
	}
	if fresh {
		c.foreign = foreignOf(all)
	}
	return c.foreign, nil
}

// foreignOf are those of all mounts, of which the last one at a point shows. An
// overlay asks what it is made of.
func foreignOf(all []mountinfo.Mount) mounts {
	m, overlays := mounts{}, map[string]mountinfo.Mount{}
	for _, one := range all {
		delete(m, one.Point)
		delete(overlays, one.Point)
		if !local[one.Kind] {
			m[one.Point] = true
		} else if one.Kind == "overlay" {
			overlays[one.Point] = one
		}
	}
	for more := len(m) > 0; more; { // one may be made of another
		more = false
		for point, overlay := range overlays {
			dirs, _ := overlay.Layers(false)
			if slices.ContainsFunc(dirs, func(dir string) bool { return m.foreign(dir) != "" }) {
				m[point], more = true, true
				delete(overlays, point)
			}
		}
	}
	return m
}

// above is the mount point on the way of an absolute, link-free path whose file
// system is not local; "" where there is none.
func (m mounts) above(path string) string {
	for len(m) > 0 {
		if m[path] {
			return path
		}
		if path == "/" {
			break
		}
		path = filepath.Dir(path)
	}
	return ""
}

// foreign is the first mount point on the way of an absolute path, links
// included, whose file system is not local; "" where there is none. Nothing
// beyond it is looked at.
func (m mounts) foreign(path string) string {
	if len(m) == 0 {
		return ""
	}
	at, links := "/", 0
	for todo := strings.Split(path, "/"); ; {
		if m[at] {
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
		if m[next] {
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
