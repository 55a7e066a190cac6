package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// heapCommands have the kernel remember things, rather than take memory of their own.
func heapCommands() []command {
	return []command{
		{"xattrs", "FILE NUMBER", "give FILE so many attributes of 32 KiB, or until that fails; say how many and why", 2, xattrs},
		{"pipes", "NUMBER", "make so many pipes of a MiB and fill them, or until that fails; say how many and why, and keep them", 1, pipes},
		{"epolls", "NUMBER", "wait for 1000 files in so many places, or until that fails; say how many and why, and keep them", 1, epolls},
		{"watches", "DIR NUMBER", "watch 1000 files in DIR from so many places, or until that fails; say how many and why, and keep them", 2, watches},
	}
}

func xattrs(args []string) error {
	if err := os.WriteFile(args[0], nil, 0o644); err != nil {
		return err
	}
	value := bytes.Repeat([]byte("x"), 32<<10)
	return many(args[1], "xattrs", func(i int) error {
		return syscall.Setxattr(args[0], "user."+strconv.Itoa(i), value, 0)
	})
}

func pipes(args []string) error {
	const setSize, size = 1031, 1 << 20 // F_SETPIPE_SZ
	chunk := make([]byte, size)
	return many(args[0], "pipes", func(int) error {
		var p [2]int
		if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK); err != nil {
			return err
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(p[1]), setSize, size); errno != 0 {
			return errno
		}
		_, err := syscall.Write(p[1], chunk)
		return err
	})
}

// heldEach is how many files are waited for, or watched, in each place.
const heldEach = 1000

func epolls(args []string) error {
	var fds []int
	for range heldEach {
		fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		fds = append(fds, int(fd))
	}
	return many(args[0], "epolls", func(int) error {
		at, err := syscall.EpollCreate1(0)
		for i := 0; i < len(fds) && err == nil; i++ {
			err = syscall.EpollCtl(at, syscall.EPOLL_CTL_ADD, fds[i], &syscall.EpollEvent{Events: syscall.EPOLLIN})
		}
		return err
	})
}

func watches(args []string) error {
	var files []string
	for i := range heldEach {
		files = append(files, filepath.Join(args[0], "watched-"+strconv.Itoa(i)))
		if err := os.WriteFile(files[i], nil, 0o644); err != nil {
			return err
		}
	}
	return many(args[1], "watches", func(int) error {
		at, err := syscall.InotifyInit1(0)
		for i := 0; i < len(files) && err == nil; i++ {
			_, err = syscall.InotifyAddWatch(at, files[i], syscall.IN_MODIFY)
		}
		return err
	})
}
