package actuator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/probe"
	"sandboxer/observed"
)

// Reach gives access to one instance of a container. It can be used as long as
// that instance runs, in a sandbox that is not paused.
func (a *Actuator) Reach(sandbox, container, id string) probe.Container {
	return reached{a: a, sandbox: sandbox, container: container, id: id}
}

type reached struct {
	a                      *Actuator
	sandbox, container, id string
}

const reachFor = "reach into"

// open gives the records of the instance and its sentry.
func (r reached) open() (work, gvisor.Sentry, error) {
	w, err := r.a.running(r.sandbox, r.container, reachFor)
	if err == nil && w.container().ID != r.id {
		err = &StateError{ID: "container " + r.id, State: string(observed.Stopped), Action: reachFor}
	}
	if err != nil {
		return w, gvisor.Sentry{}, fmt.Errorf("%w: %w", probe.ErrUnknown, err)
	}
	return w, gvisor.Sentry{Process: w.rec.Sentry, Socket: w.rec.ControlSocket, Timeout: callTimeout}, nil
}

// unknown marks errors that say nothing about the container.
func unknown(err error) error {
	if errors.Is(err, gvisor.ErrNoAnswer) || errors.Is(err, gvisor.ErrUnknownContainer) || errors.Is(err, gvisor.ErrNoProcess) {
		return fmt.Errorf("%w: %w", probe.ErrUnknown, err)
	}
	return err
}

// Dial implements probe.Container.
func (r reached) Dial(ctx context.Context, host string, port int) (net.Conn, error) {
	w, sentry, err := r.open()
	if err != nil {
		return nil, err
	}
	if w.rec.HostNetwork {
		if host == "" {
			host = "127.0.0.1"
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	}
	conn, err := sentry.Dial(ctx, port)
	if err != nil && !errors.Is(err, gvisor.ErrNoConnection) {
		err = fmt.Errorf("%w: %w", probe.ErrUnknown, err) // a sentry of an earlier version does not know how
	}
	return conn, err
}

// leftTime is how long is read of what a command has left in a pipe that
// others hold open, killedTime how long one that was killed may take to end, and
// goesTime a container whose processes are being killed.
const (
	leftTime   = 100 * time.Millisecond
	killedTime = 2 * time.Second
	goesTime   = 200 * time.Millisecond
)

// Exec implements probe.Container.
func (r reached) Exec(ctx context.Context, command []string, output io.Writer) (int, error) {
	w, sentry, err := r.open()
	if err != nil {
		return 0, err
	}
	p, err := r.a.process(&Exec{Args: command}, w.container().Process)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", probe.ErrUnknown, err)
	}
	from, to, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", probe.ErrUnknown, err)
	}
	defer from.Close()
	defer to.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", probe.ErrUnknown, err)
	}
	defer null.Close()
	// A call that is given up is carried out all the same, and nobody would
	// know what to kill.
	pid, err := sentry.Exec(context.WithoutCancel(ctx), r.id, p, [3]*os.File{null, to, to})
	if err != nil {
		return 0, unknown(err)
	}
	to.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(output, from) // to the command's end, or the deadline
	}()
	status, err := sentry.WaitExec(ctx, r.id, pid)
	if ctx.Err() != nil {
		err = r.end(ctx, sentry, pid)
	}
	_ = from.SetReadDeadline(time.Now().Add(leftTime))
	<-read
	if err != nil {
		return 0, unknown(err)
	}
	exit := exitOf(status, time.Now())
	if exit.Signal == int(unix.SIGKILL) && r.ended(ctx, sentry) {
		return 0, fmt.Errorf("%w: %w", probe.ErrUnknown, &StateError{ID: "container " + r.id, State: string(observed.Stopped), Action: reachFor})
	}
	if exit.Signal != 0 {
		return 0, errors.New(exit.Message)
	}
	return exit.Code, nil
}

// ended reports whether the container has ended, or is about to, which kills all
// that runs in it.
func (r reached) ended(ctx context.Context, sentry gvisor.Sentry) bool {
	soon, cancel := context.WithTimeout(ctx, goesTime)
	defer cancel()
	_, err := sentry.Wait(soon, r.id)
	return err == nil || errors.Is(err, gvisor.ErrUnknownContainer) || errors.Is(err, gvisor.ErrNoProcess)
}

// end kills a command whose time is over, and waits until it is gone.
func (r reached) end(ctx context.Context, sentry gvisor.Sentry, pid int) error {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), killedTime)
	defer cancel()
	if err := sentry.KillTree(late, r.id, pid); err != nil {
		return err
	}
	if _, err := sentry.WaitExec(late, r.id, pid); errors.Is(err, gvisor.ErrNoAnswer) {
		return err
	}
	return context.Cause(ctx)
}
