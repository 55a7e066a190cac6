package gvisor

import (
	"context"
	"fmt"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/specutils"
)

// Exec runs a further process in a running container and returns its pid,
// which counts in the whole sandbox and not in the container alone. Where p
// says Terminal, stdio is one end of a terminal three times. In a paused
// sandbox the process is made and does not run.
func (s Sentry) Exec(ctx context.Context, id string, p *specs.Process, stdio [3]*os.File) (pid int, err error) {
	// What may be had is the container's; see StartContainer for raw sockets.
	capabilities, err := specutils.Capabilities(true, p.Capabilities)
	if err != nil {
		return 0, err
	}
	args := control.ExecArgs{
		Argv:             p.Args,
		Envv:             p.Env,
		WorkingDirectory: p.Cwd,
		KUID:             auth.KUID(p.User.UID),
		KGID:             auth.KGID(p.User.GID),
		NoNewPrivileges:  p.NoNewPrivileges,
		Capabilities:     capabilities,
		StdioIsPty:       p.Terminal,
		ContainerID:      id,
	}
	for _, gid := range p.User.AdditionalGids {
		args.ExtraKGIDs = append(args.ExtraKGIDs, auth.KGID(gid))
	}
	args.GuestFDs = []int{0, 1, 2}
	// What a sentry that is stopped is asked for stays in its socket, and would be
	// done once it goes on: a command that its caller was told had failed, long after.
	if _, err := s.State(ctx, id); err != nil {
		return 0, fmt.Errorf("running %q in container %s: %w", p.Args[0], id, err)
	}
	var answer int32
	if err := s.call(ctx, boot.ContMgrExecuteAsync, &args, stdio[:], &answer); err != nil {
		return 0, fmt.Errorf("running %q in container %s: %w", p.Args[0], id, err)
	}
	if answer <= 0 {
		return 0, fmt.Errorf("%w: no process is number %d", ErrNoAnswer, answer)
	}
	return int(answer), nil
}

// AwaitExec asks for the end of a process that Exec ran, and returns the
// connection on which the sentry answers once: a JSON object whose member
// "result" is the wait status where "success" is true, and whose "err" says
// what is wrong where it is not. Whoever has the connection gets the answer,
// whether this process lives or not. A process can be asked about in this way
// once after its end.
func (s Sentry) AwaitExec(ctx context.Context, id string, pid int) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	conn, err := dial(ctx, s.Socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := send(conn, boot.ContMgrWaitPID, &boot.WaitPIDArgs{PID: int32(pid), CID: id}, nil); err != nil {
		return nil, noAnswer(ctx, boot.ContMgrWaitPID, err)
	}
	return conn.File()
}

// SignalProcess sends sig to one process of a container, by the pid that it
// has in the sandbox, or to the foreground group of the terminal that Exec
// gave to that process. For the container's own terminal pid is 0.
func (s Sentry) SignalProcess(ctx context.Context, id string, pid int, sig unix.Signal, foreground bool) error {
	mode := boot.DeliverToProcess
	if foreground {
		mode = boot.DeliverToForegroundProcessGroup
	}
	return s.call(ctx, boot.ContMgrSignal, &boot.SignalArgs{CID: id, PID: int32(pid), Signo: int32(sig), Mode: mode}, nil, nil)
}
