// Command inside tells what of Linux a sandbox has: it tries one thing after the
// other and writes a line for each, its name, a tab, and "works" or what came
// instead. It needs nothing of the root file system that it is put into.
//
//	inside VOLUME    a directory in which it may do as it likes
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// trial is one thing that an application might want of Linux.
type trial struct {
	name string
	try  func() error
}

func main() {
	runtime.LockOSThread() // what some trials change is a thread's own
	if len(os.Args) > 2 {
		child(os.Args[1], os.Args[2])
		return
	}
	if len(os.Args) != 2 || os.Chdir(os.Args[1]) != nil {
		os.Exit(2)
	}
	for _, t := range slices.Concat(processTrials(), fileTrials(), mountTrials(), memoryTrials(), socketTrials(), machineTrials()) {
		fmt.Printf("%s\t%s\n", t.name, outcome(t.try()))
	}
	fmt.Println("done")
}

// outcome is the name of an error as manual pages have it.
func outcome(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "works"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// first is the first that goes wrong of what is done in a row.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// raw makes a system call of which only the error is of interest.
func raw(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// fdOf closes a descriptor that a system call gave, and passes on its error.
func fdOf(fd int, err error) error {
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}
