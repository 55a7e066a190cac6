package test

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denyEnv has this program execute its arguments with some system calls denied:
// a number and an error of each, as deny gives it.
const denyEnv = "SANDBOXER_TEST_DENY"

// deny gives a world's around under which the kernel answers a system call with
// an error, as where it has no more of something to give.
func deny(call uintptr, with syscall.Errno) []string {
	return []string{"env", fmt.Sprintf("%s=%d %d", denyEnv, call, with), os.Args[0]}
}

// executeDenied does that.
func executeDenied(what string) error {
	runtime.LockOSThread()
	var call, with uint32
	if _, err := fmt.Sscan(what, &call, &with); err != nil {
		return err
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | with},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0); err != nil {
		return err
	}
	if err := os.Unsetenv(denyEnv); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}
