package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func hostCommands() []command {
	return []command{
		{"env", "", "write the environment, sorted as given", 0, env},
		{"id", "", "say user, group and supplementary groups", 0, id},
		{"hostname", "", "say the host name", 0, hostname},
		{"pwd", "", "say the working directory", 0, pwd},
		{"nproc", "", "say how many CPUs there are", 0, nproc},
		{"memory", "", "say how much memory there is, in bytes", 0, memory},
		{"allocate", "MIB [MIB-A-SECOND]", "take memory and touch all of it, at once or at a pace", 1, allocate},
		{"spawn", "NUMBER", "start children that sleep", 1, spawn},
		{"leave", "", "start a child that sleeps and has all files that this has", 0, leave},
		{"witness", "FILE…", "count in memory, files, a child and a connection until one loses count", 1, witness},
		{"sum", "", "answer each number on stdin with the sum of all", 0, sum},
		{"connect", "PORT", "say whether 127.0.0.1:PORT takes a connection", 1, connect},
		{"interfaces", "", "say the names of the network interfaces", 0, interfaces},
	}
}

func env([]string) error {
	for _, v := range os.Environ() {
		say("env", v)
	}
	return nil
}

func id([]string) error {
	groups, err := os.Getgroups()
	text := "uid " + strconv.Itoa(os.Getuid()) + " gid " + strconv.Itoa(os.Getgid()) + " groups"
	for _, g := range groups {
		text += " " + strconv.Itoa(g)
	}
	say(text)
	return err
}

func hostname([]string) error {
	name, err := os.Hostname()
	say("hostname", name)
	return err
}

func pwd([]string) error {
	dir, err := os.Getwd()
	say("pwd", dir)
	return err
}

func nproc([]string) error {
	say("nproc", strconv.Itoa(runtime.NumCPU()))
	return nil
}

func memory([]string) error {
	var info syscall.Sysinfo_t
	err := syscall.Sysinfo(&info)
	say("memory", strconv.FormatUint(info.Totalram*uint64(info.Unit), 10))
	return err
}

func allocate(args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	// Mapped, so that the garbage collector neither moves nor frees it.
	b, err := syscall.Mmap(-1, 0, mib<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	var pause time.Duration
	if len(args) > 1 {
		pace, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		pause = time.Second / time.Duration(pace)
	}
	for i := 0; i < len(b); i += 4096 {
		if i%(1<<20) == 0 {
			time.Sleep(pause)
		}
		b[i] = 1
	}
	say("allocated", args[0], "MiB")
	return nil
}

func spawn(args []string) error {
	n, err := strconv.Atoi(args[0])
	for range n {
		if err := exec.Command("/proc/self/exe", "sleep").Start(); err != nil {
			return err
		}
	}
	say("spawned", args[0])
	return err
}

func leave([]string) error {
	child := exec.Command("/proc/self/exe", "sleep")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	return child.Start()
}

// connect speaks to the kernel itself: package net would double the program.
func connect(args []string) error {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		say("refused:", err.Error())
		return nil
	}
	say("connected")
	return nil
}

func interfaces([]string) error {
	b, err := os.ReadFile("/proc/net/dev")
	var names []string
	for line := range strings.Lines(string(b)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	say("interfaces", strings.Join(names, " "))
	return err
}
