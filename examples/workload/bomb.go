package main

import (
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// bombCommands take all that they can get.
func bombCommands() []command {
	return []command{
		{"forks", "NUMBER [keep]", "start children that only wait, as many as may be, say how many, and end them unless they are to be kept", 1, forks},
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
