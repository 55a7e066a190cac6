package entry

import "unsafe"

// Capabilities by their numbers.
const (
	capChown, capDACOverride, capDACReadSearch, capFowner, capFsetid = 0, 1, 2, 3, 4

	capSetpcap, capNetBindService, capNetAdmin, capSysPtrace, capSysAdmin = 8, 10, 12, 19, 21
)

// What gVisor leaves in the bounding set of a sentry that opens files itself, and
// of one in the host's network besides.
const (
	sentryBound = 1<<capChown | 1<<capDACOverride | 1<<capDACReadSearch | 1<<capFowner | 1<<capFsetid | 1<<capSysPtrace
	hostBound   = sentryBound | 1<<capNetBindService | 1<<capNetAdmin
)

// capabilities are the kernel's, as its version 3 has them.
type capabilities [2]struct{ effective, permitted, inheritable uint32 }

// bound drops from a sentry's bounding set what gVisor is about to drop: with
// one thread that is a system call for each capability, later all threads are
// stopped for each. That gVisor has nothing left to drop it takes from the right
// to drop being gone. The helper that unmounts /proc is to have the right to do
// that none the less, for which the kernel has the inheritable set; gVisor clears
// it with all other sets. Where anything fails gVisor does it all.
//
//go:nosplit
func bound(argc uintptr, argv unsafe.Pointer) {
	if !is(argument(argv, 0), "runsc-sandbox", false) {
		return
	}
	keep, apply := uint64(sentryBound), false
	for i := uintptr(1); i < argc; i++ {
		switch a := argument(argv, i); {
		case is(a, "--network=host", false):
			keep = hostBound
		case is(a, "--apply-caps=true", false):
			apply = true
		}
	}
	header := struct {
		version uint32
		pid     int32
	}{version: 0x20080522}
	var caps capabilities
	h, c := uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&caps))
	if !apply || failed(call(sysCapget, h, c, 0, 0, 0, 0)) || caps[0].effective&(1<<capSetpcap) == 0 {
		return
	}
	keep &= uint64(caps[0].permitted)
	caps[0].inheritable |= caps[0].permitted & (1 << capSysAdmin)
	if failed(call(sysCapset, h, c, 0, 0, 0, 0)) {
		return
	}
	const read, drop = 23, 24
	for n := uintptr(0); !failed(call(sysPrctl, read, n, 0, 0, 0, 0)); n++ {
		if keep&(1<<n) == 0 && failed(call(sysPrctl, drop, n, 0, 0, 0, 0)) {
			return
		}
	}
	caps[0].effective &^= 1 << capSetpcap
	call(sysCapset, h, c, 0, 0, 0, 0)
}
