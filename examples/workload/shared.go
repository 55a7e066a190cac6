package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func sharedCommands() []command {
	return []command{
		{"lock", "KIND FILE", "take an exclusive lock of the KIND flock or fcntl and keep it from now on, or say that it is busy", 2, lock},
		{"mkfifo", "FILE", "make a FIFO", 1, func(a []string) error { return syscall.Mkfifo(a[0], 0o666) }},
		{"notify", "DIR", "say the name of the next file that is made in DIR", 1, notify},
		{"poke", "FILE", "change the first byte of FILE where it is mapped", 1, poke},
		{"feel", "FILE", "map FILE and wait until its first byte is another", 1, feel},
		{"take", "FILE", "wait for one of what FILE counts where it is mapped, as sem_wait does", 1, take},
		{"give", "FILE", "add one to that, as sem_post does", 1, give},
		{"segment", "KEY [TEXT]", "write to the System V segment KEY, or say what is there", 1, segment},
	}
}

func lock(args []string) error {
	fd, err := syscall.Open(args[1], syscall.O_RDWR|syscall.O_CREAT, 0o666)
	if err == syscall.EROFS {
		fd, err = syscall.Open(args[1], syscall.O_RDONLY, 0)
	}
	if err != nil {
		return err
	}
	switch args[0] {
	case "flock":
		err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	case "fcntl":
		err = syscall.FcntlFlock(uintptr(fd), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	default:
		usage()
	}
	switch err {
	case nil:
		say("locked", args[1])
	case syscall.EAGAIN, syscall.EACCES:
		say("busy", args[1])
		err = nil
	}
	return err
}

func notify(args []string) error {
	fd, err := syscall.InotifyInit()
	if err != nil {
		return err
	}
	if _, err := syscall.InotifyAddWatch(fd, args[0], syscall.IN_CREATE); err != nil {
		return err
	}
	say("watching", args[0])
	b := make([]byte, 4096)
	n := 0
	if err := again(func() (err error) { n, err = syscall.Read(fd, b); return err }); err != nil || n < syscall.SizeofInotifyEvent {
		return fmt.Errorf("read %d: %w", n, err)
	}
	event := (*syscall.InotifyEvent)(unsafe.Pointer(&b[0]))
	name := b[syscall.SizeofInotifyEvent : syscall.SizeofInotifyEvent+event.Len]
	say("made", strings.TrimRight(string(name), "\x00"))
	return nil
}

// mapped maps the first page of a file.
func mapped(file string) ([]byte, error) {
	fd, err := syscall.Open(file, syscall.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return syscall.Mmap(fd, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func poke(args []string) error {
	b, err := mapped(args[0])
	if err == nil {
		b[0]++
		say("poked", args[0])
	}
	return err
}

func feel(args []string) error {
	b, err := mapped(args[0])
	if err != nil {
		return err
	}
	first := b[0]
	say("feeling", args[0])
	for b[0] == first {
		time.Sleep(time.Millisecond)
	}
	say("felt", args[0])
	return nil
}

// counter is what a POSIX semaphore is: a number in a mapped file that others
// wait for.
func counter(file string) (*atomic.Int32, error) {
	fd, err := syscall.Open(file, syscall.O_RDWR|syscall.O_CREAT, 0o666)
	if err == nil {
		err = syscall.Ftruncate(fd, 4096)
	}
	if err != nil {
		return nil, err
	}
	b, err := mapped(file)
	if err != nil {
		return nil, err
	}
	return (*atomic.Int32)(unsafe.Pointer(&b[0])), nil
}

const (
	futexWait = 0
	futexWake = 1
)

func take(args []string) error {
	n, err := counter(args[0])
	if err != nil {
		return err
	}
	say("waiting for", args[0])
	for {
		if is := n.Load(); is > 0 && n.CompareAndSwap(is, is-1) {
			say("took", args[0])
			return nil
		}
		_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(n)), futexWait, 0, 0, 0, 0)
		if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
			return errno
		}
	}
}

func give(args []string) error {
	n, err := counter(args[0])
	if err != nil {
		return err
	}
	n.Add(1)
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(n)), futexWake, 1, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	say("gave", args[0])
	return nil
}

func segment(args []string) error {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	flags := uintptr(0)
	if len(args) > 1 {
		flags = 0o1666 // IPC_CREAT
	}
	id, _, errno := syscall.Syscall(syscall.SYS_SHMGET, uintptr(key), 4096, flags)
	if errno != 0 {
		say("no segment:", errno.Error())
		return nil
	}
	at, _, errno := syscall.Syscall(syscall.SYS_SHMAT, id, 0, 0)
	if errno != 0 {
		return errno
	}
	b := unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), 4096)
	if len(args) > 1 {
		copy(b, strings.Join(args[1:], " ")+"\x00")
	}
	text, _, _ := strings.Cut(string(b), "\x00")
	say("segment", text)
	return nil
}
