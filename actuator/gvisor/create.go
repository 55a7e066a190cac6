package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/internal/cgroup"
	"sandboxer/observed"
	"sandboxer/oom"
)

// Create is what CreateSandbox needs.
type Create struct {
	ID          string
	Hostname    string
	HostNetwork bool
	// Dir is the sandbox's directory, in which the control socket is made.
	Dir string
	// MemoryBytes and CPUs are what applications are to see; 0: the host's.
	MemoryBytes int64
	CPUs        float64
	// Exe is the program to execute; required.
	Exe string
	// Image is the infra container's root, see package infra; required.
	Image *os.File
	// Cgroup is the sandbox's, in which all its processes begin; required.
	Cgroup *cgroup.Cgroup
	// Checkpoint is the directory of a checkpoint to restore, see
	// Sentry.Checkpoint; nil: the sandbox is made anew. The infra container is
	// then the only one that is back, and runs once all others are.
	Checkpoint *os.File
	// UserLog is a file that gVisor appends to what applications ask for that it
	// does not have; nil: none.
	UserLog *os.File
	// Shares name the volumes that containers of the checkpoint share, and Sockets
	// are those of the gofers that serve them.
	Shares  []string
	Sockets []*os.File
	// Serve has them served; it is called with the sentry, which may ask before
	// all is restored, where Shares names any. What it returns ends the sentry.
	Serve func(observed.Process) error
}

// Created is a sandbox whose infra container runs.
type Created struct {
	Sentry              observed.Process
	ControlSocket       string
	OriginalOOMScoreAdj int
}

// CreateSandbox starts a sentry, which becomes this process's child, and its
// infra container. It does what gVisor's sandbox.New does, which changes the
// process that calls it and would need one of its own (see
// TestSameAsGVisors). An error says what is known; the sentry is killed then, as
// it is where ctx ends first.
func CreateSandbox(ctx context.Context, c Create) (_ Created, err error) {
	conf, err := runscConfig(c.Dir, c.HostNetwork)
	if err != nil {
		return Created{}, err
	}
	p, err := c.process(conf)
	if err != nil {
		return Created{}, fmt.Errorf("starting the sentry: %w", err)
	}
	defer p.close()
	defer func() {
		if err != nil {
			_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0) // gone already, else it has to obey
		}
	}()
	made := Created{ControlSocket: p.socket}
	if made.Sentry, err = observed.Identify(p.pid); err != nil {
		return Created{}, p.died(err)
	}
	if made.OriginalOOMScoreAdj, err = unprotect(made.Sentry); err != nil {
		return Created{}, p.died(err)
	}
	// An application's memory is locked while it is made present. That is not
	// everybody's to allow, and goes without.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	_ = unix.Prlimit(p.pid, unix.RLIMIT_MEMLOCK, &unlimited, nil)
	if err := p.booted(ctx); err != nil {
		return Created{}, err
	}
	if len(c.Shares) > 0 {
		if err := c.Serve(made.Sentry); err != nil {
			return Created{}, err
		}
	}
	sentry := Sentry{Process: made.Sentry, Socket: p.socket}
	if !c.HostNetwork {
		loopback := boot.CreateLinksAndRoutesArgs{LoopbackLinks: []boot.LoopbackLink{boot.DefaultLoopbackLink}, IsRestore: c.Checkpoint != nil}
		if err := sentry.call(ctx, boot.ContMgrSetNetworkArgs, &loopback, nil, nil); err != nil {
			return Created{}, fmt.Errorf("making the loopback interface: %w", err)
		}
	}
	if c.Checkpoint != nil {
		err = sentry.restoreRoot(ctx, c.Checkpoint)
	} else {
		err = sentry.call(ctx, boot.ContMgrRootContainerStart, &c.ID, nil, nil)
	}
	if err != nil {
		return Created{}, fmt.Errorf("starting the infra container: %w", err)
	}
	return made, nil
}

// restoreRoot has the sentry read a checkpoint. All else follows when it is
// given the containers.
func (s Sentry) restoreRoot(ctx context.Context, checkpoint *os.File) error {
	var files []*os.File
	defer func() { closeAll(files) }()
	for _, name := range checkpointFiles {
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d/%s", checkpoint.Fd(), name))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return s.call(ctx, boot.ContMgrRestore, &boot.RestoreOpts{HavePagesFile: true}, files, nil)
}

// unprotect takes from a sentry an OOM score that protects the daemon, which its
// service manager may have given it and which is not meant for sandboxes. It
// returns the score that the sentry has.
func unprotect(sentry observed.Process) (int, error) {
	score, err := oom.Read(sentry)
	if err != nil || score >= 0 {
		return score, err
	}
	return 0, oom.Apply(sentry, 0)
}

// booting is a sentry that has just been started.
type booting struct {
	pid, pidfd int
	socket     string
	// said is where it writes a byte of 0 once its control server answers. What
	// fails before it is the sentry writes a text there.
	said *os.File
}

func (p *booting) close() {
	p.said.Close()
	unix.Close(p.pidfd)
}

// booted returns when the sentry answers.
func (p *booting) booted(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.said.Close() })
	defer stop()
	said := make([]byte, 256)
	// A helper of the sentry's holds the other end, too: there is no end to wait for.
	n, err := p.said.Read(said)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for the sentry: %w", context.Cause(ctx))
	case err != nil && err != io.EOF:
		return fmt.Errorf("waiting for the sentry: %w", err)
	case n == 1 && said[0] == 0:
		return nil
	}
	return p.ended(said[:n])
}

// died says why the sentry has, where it has: err tells that it is gone.
func (p *booting) died(err error) error {
	if !errors.Is(err, observed.ErrGone) {
		return fmt.Errorf("identifying the sentry: %w", err)
	}
	said, _ := io.ReadAll(io.LimitReader(p.said, 4096)) // nobody has the other end any more
	return p.ended(said)
}

func (p *booting) ended(said []byte) error {
	if text := strings.Trim(string(said), "\x00"); text != "" {
		return errors.New(text)
	}
	return errors.New("the sentry ended before it answered")
}

// socketIn is the path of a control socket in the sandbox's directory.
func socketIn(dir, id string) string { return filepath.Join(dir, "runsc-"+id+".sock") }

// Sockets are the paths of all control sockets in a sandbox's directory, which need not
// be there.
func Sockets(dir string) (sockets []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "runsc-") && strings.HasSuffix(e.Name(), ".sock") {
			sockets = append(sockets, filepath.Join(dir, e.Name()))
		}
	}
	return sockets, err
}

// byDescriptor is a path below an open directory, however long its own is.
func byDescriptor(dir *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name
}
