package desired

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals that a program may use; the C library keeps 32 and 33.
const (
	rtMin = 34
	rtMax = 64
)

// SignalNumber returns the number of a signal that is written as "SIGTERM",
// "TERM" or "15", in any case; real-time signals also as "SIGRTMIN+3" and
// "SIGRTMAX-1". Anything else is an error.
func SignalNumber(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n >= rtMin && n <= rtMax || n > 0 && unix.SignalName(syscall.Signal(n)) != "" {
			return syscall.Signal(n), nil
		}
		return 0, fmt.Errorf("%d is no signal's number", n)
	}
	upper := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if n := unix.SignalNum(upper); n != 0 {
		return n, nil
	}
	for prefix, base := range map[string]int{"SIGRTMIN": rtMin, "SIGRTMAX": rtMax} {
		offset, ok := strings.CutPrefix(upper, prefix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi("0" + strings.TrimLeft(offset, "+-"))
		switch {
		case offset == "":
			return syscall.Signal(base), nil
		case err == nil && base == rtMin && offset[0] == '+' && base+n <= rtMax:
			return syscall.Signal(base + n), nil
		case err == nil && base == rtMax && offset[0] == '-' && base-n >= rtMin:
			return syscall.Signal(base - n), nil
		}
	}
	return 0, fmt.Errorf("%q is no signal's name", clip(name))
}

// canonicalSignal returns the one name that a signal is kept under, such as
// "SIGTERM" or "SIGRTMIN+3".
func canonicalSignal(name string) (string, bool) {
	n, err := SignalNumber(name)
	switch {
	case err != nil:
		return "", false
	case n == rtMin:
		return "SIGRTMIN", true
	case n > rtMin:
		return fmt.Sprintf("SIGRTMIN+%d", int(n)-rtMin), true
	}
	return unix.SignalName(n), true
}
