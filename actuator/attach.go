package actuator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/logs"
	"sandboxer/observed"
)

// Attached is a running container's input and output.
type Attached struct {
	ContainerID string
	Terminal    bool
	Stdin       bool
	// Input is the terminal's master, or else what the command's stdin reads;
	// nil: there is neither. The caller closes it.
	Input *os.File
	// Output is to be closed by the caller.
	Output   *logs.Tap
	sentry   gvisor.Sentry
	recorded func() *observed.Exit
}

// Attach connects to a container's first process. Its errors are those of Exec.
func (a *Actuator) Attach(sandbox, container string) (at Attached, err error) {
	const action = "attach to"
	w, err := a.running(sandbox, container, action)
	if err != nil {
		return at, err
	}
	rec := w.container()
	at = Attached{ContainerID: rec.ID, Terminal: rec.Terminal, Stdin: rec.Stdin,
		sentry: gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}, recorded: a.recorded(rec.ID)}
	switch {
	case rec.Terminal:
		at.Input, err = a.master(rec.ID)
	case rec.Stdin:
		at.Input, err = a.c.Logs.Input(sandbox, container, rec.ID)
	}
	if err == nil {
		at.Output, err = a.c.Logs.Tap(rec.ID)
	}
	if err == nil {
		return at, nil
	}
	at.Input.Close()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return at, &StateError{ID: "container " + rec.ID, State: string(observed.Stopped), Action: action}
	}
	return at, err
}

// master duplicates a terminal's master.
func (a *Actuator) master(id string) (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.terminals[id]
	if t == nil {
		return nil, fmt.Errorf("terminal of %s: %w", id, os.ErrNotExist)
	}
	fd, err := unix.FcntlInt(t.master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// lastOutput is how long the rest of the output of a container that has ended is
// waited for.
const lastOutput = 2 * time.Second

// Await returns how the command ended, once its output has come to an end. An
// error says why that can't be told.
func (at *Attached) Await(ctx context.Context) (observed.Exit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		exit observed.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		status, err := at.sentry.Wait(ctx, at.ContainerID)
		exit := exitOf(status, time.Now())
		// The daemon has an answer of its own, and may have ended the sentry, or had it
		// forget the container, before it gave this one.
		if known := at.recorded(); err != nil && known != nil && known.Known {
			exit, err = *known, nil
		}
		ended <- end{exit, err}
	}()
	select {
	case e := <-ended:
		if e.err != nil {
			return observed.Exit{}, e.err
		}
		select {
		case <-at.Output.Ended:
		case <-time.After(lastOutput):
		case <-ctx.Done():
		}
		return e.exit, at.Output.Err()
	case <-at.Output.Ended:
		if err := at.Output.Err(); err != nil {
			return observed.Exit{}, err
		}
		e := <-ended // it wrote its last, or has closed its output
		return e.exit, e.err
	}
}
