package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// bombCommands take all that they can get.
func bombCommands() []command {
	return []command{
		{"forks", "NUMBER [keep]", "start children that only wait, as many as may be, say how many, and end them unless they are to be kept", 1, forks},
		{"files", "DIR NUMBER", "make so many empty files in DIR, or until that fails; say how many and why", 2, files},
		{"links", "FILE NUMBER", "make so many hard links to FILE beside it, or until that fails; say how many and why", 2, links},
		{"free", "DIR", "say how many bytes are free in the file system of DIR", 1, free},
		{"make-room", "FILE MIB", "give FILE so much room at once", 2, makeRoom},
		{"touch-map", "FILE MIB", "make FILE so long, with nothing in it, and write to all of it where it is mapped", 2, touchMap},
		{"keep-open", "FILE", "open FILE and keep it", 1, keepOpen},
		{"keep-all-open", "DIR", "open all files in DIR, or until that fails; say how many and why, and keep them", 1, keepAllOpen},
		{"pieces", "NUMBER", "map so many pages that are no one mapping, and touch each, or until that fails; say how many and why", 1, pieces},
		{"threads", "NUMBER", "start so many threads that wait; Go ends the program where there may be no more", 1, threads},
	}
}

// forks copies this process. The copies know nothing of Go, and call nothing of
// it.
func forks(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var children []int
	end := func() {
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
	if len(args) == 1 {
		defer end()
	}
	for i := range n {
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			say("forked", strconv.Itoa(i), errno.Error())
			return nil
		}
		for pid == 0 {
			_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
		children = append(children, int(pid))
	}
	say("forked", args[0], "all")
	return nil
}

func threads(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			all.Done()
			select {}
		}()
	}
	all.Wait()
	say("threads", args[0], "all")
	return nil
}

// many does something so often, or until it fails.
func many(number, what string, do func(i int) error) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	for i := range n {
		if err := do(i); err != nil {
			say(what, strconv.Itoa(i), reason(err))
			return nil
		}
	}
	say(what, number, "all")
	return nil
}

func files(args []string) error {
	return many(args[1], "files", func(i int) error {
		f, err := os.OpenFile(filepath.Join(args[0], strconv.Itoa(i)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			err = f.Close()
		}
		return err
	})
}

func links(args []string) error {
	return many(args[1], "links", func(i int) error {
		return syscall.Link(args[0], args[0]+"."+strconv.Itoa(i))
	})
}

func keepOpen(args []string) error {
	_, err := syscall.Open(args[0], syscall.O_RDONLY, 0)
	return err
}

func keepAllOpen(args []string) error {
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	return many(strconv.Itoa(len(entries)), "held", func(i int) error {
		_, err := syscall.Open(filepath.Join(args[0], entries[i].Name()), syscall.O_RDONLY, 0)
		return err
	})
}

// sized makes a file and says its size, in bytes.
func sized(args []string) (*os.File, int64, error) {
	mib, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(args[0], os.O_CREATE|os.O_RDWR, 0o644)
	return f, mib << 20, err
}

func free(args []string) error {
	var s syscall.Statfs_t
	err := syscall.Statfs(args[0], &s)
	say("free", strconv.FormatUint(s.Bavail*uint64(s.Bsize), 10))
	return err
}

func makeRoom(args []string) error {
	f, size, err := sized(args)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		say("not allocated:", reason(err))
		return nil
	}
	say("allocated")
	return nil
}

func touchMap(args []string) error {
	f, size, err := sized(args)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	say("touched")
	return nil
}

func pieces(args []string) error {
	return many(args[0], "pieces", func(i int) error {
		b, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return err
		}
		b[0] = 1
		return syscall.Mprotect(b[4096:], syscall.PROT_NONE)
	})
}
