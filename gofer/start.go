package gofer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/internal/memfd"
	"sandboxer/observed"
)

// Arg0 is the name under which a gofer shows in ps, and by which the program
// knows that it is to be one.
const Arg0 = "sandboxer-gofer"

// Config says what a gofer is to serve and where it is to run.
type Config struct {
	// Exe is the program to execute; required.
	Exe string
	// ID is the container's, shown in the gofer's command line; required.
	ID string
	// Mounts are served in this order, the root file system first; required.
	// SocketFD is filled in by Start.
	Mounts []serve.Mount
	// CgroupProcs are the open cgroup.procs files of the sandbox's cgroup, one
	// per hierarchy (cgroup v1), which the gofer writes itself into first
	// thing. Start does not close them.
	CgroupProcs []*os.File
	// CgroupDir is the directory of the sandbox's cgroup (v2) that the gofer
	// is cloned into; nil for v1.
	CgroupDir *os.File
}

// Gofer is a gofer that serves.
type Gofer struct {
	Process observed.Process
	// Sockets are the sentry's ends, one per mount in their order. They are to
	// be closed once the sentry has duplicates of its own, so that its going
	// shows.
	Sockets []*os.File
	// Kept are duplicates of the gofer's own ends, in the same order. While
	// they are open the sentry sees no hang-up, whatever becomes of the gofer,
	// and what it asks waits in the socket.
	Kept []*os.File
}

// Close lets go of all sockets.
func (g *Gofer) Close() {
	closeFiles(g.Sockets)
	closeFiles(g.Kept)
}

// Start starts a gofer and returns when it serves. The process is a child of
// the caller, to be reaped by whoever reaps the caller's children. An error
// says what the gofer said; nothing is left behind then. When ctx ends first
// the gofer is killed.
func Start(ctx context.Context, c Config) (_ *Gofer, err error) {
	g := &Gofer{}
	var donated []*os.File // to the child alone
	defer func() {
		for _, f := range donated {
			f.Close()
		}
		if err != nil {
			g.Close()
		}
	}()

	wire := serve.Config{Mounts: append([]serve.Mount(nil), c.Mounts...)}
	next := serve.StatusFD + 1
	for range c.CgroupProcs {
		wire.CgroupFDs = append(wire.CgroupFDs, next)
		next++
	}
	for i := range wire.Mounts {
		sentry, end, err := serve.SocketPair()
		if err != nil {
			return nil, err
		}
		g.Sockets = append(g.Sockets, sentry)
		g.Kept = append(g.Kept, end)
		wire.Mounts[i].SocketFD = next
		next++
	}
	wireJSON, err := json.Marshal(wire)
	if err != nil {
		return nil, err
	}
	config, err := memfd.Data("gofer config", wireJSON)
	if err != nil {
		return nil, err
	}
	donated = append(donated, config)
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer status.Close()
	donated = append(donated, statusEnd)

	pidfd := -1
	cmd, err := command(c, &pidfd)
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(append([]*os.File{config, statusEnd}, c.CgroupProcs...), g.Kept...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the gofer of %s: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	pid := cmd.Process.Pid
	// Whoever reaps the daemon's children reaps this one too.
	_ = cmd.Process.Release()
	closeFiles(donated)
	donated = nil

	if err := waitReady(ctx, status); err != nil {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		return nil, fmt.Errorf("the gofer of %s: %w", c.ID, err)
	}
	g.Process, err = observed.Identify(pid)
	if err != nil {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		return nil, fmt.Errorf("identifying the gofer of %s: %w", c.ID, err)
	}
	return g, nil
}

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
	cmd := &exec.Cmd{
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
	}
	if c.CgroupDir != nil {
		cmd.SysProcAttr.UseCgroupFD = true
		cmd.SysProcAttr.CgroupFD = int(c.CgroupDir.Fd())
	}
	return cmd, nil
}

// waitReady reads the gofer's status to its end.
func waitReady(ctx context.Context, status *os.File) error {
	stop := context.AfterFunc(ctx, func() { status.Close() })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(status, 4096))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case string(said) == serve.Ready:
		return nil
	case len(said) == 0:
		return errors.New("ended without a word before it served")
	}
	return errors.New(string(said))
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
		if _, err := fmt.Fscan(bytes.NewBufferString(line), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		maps = append(maps, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return maps, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
