package gofer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/memfd"
	"sandboxer/observed"
)

// Arg0 is the name under which a gofer shows in ps, and by which the program
// knows that it is to be one.
const Arg0 = "sandboxer-gofer"

// journalName is what journals show as in /proc.
const journalName = "gofer journal"

// Config says what a gofer is to serve and where it is to run.
type Config struct {
	// Exe is the program to execute; required.
	Exe string
	// ID is the container's, shown in the gofer's command line; required.
	ID string
	// Mounts are served in this order, the root file system first; required.
	// Their descriptors are filled in by Start and Replace.
	Mounts []serve.Mount
	// Root is the directory in which mount i is called by its number; required.
	// It stays the caller's.
	Root *os.File
	// Cgroup is the sandbox's, which the process begins in; required.
	Cgroup *cgroup.Cgroup
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

	starting *starting // until it serves
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
	if g.starting != nil {
		g.starting.close()
	}
}

// Open makes what a gofer of so many mounts needs that outlives it. It does not
// run yet, and is to be closed.
func Open(mounts int) (_ *Gofer, err error) {
	g := &Gofer{}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	for range mounts {
		sentry, end, err := serve.SocketPair()
		if err != nil {
			return nil, err
		}
		g.Sockets = append(g.Sockets, sentry)
		g.Kept.Sockets = append(g.Kept.Sockets, end)
		journal, err := memfd.Shared(journalName)
		if err != nil {
			return nil, err
		}
		g.Kept.Journals = append(g.Kept.Journals, journal)
	}
	return g, nil
}

// Start starts the gofer, and Ready tells when it serves: what it is asked
// meanwhile waits in its sockets. The process is a child of the caller, to be
// reaped by whoever reaps the caller's children. Close ends one that does not
// serve yet.
func (g *Gofer) Start(c Config) error {
	s, err := launch(c, g.Kept, nil)
	if err != nil {
		return err
	}
	g.Process, g.starting = s.process, s
	return nil
}

// Ready returns when the gofer serves. An error says what it said; no process is
// left behind then. When ctx ends first the gofer is killed.
func (g *Gofer) Ready(ctx context.Context) error {
	defer g.starting.close()
	return g.starting.ready(ctx)
}

// starting is a gofer that has not said yet that it serves.
type starting struct {
	id      string
	process observed.Process
	status  *os.File
	// served: it is not to be killed by close any more.
	served bool
}

// launch starts a gofer on what is kept, which stays the caller's. One that is
// given takeOver waits there for what it is told.
func launch(c Config, kept Kept, takeOver *os.File) (*starting, error) {
	donated := append(kept.files(), c.Root)
	wire := serve.Config{Mounts: kept.Number(c.Mounts), RootFD: firstFD + len(donated) - 1}
	if takeOver != nil {
		wire.TakeOverFD = firstFD + len(donated)
		donated = append(donated, takeOver)
	}
	b, err := json.Marshal(wire)
	if err != nil {
		return nil, err
	}
	config, err := memfd.Data("gofer config", b)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusEnd.Close()
	pidfd := -1
	cmd, err := command(c, &pidfd)
	if err == nil {
		cmd.ExtraFiles = append([]*os.File{config, statusEnd}, donated...)
		var p observed.Process
		// One that has ended already has left word why.
		if p, err = spawn(cmd, c, &pidfd); err == nil || errors.Is(err, observed.ErrGone) {
			return &starting{id: c.ID, process: p, status: status}, nil
		}
	}
	status.Close()
	return nil, fmt.Errorf("starting the gofer of %s: %w", c.ID, err)
}

// spawn starts a process in the sandbox's cgroup.
func spawn(cmd *exec.Cmd, c Config, pidfd *int) (observed.Process, error) {
	if err := c.Cgroup.Start(cmd, (*exec.Cmd).Start); err != nil {
		return observed.Process{}, err
	}
	defer unix.Close(*pidfd)
	pid := cmd.Process.Pid
	// Whoever reaps the daemon's children reaps this one too.
	_ = cmd.Process.Release()
	p, err := observed.Identify(pid)
	if err != nil {
		_ = unix.PidfdSendSignal(*pidfd, unix.SIGKILL, nil, 0)
	}
	return p, err
}

// ready reads what the gofer says to its end; nil: it serves.
func (s *starting) ready(ctx context.Context) error {
	said, err := s.read(ctx, func() (string, error) {
		b, err := io.ReadAll(io.LimitReader(s.status, 4096))
		return string(b), err
	})
	if err != nil {
		return err
	}
	if err := s.expect(said, serve.Ready); err != nil {
		return err
	}
	s.served = true
	return nil
}

// read has said read from the status, until ctx ends.
func (s *starting) read(ctx context.Context, said func() (string, error)) (string, error) {
	stop := context.AfterFunc(ctx, func() { s.status.Close() })
	defer stop()
	text, err := said()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("the gofer of %s: %w", s.id, err)
	}
	return text, err
}

// expect makes an error of anything else than what a gofer is to say. One that
// had ended before it could be identified is gone whatever it said.
func (s *starting) expect(said, want string) error {
	switch {
	case said == want && s.process.PID != 0:
		return nil
	case said == want, said == "":
		return fmt.Errorf("the gofer of %s ended without a word before it served", s.id)
	case strings.HasSuffix(said, serve.ErrOtherObject.Error()):
		return fmt.Errorf("%w: the gofer of %s: %s", ErrLost, s.id, said)
	}
	return fmt.Errorf("the gofer of %s: %s", s.id, said)
}

// close lets go of the gofer, and ends it where it does not serve.
func (s *starting) close() {
	s.status.Close()
	if !s.served {
		_ = s.process.Signal(unix.SIGKILL) // gone already, else it has to obey
	}
}

// firstFD is the number of the first descriptor beyond a gofer's configuration
// and status.
const firstFD = serve.StatusFD + 1

// files are the descriptors as a gofer, and a keeper, is given them, from
// firstFD on.
func (k Kept) files() []*os.File {
	var files []*os.File
	for i := range k.Sockets {
		files = append(files, k.Sockets[i], k.Journals[i])
	}
	return files
}

// Number returns mounts with the numbers that a gofer has for what is kept.
func (k Kept) Number(mounts []serve.Mount) []serve.Mount {
	mounts = slices.Clone(mounts)
	for i := range mounts {
		mounts[i].SocketFD = firstFD + 2*i
		mounts[i].JournalFD = firstFD + 2*i + 1
	}
	return mounts
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
