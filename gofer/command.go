package gofer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// command is a gofer's process with its isolation: namespaces of its own,
// users mapped to themselves, an empty environment, its own session.
func command(c Config, pidfd *int) (*exec.Cmd, error) {
	uids, err := identityMapping("/proc/self/uid_map")
	if err != nil {
		return nil, err
	}
	gids, err := identityMapping("/proc/self/gid_map")
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: c.Exe,
		Args: []string{Arg0, c.ID},
		Env:  []string{},
		Dir:  "/",
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true,
			Cloneflags: unix.CLONE_NEWIPC | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
				unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWUSER,
			UidMappings:                uids,
			GidMappings:                gids,
			GidMappingsEnableSetgroups: true,
			Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
			PidFD:                      pidfd,
		},
	}, nil
}

// identityMapping maps every ID that this process's user namespace has to
// itself, so that files keep their owners while capabilities end at the
// gofer's namespace.
func identityMapping(path string) ([]syscall.SysProcIDMap, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var maps []syscall.SysProcIDMap
	for line := range strings.Lines(string(b)) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		maps = append(maps, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return maps, nil
}
