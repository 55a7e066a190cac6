package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newMounts makes a file system with the calls that each do a part of it, mounts
// it, and makes a copy of the mount.
func newMounts() error {
	fs, err := unix.Fsopen("tmpfs", 0)
	if err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	mount, err := unix.Fsmount(fs, 0, 0)
	if err != nil {
		return err
	}
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, "mountpoint", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return fdOf(unix.OpenTree(unix.AT_FDCWD, "mountpoint", unix.OPEN_TREE_CLONE))
}

func mountTrials() []trial {
	return []trial{
		{"mount", func() error { return unix.Mount("none", "mountpoint", "tmpfs", 0, "") }},
		{"mount in a user namespace", separately("tmpfs", unix.CLONE_NEWUSER|unix.CLONE_NEWNS)},
		{"fsopen, fsconfig, fsmount, move_mount, open_tree in a user namespace", separately("mounts", unix.CLONE_NEWUSER|unix.CLONE_NEWNS)},
		{"mount_setattr", func() error {
			return unix.MountSetattr(unix.AT_FDCWD, ".", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}},
		{"fspick", func() error { return fdOf(unix.Fspick(unix.AT_FDCWD, ".", 0)) }},
		{"statmount, listmount", func() error { return raw(457) }},
	}
}

func memoryTrials() []trial {
	return []trial{
		{"memfd_create", func() error { return fdOf(unix.MemfdCreate("x", unix.MFD_ALLOW_SEALING)) }},
		{"memfd_secret", func() error { return fdOf(unix.MemfdSecret(0)) }},
		{"userfaultfd", func() error { return raw(unix.SYS_USERFAULTFD, 0) }},
		{"pkey_alloc", func() error { return raw(unix.SYS_PKEY_ALLOC, 0, 0) }},
		{"mlock", func() error { return unix.Mlock(make([]byte, 4096)) }},
		{"process_madvise", func() error { return raw(unix.SYS_PROCESS_MADVISE, ^uintptr(0)) }},
		{"MAP_HUGETLB", func() error {
			_, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_HUGETLB)
			return err
		}},
		{"shmget, semget, msgget", func() error {
			return first(func() error { return raw(unix.SYS_SHMGET, 0, 4096, 0o1600) },
				func() error { return raw(unix.SYS_SEMGET, 0, 1, 0o1600) },
				func() error { return raw(unix.SYS_MSGGET, 0, 0o1600) })
		}},
		{"mq_open", func() error {
			name := []byte("queue\x00")
			return raw(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name[0])), unix.O_CREAT|unix.O_RDWR, 0o600, 0)
		}},
		{"mq_timedsend", func() error { return raw(unix.SYS_MQ_TIMEDSEND, ^uintptr(0)) }},
	}
}

// socket makes one and closes it.
func socket(domain, kind, protocol int) func() error {
	return func() error { return fdOf(unix.Socket(domain, kind, protocol)) }
}

// option sets a number on a TCP socket.
func option(level, name int) func() error {
	return func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.SetsockoptInt(fd, level, name, 1)
	}
}

func socketTrials() []trial {
	return []trial{
		{"AF_INET, AF_INET6, AF_UNIX", func() error {
			return first(socket(unix.AF_INET, unix.SOCK_STREAM, 0), socket(unix.AF_INET6, unix.SOCK_DGRAM, 0), socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
		}},
		{"raw sockets", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"AF_PACKET", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"netlink: NETLINK_ROUTE", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
		{"netlink: NETLINK_NETFILTER (nftables)", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
		{"AF_VSOCK", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"AF_ALG", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"SCTP", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)},
		{"MPTCP", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
		{"SO_REUSEPORT", option(unix.SOL_SOCKET, unix.SO_REUSEPORT)},
		{"TCP_FASTOPEN", option(unix.IPPROTO_TCP, unix.TCP_FASTOPEN)},
		{"SO_ZEROCOPY", option(unix.SOL_SOCKET, unix.SO_ZEROCOPY)},
	}
}

// opens opens a device.
func opens(path string) func() error {
	return func() error { return fdOf(unix.Open(path, unix.O_RDWR, 0)) }
}

func machineTrials() []trial {
	return []trial{
		{"bpf", func() error { return raw(unix.SYS_BPF, 0, 0, 0) }},
		{"perf_event_open", func() error {
			return fdOf(unix.PerfEventOpen(&unix.PerfEventAttr{Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, 0, -1, -1, 0))
		}},
		{"/dev/fuse", opens("/dev/fuse")},
		{"/dev/net/tun", opens("/dev/net/tun")},
		{"/dev/kvm", opens("/dev/kvm")},
		{"/dev/loop-control", opens("/dev/loop-control")},
		{"clock_settime", func() error {
			now := unix.NsecToTimespec(0)
			return raw(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&now)))
		}},
		{"/proc/sys is writable", func() error { return os.WriteFile("/proc/sys/vm/overcommit_memory", []byte("1"), 0) }},
		{"/sys/fs/cgroup/memory.max, cpu.max", func() error {
			return first(func() error { _, err := os.ReadFile("/sys/fs/cgroup/memory.max"); return err },
				func() error { _, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); return err })
		}},
	}
}
