package main

import (
	"fmt"
	"strings"
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
	}
}

func lock(args []string) error {
	fd, err := syscall.Open(args[1], syscall.O_RDWR|syscall.O_CREAT, 0o666)
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
	n, err := syscall.Read(fd, b)
	if err != nil || n < syscall.SizeofInotifyEvent {
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
	say("feeling", args[0])
	for first := b[0]; b[0] == first; {
		time.Sleep(time.Millisecond)
	}
	say("felt", args[0])
	return nil
}
