package entry

import "unsafe"

// What is in this file runs before Go does: without goroutines, heap, stack to
// grow or anything that was initialised. It may call nothing but itself.

// commands are those that the client alone can do, and that scripts, or shells, call often.
var commands = [...]string{"exec", "get", "logs", "events", "wait", "kill", "ps", "stats", "__complete", "__completeNoDesc"}

// Begin is called by the entry point alone, with what the kernel has left at sp.
// It is all there is of the helper that unmounts a sentry's /proc, bounds a
// sentry's capabilities, and maps the client that follows the program in its file, if the command line asks for a
// command of the client's. It returns where the client begins; 0: the whole
// program is to go on.
//
//go:nosplit
func Begin(sp *uintptr) uintptr {
	argv := unsafe.Add(unsafe.Pointer(sp), unsafe.Sizeof(*sp))
	unmount(*sp, argv)
	bound(*sp, argv)
	if !wanted(*sp, argv) {
		return 0
	}
	const readOnly, closeOnExec, atCWD = 0, 0x80000, -100
	at := atCWD
	fd := call(sysOpenat, uintptr(at), uintptr(unsafe.Pointer(unsafe.StringData("/proc/self/exe\x00"))), readOnly|closeOnExec, 0, 0, 0)
	if failed(fd) {
		return 0
	}
	entry := mapped(fd)
	call(sysClose, fd, 0, 0, 0, 0, 0)
	return entry
}

// wanted reports whether the first argument that is no flag is a command of the
// client's. Processes that the daemon starts have names of their own.
//
//go:nosplit
func wanted(argc uintptr, argv unsafe.Pointer) bool {
	i := uintptr(1)
	for ; i < argc; i++ {
		switch a := argument(argv, i); {
		case is(a, "--socket", false):
			i++
			continue
		case is(a, "--socket=", true):
			continue
		}
		break
	}
	if i >= argc || is(argument(argv, 0), "sandboxer-", true) || is(argument(argv, 0), "runsc-", true) {
		return false
	}
	for n := range commands {
		if is(argument(argv, i), commands[n], false) {
			return true
		}
	}
	return false
}

//go:nosplit
func argument(argv unsafe.Pointer, i uintptr) *byte {
	return *(**byte)(unsafe.Add(argv, i*unsafe.Sizeof(i)))
}

// is compares a C string, or only its beginning, with s.
//
//go:nosplit
func is(p *byte, s string, beginning bool) bool {
	for i := range len(s) {
		if *(*byte)(unsafe.Add(unsafe.Pointer(p), i)) != s[i] {
			return false
		}
	}
	return beginning || *(*byte)(unsafe.Add(unsafe.Pointer(p), len(s))) == 0
}

// mapped maps the client of a file and returns where it begins; 0: there is
// none, or it can't be mapped.
//
//go:nosplit
func mapped(fd uintptr) uintptr {
	var t Trailer
	const fromEnd = 2
	size := unsafe.Sizeof(t)
	if failed(call(sysLseek, fd, -size, fromEnd, 0, 0, 0)) || call(sysRead, fd, uintptr(unsafe.Pointer(&t)), size, 0, 0, 0) != size {
		return 0
	}
	if t.Magic != Magic {
		return 0
	}
	const write, private, fixed, anonymous, noReplace = 2, 0x2, 0x10, 0x20, 0x100000
	for i := range t.Segments {
		s := &t.Segments[i]
		if s.Memory == 0 {
			continue
		}
		at := uintptr(s.Address)
		if failed(call(sysMmap, at, uintptr(s.Memory), uintptr(s.Protection), private|anonymous|noReplace, ^uintptr(0), 0)) ||
			failed(call(sysMmap, at, uintptr(s.File), uintptr(s.Protection), private|fixed, fd, uintptr(s.Offset))) {
			return 0
		}
		if s.Protection&write == 0 {
			continue
		}
		// The rest of the last page is of what follows in the file.
		end := at + uintptr(min(s.Memory, (s.File+pageMost-1)&^(pageMost-1)))
		for p := at + uintptr(s.File); p < end; p++ {
			*(*byte)(unsafe.Add(unsafe.Pointer(nil), p)) = 0
		}
	}
	return uintptr(t.Entry)
}

//go:nosplit
func failed(result uintptr) bool { return result > ^uintptr(4095) }

// call makes a system call; a result of the last 4095 numbers is an error.
func call(nr, a, b, c, d, e, f uintptr) uintptr
