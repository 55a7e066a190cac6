package entry

import "unsafe"

// unmount is the helper by which a sentry has its /proc unmounted when it has
// given up the right to do that itself. It does what gVisor's command of that
// name does in a process that has initialised all of gVisor. It does not return
// where the command line is that helper's; any other is left to gVisor's.
//
//go:nosplit
func unmount(argc uintptr, argv unsafe.Pointer) {
	const syncFD, detach = 3, 2
	if argc != 4 || !is(argument(argv, 0), "/proc/self/exe", false) ||
		!is(argument(argv, 1), "umount", false) || !is(argument(argv, 2), "--sync-fd=3", false) {
		return
	}
	var status uintptr
	var b byte
	if call(sysRead, syncFD, uintptr(unsafe.Pointer(&b)), 1, 0, 0, 0) != 1 ||
		failed(call(sysUmount2, uintptr(unsafe.Pointer(argument(argv, 3))), detach, 0, 0, 0, 0)) {
		status = 1
	}
	call(sysExitGroup, status, 0, 0, 0, 0, 0)
}
