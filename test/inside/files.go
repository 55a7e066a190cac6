package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withFile has a trial done to a file that holds a few bytes.
func withFile(try func(fd int) error) func() error {
	return func() error {
		f, err := os.Create("file")
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteString("content"); err != nil {
			return err
		}
		return try(int(f.Fd()))
	}
}

// attribute sets an extended attribute and reads it back.
func attribute(path, name string, value []byte) func() error {
	return func() error {
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o755); err == nil {
			f.Close()
		}
		if err := unix.Setxattr(path, name, value, 0); err != nil {
			return err
		}
		b := make([]byte, 64)
		n, err := unix.Getxattr(path, name, b)
		if err == nil && !bytes.Equal(b[:n], value) {
			return errors.New("lost")
		}
		return err
	}
}

// netBindService is what setcap cap_net_bind_service+ep writes.
var netBindService = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// target opens another file, for what has two.
func target(try func(fd int) error) error {
	f, err := os.Create("target")
	if err != nil {
		return err
	}
	defer f.Close()
	return try(int(f.Fd()))
}

func fileTrials() []trial {
	return []trial{
		{"openat2 RESOLVE_BENEATH", withFile(func(int) error {
			how := &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_BENEATH}
			if err := fdOf(unix.Openat2(unix.AT_FDCWD, "../file", how)); err == nil {
				return errors.New("leads out")
			}
			return fdOf(unix.Openat2(unix.AT_FDCWD, "file", how))
		})},
		{"copy_file_range", withFile(func(from int) error {
			return target(func(to int) error {
				n, err := unix.CopyFileRange(from, new(int64), to, nil, 7, 0)
				if err == nil && n != 7 {
					return errors.New("short")
				}
				return err
			})
		})},
		{"ioctl FICLONE", withFile(func(from int) error {
			return target(func(to int) error { return unix.IoctlFileClone(to, from) })
		})},
		{"sendfile, splice, tee", withFile(func(from int) error {
			return target(func(to int) error {
				var a, b [2]int
				return first(
					func() error { _, err := unix.Sendfile(to, from, new(int64), 7); return err },
					func() error { return unix.Pipe(a[:]) }, func() error { return unix.Pipe(b[:]) },
					func() error { _, err := unix.Splice(from, new(int64), a[1], nil, 7, 0); return err },
					func() error { _, err := unix.Tee(a[0], b[1], 7, 0); return err },
				)
			})
		})},
		{"vmsplice", func() error {
			var p [2]int
			b := []byte("x")
			if err := unix.Pipe(p[:]); err != nil {
				return err
			}
			_, err := unix.Vmsplice(p[1], []unix.Iovec{{Base: &b[0], Len: 1}}, 0)
			return err
		}},
		{"fallocate", withFile(func(fd int) error { return unix.Fallocate(fd, 0, 0, 1<<16) })},
		{"fallocate FALLOC_FL_PUNCH_HOLE", withFile(func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		})},
		{"O_TMPFILE", func() error { return fdOf(unix.Open(".", unix.O_TMPFILE|unix.O_RDWR, 0o600)) }},
		{"renameat2 RENAME_NOREPLACE in a volume", withFile(func(int) error {
			return first(
				func() error { _ = os.Remove("renamed"); return nil },
				func() error {
					return unix.Renameat2(unix.AT_FDCWD, "file", unix.AT_FDCWD, "renamed", unix.RENAME_NOREPLACE)
				})
		})},
		{"renameat2 RENAME_NOREPLACE in the root file system", func() error {
			_ = os.Remove("/renamed")
			return first(func() error { return os.WriteFile("/file", nil, 0o644) },
				func() error {
					return unix.Renameat2(unix.AT_FDCWD, "/file", unix.AT_FDCWD, "/renamed", unix.RENAME_NOREPLACE)
				})
		}},
		{"renameat2 RENAME_EXCHANGE", withFile(func(int) error {
			return target(func(int) error {
				return unix.Renameat2(unix.AT_FDCWD, "file", unix.AT_FDCWD, "target", unix.RENAME_EXCHANGE)
			})
		})},
		{"statx", withFile(func(fd int) error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_ALL, &unix.Statx_t{}) })},
		{"flock, fcntl F_OFD_SETLK", withFile(func(fd int) error {
			return first(func() error { return unix.Flock(fd, unix.LOCK_EX) },
				func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}) })
		})},
		{"xattr: user.* in a volume", attribute("file", "user.x", []byte("x"))},
		{"xattr: user.* in the root file system", attribute("/attributes", "user.x", []byte("x"))},
		{"xattr: security.capability in a volume", attribute("file", "security.capability", netBindService)},
		{"xattr: security.capability in the root file system", attribute("/attributes", "security.capability", netBindService)},
		{"xattr: trusted.* in a volume", attribute("file", "trusted.x", []byte("x"))},
		{"POSIX ACLs in a volume", attribute("file", "system.posix_acl_access", []byte("\x02\x00\x00\x00"+
			"\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"))},
		{"inotify", func() error {
			fd, err := unix.InotifyInit1(unix.IN_NONBLOCK)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if _, err := unix.InotifyAddWatch(fd, ".", unix.IN_CREATE); err != nil {
				return err
			}
			_ = os.Remove("seen")
			if err := os.WriteFile("seen", nil, 0o644); err != nil {
				return err
			}
			_, err = unix.Read(fd, make([]byte, 256))
			return err
		}},
		{"fanotify_init", func() error { return fdOf(unix.FanotifyInit(unix.FAN_CLASS_NOTIF, 0)) }},
		{"name_to_handle_at", func() error { _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, ".", 0); return err }},
		{"ttyname", func() error {
			if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err != nil {
				return fmt.Errorf("stdin is no terminal: %w", err)
			}
			name, err := os.Readlink("/proc/self/fd/0")
			if err == nil {
				_, err = os.Stat(name)
			}
			return err
		}},
		{"mknod of a device", func() error {
			_ = os.Remove("device")
			return unix.Mknod("device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}},
		{"io_uring_setup", func() error { return raw(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(new([120]byte)))) }},
		{"io_setup", func() error {
			context := uintptr(0)
			return raw(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&context)))
		}},
	}
}
