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
	if n, ok := realTime(upper, "SIGRTMIN", '+', rtMin, 1); ok {
		return n, nil
	}
	if n, ok := realTime(upper, "SIGRTMAX", '-', rtMax, -1); ok {
		return n, nil
	}
	return 0, fmt.Errorf("%q is no signal's name", clip(name))
}

// realTime reads base, or base with a sign and an offset in one direction.
func realTime(name, base string, sign byte, start, direction int) (syscall.Signal, bool) {
	offset, ok := strings.CutPrefix(name, base)
	if !ok || offset == "" {
		return syscall.Signal(start), ok
	}
	n, err := strconv.ParseUint(offset[1:], 10, 8)
	at := start + direction*int(n)
	return syscall.Signal(at), err == nil && offset[0] == sign && at >= rtMin && at <= rtMax
}

// SignalName is the one name of a signal, such as "SIGTERM" or "SIGRTMIN+3"; of a
// number that is no signal's, "signal N".
func SignalName[N ~int](n N) string {
	if name, ok := canonicalSignal(strconv.Itoa(int(n))); ok {
		return name
	}
	return fmt.Sprintf("signal %d", int(n))
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
