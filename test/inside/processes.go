package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// child is what a trial starts: this program again.
func child(what, path string) {
	var err error
	switch what {
	case "wait":
		_ = unix.Pause()
	case "uid":
		os.Exit(os.Geteuid())
	case "mounts":
		err = newMounts()
	case "tmpfs":
		err = unix.Mount("none", path, "tmpfs", 0, "")
	case "filter":
		const allow = 0x7fff0000
		program := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow}}
		err = raw(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	}
	if err != nil {
		fmt.Print(outcome(err))
	}
}

// again starts this program as a child.
func again(what, path string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", what, path)
	cmd.SysProcAttr = attr
	return cmd
}

// withChild has a trial done to a child that waits.
func withChild(try func(pid, pidfd int) error) func() error {
	return func() error {
		cmd := again("wait", "", nil)
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return try(cmd.Process.Pid, fd)
	}
}

// separately has this program's other half tell, in namespaces of its own.
func separately(what string, flags uintptr) func() error {
	return func() error {
		if err := os.MkdirAll("mountpoint", 0o755); err != nil {
			return err
		}
		cmd := again(what, "mountpoint", &syscall.SysProcAttr{
			Cloneflags:  flags,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		})
		out, err := cmd.Output()
		if len(out) > 0 {
			return errors.New(string(out))
		}
		return err
	}
}

func processTrials() []trial {
	return []trial{
		{"pidfd_open", withChild(func(_, _ int) error { return nil })},
		{"pidfd_send_signal", withChild(func(_, fd int) error { return unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0) })},
		{"pidfd_getfd", withChild(func(_, fd int) error { return fdOf(unix.PidfdGetfd(fd, 1, 0)) })},
		{"waitid P_PIDFD", withChild(func(_, fd int) error {
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
				return err
			}
			return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOWAIT, nil)
		})},
		{"poll of a pidfd", withChild(func(_, fd int) error {
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
				return err
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(10*time.Second/time.Millisecond))
			if err == nil && n != 1 {
				return errors.New("never")
			}
			return err
		})},
		{"clone3 CLONE_PIDFD", func() error {
			fd := -1
			cmd := again("uid", "", &syscall.SysProcAttr{PidFD: &fd})
			if err := cmd.Start(); err != nil {
				return err
			}
			_ = cmd.Wait()
			return fdOf(fd, nil)
		}},
		{"clone CLONE_INTO_CGROUP", func() error {
			dir, err := os.Open("/sys/fs/cgroup")
			if err != nil {
				return err
			}
			defer dir.Close()
			return again("uid", "", &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}).Run()
		}},
		{"ptrace", func() error {
			cmd := again("uid", "", &syscall.SysProcAttr{Ptrace: true})
			if err := cmd.Start(); err != nil {
				return err
			}
			pid := cmd.Process.Pid
			defer func() { _ = cmd.Process.Kill(); _, _ = unix.Wait4(pid, nil, 0, nil) }()
			return first(
				func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err }, // its first instruction
				func() error { return unix.PtraceGetRegs(pid, &unix.PtraceRegs{}) },
				func() error { return unix.PtraceSyscall(pid, 0) },
				func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
		}},
		{"process_vm_readv", withChild(func(pid, _ int) error {
			b := make([]byte, 1)
			_, err := unix.ProcessVMReadv(os.Getpid(), []unix.Iovec{{Base: &b[0], Len: 1}},
				[]unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&b[0])), Len: 1}}, 0)
			return err
		})},
		{"seccomp", separately("filter", unix.CLONE_NEWUSER)},
		{"landlock_create_ruleset", func() error { return raw(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1) }},
		{"unshare: user, pid, ipc, uts, network", separately("uid",
			unix.CLONE_NEWUSER|unix.CLONE_NEWPID|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWNET)},
		{"unshare: time", separately("uid", unix.CLONE_NEWUSER|unix.CLONE_NEWTIME)},
		{"unshare: cgroup", separately("uid", unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP)},
		{"rseq", func() error {
			err := raw(unix.SYS_RSEQ)
			if err == unix.EINVAL {
				return nil
			}
			return err
		}},
		{"membarrier", func() error { return raw(unix.SYS_MEMBARRIER) }},
		{"futex_waitv", func() error {
			err := raw(449)
			if err == unix.EINVAL {
				return nil
			}
			return err
		}},
		{"sched_setscheduler SCHED_FIFO", func() error {
			priority := int32(1)
			return raw(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&priority)))
		}},
		{"keyctl: add_key", func() error { _, err := unix.AddKey("user", "x", []byte("x"), -3); return err }},
		// The last: a process that has changed its user is not for others to look at,
		// and until it executes another program that goes for its parent.
		{"setuid programs", func() error {
			b, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				return err
			}
			if err := os.WriteFile("setuid", b, 0o755); err != nil {
				return err
			}
			if err := os.Chmod("setuid", 0o755|os.ModeSetuid); err != nil {
				return err
			}
			cmd := exec.Command("./setuid", "uid", "")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 7, Gid: 7}}
			if _ = cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 0 {
				return errors.New("ignored")
			}
			return nil
		}},
	}
}
