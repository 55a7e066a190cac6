package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func rightsCommands() []command {
	return []command{
		{"rights", "[FILE]", "say in one line, or write to FILE, what this process may do", 0, rights},
	}
}

// rights are what a process has of whoever started it.
func rights(args []string) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &files); err != nil {
		return err
	}
	line := fmt.Sprintf("rights umask=%04o core=%d/%d", mask, files.Cur, files.Max)
	for l := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(l, ":")
		switch name {
		case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp":
			line += fmt.Sprintf(" %s=%s", name, strings.Join(strings.Fields(value), ","))
		}
	}
	if len(args) > 0 {
		return os.WriteFile(args[0], []byte(line+"\n"), 0o666)
	}
	say(line)
	return nil
}
