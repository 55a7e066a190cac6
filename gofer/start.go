package gofer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
	// Their descriptors are filled in by Start and Replace.
	Mounts []serve.Mount
	// CgroupProcs are the open cgroup.procs files of the sandbox's cgroup, one
	// per hierarchy (cgroup v1), which the gofer writes itself into first
	// thing. They are not closed.
	CgroupProcs []*os.File
	// CgroupDir is the directory of the sandbox's cgroup (v2) that the gofer
	// is cloned into; nil for v1.
	CgroupDir *os.File
}

// Gofer is a gofer that serves.
type Gofer struct {
	Process observed.Process
	// Sockets are the sentry's ends, one per mount in their order; empty in a
	// replacement. They are to be closed once the sentry has duplicates of its
	// own, so that its going shows.
	Sockets []*os.File
	// Kept is what a replacement takes over.
	Kept Kept
}

// Kept are the descriptors that outlive a gofer, one of each per mount in
// their order.
type Kept struct {
	// Sockets are duplicates of the gofer's own ends. While they are open the
	// sentry sees no hang-up, whatever becomes of the gofer, and what it asks
	// waits in the socket.
	Sockets []*os.File
	// Journals tell a replacement what the sentry holds numbers of.
	Journals []*os.File
	// Generation counts the gofers before this one.
	Generation int
}

// Close lets go of them.
func (k Kept) Close() {
	closeFiles(k.Sockets)
	closeFiles(k.Journals)
}

// Close lets go of all descriptors.
func (g *Gofer) Close() {
	closeFiles(g.Sockets)
	g.Kept.Close()
}

// Start starts a gofer and returns when it serves. The process is a child of
// the caller, to be reaped by whoever reaps the caller's children. An error
// says what the gofer said; nothing is left behind then. When ctx ends first
// the gofer is killed.
func Start(ctx context.Context, c Config) (_ *Gofer, err error) {
	g := &Gofer{}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	for range c.Mounts {
		sentry, end, err := serve.SocketPair()
		if err != nil {
			return nil, err
		}
		g.Sockets = append(g.Sockets, sentry)
		g.Kept.Sockets = append(g.Kept.Sockets, end)
		journal, err := memfd.Shared("gofer journal")
		if err != nil {
			return nil, err
		}
		g.Kept.Journals = append(g.Kept.Journals, journal)
	}
	g.Process, err = run(ctx, c, g.Kept)
	return g, err
}

// run starts a gofer on what is kept, which stays the caller's.
func run(ctx context.Context, c Config, kept Kept) (observed.Process, error) {
	wire := serve.Config{Mounts: c.Mounts, Generation: kept.Generation}
	donated := donate(&wire, c.CgroupProcs, kept)
	b, err := json.Marshal(wire)
	if err != nil {
		return observed.Process{}, err
	}
	config, err := memfd.Data("gofer config", b)
	if err != nil {
		return observed.Process{}, err
	}
	defer config.Close()
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return observed.Process{}, err
	}
	defer status.Close()
	defer statusEnd.Close()

	pidfd := -1
	cmd, err := command(c, &pidfd)
	if err != nil {
		return observed.Process{}, err
	}
	cmd.ExtraFiles = append([]*os.File{config, statusEnd}, donated...)
	if err := cmd.Start(); err != nil {
		return observed.Process{}, fmt.Errorf("starting the gofer of %s: %w", c.ID, err)
	}
	defer unix.Close(pidfd)
	pid := cmd.Process.Pid
	// Whoever reaps the daemon's children reaps this one too.
	_ = cmd.Process.Release()
	statusEnd.Close()

	err = waitReady(ctx, status)
	var p observed.Process
	if err == nil {
		p, err = observed.Identify(pid)
	}
	if err != nil {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		return observed.Process{}, fmt.Errorf("the gofer of %s: %w", c.ID, err)
	}
	return p, nil
}

// firstFD is the number of the first descriptor beyond a gofer's configuration
// and status.
const firstFD = serve.StatusFD + 1

// socketFD is the number of a mount's socket in a gofer, whichever cgroup files
// it is given too; its journal follows.
func socketFD(mount int) int { return firstFD + 2*mount }

// donate numbers what a gofer is given beyond its configuration and status: a
// socket and a journal for each mount, then cgroup.procs files.
func donate(wire *serve.Config, cgroupProcs []*os.File, kept Kept) []*os.File {
	wire.Mounts = kept.Number(wire.Mounts)
	var donated []*os.File
	for i := range wire.Mounts {
		donated = append(donated, kept.Sockets[i], kept.Journals[i])
	}
	for i := range cgroupProcs {
		wire.CgroupFDs = append(wire.CgroupFDs, socketFD(len(wire.Mounts))+i)
	}
	return append(donated, cgroupProcs...)
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
	case strings.HasSuffix(string(said), serve.ErrOtherObject.Error()):
		return fmt.Errorf("%w: %s", ErrLost, said)
	case len(said) == 0:
		return errors.New("ended without a word before it served")
	}
	return errors.New(string(said))
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
