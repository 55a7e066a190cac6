package actuator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"sandboxer/actuator/gvisor"
	"sandboxer/desired"
	"sandboxer/observed"
)

// Exec is a further command in a running container. What it leaves out is as
// the container's own command has it.
type Exec struct {
	Args []string // required; without a slash, Args[0] is looked up in PATH
	Env  []string // NAME=VALUE, over the container's
	Dir  string
	User *User
	// Stdio is where it reads and writes; with Terminal, one end of a terminal
	// three times.
	Stdio    [3]*os.File
	Terminal bool
}

// User is whom a command runs as.
type User struct{ UID, GID uint32 }

// Executed is a command that runs.
type Executed struct {
	ContainerID string
	PID         int      // in the sandbox
	Exit        *os.File // see gvisor.Sentry.AwaitExec; the caller closes it
}

// further is what a container's record keeps for Exec.
type further struct {
	specs.Process
	// Declared are the variables that the container declares, where values of
	// some are in files: these are read anew, since they are for no file of the
	// daemon's.
	Declared []desired.EnvVar `json:"declared,omitempty"`
}

func furtherProcess(p *specs.Process, c *desired.Container) (json.RawMessage, error) {
	f := further{Process: specs.Process{
		User: p.User, Env: withoutSecrets(p.Env, c), Cwd: p.Cwd,
		Capabilities: p.Capabilities, NoNewPrivileges: p.NoNewPrivileges,
	}}
	if len(f.Env) < len(p.Env) {
		f.Declared = c.Env
	}
	return json.Marshal(f)
}

// withoutSecrets is an environment without the variables whose values are in
// files, or refer to such.
func withoutSecrets(env []string, c *desired.Container) (plain []string) {
	hidden := secret(c.Env)
	for _, v := range env {
		if name, _, _ := strings.Cut(v, "="); !hidden[name] {
			plain = append(plain, v)
		}
	}
	return plain
}

// Exec runs a command in a container. A *StateError says that the container,
// or its sandbox, is not in a state in which one can be run.
func (a *Actuator) Exec(ctx context.Context, sandbox, container string, e Exec) (Executed, error) {
	const action = "run a command in"
	w, err := a.running(sandbox, container, action)
	if err != nil {
		return Executed{}, err
	}
	rec := w.container()
	p, err := a.process(&e, rec.Process)
	if err != nil {
		return Executed{}, err
	}
	sentry := gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}
	pid, err := sentry.Exec(ctx, rec.ID, p, e.Stdio)
	if errors.Is(err, gvisor.ErrNoProcess) || errors.Is(err, gvisor.ErrUnknownContainer) {
		return Executed{}, &StateError{ID: "container " + rec.ID, State: string(observed.Stopped), Action: action}
	}
	if err != nil {
		return Executed{}, err
	}
	exit, err := sentry.AwaitExec(ctx, rec.ID, pid)
	if err != nil {
		return Executed{}, errors.Join(err, sentry.SignalProcess(ctx, rec.ID, pid, unix.SIGKILL, false))
	}
	return Executed{ContainerID: rec.ID, PID: pid, Exit: exit}, nil
}

// process is the command in the runtime's terms.
func (a *Actuator) process(e *Exec, kept json.RawMessage) (*specs.Process, error) {
	var f further
	if err := json.Unmarshal(kept, &f); err != nil {
		return nil, fmt.Errorf("the container's record does not say what a command in it gets: %w; start the container anew", err)
	}
	p := &f.Process
	p.Args, p.Terminal = e.Args, e.Terminal
	values, err := a.valuesOf(a.paths(), f.Declared)
	if err != nil {
		return nil, err
	}
	hidden := secret(f.Declared)
	for _, v := range f.Declared {
		if hidden[v.Name] {
			p.Env = append(p.Env, v.Name+"="+values[v.Name])
		}
	}
	for _, v := range e.Env {
		name, _, _ := strings.Cut(v, "=")
		p.Env = slices.DeleteFunc(p.Env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		p.Env = append(p.Env, v)
	}
	if e.Dir != "" {
		p.Cwd = e.Dir
	}
	if e.User != nil {
		p.User = specs.User{UID: e.User.UID, GID: e.User.GID, Umask: p.User.Umask}
	}
	return p, nil
}

// running gives the records of a container that runs in a sandbox that is not
// paused, or says which state is in the way of an action.
func (a *Actuator) running(sandbox, container, action string) (work, error) {
	w, err := a.alive(sandbox, action)
	if err != nil {
		return w, err
	}
	if w.rec.State != observed.SandboxUp {
		return w, &StateError{ID: "sandbox " + sandbox, State: string(w.rec.State), Action: action}
	}
	w.Container = container
	rec := w.container()
	if rec == nil || rec.State != observed.Running {
		state := "created" // its sandbox is there
		if rec != nil {
			state = string(rec.State)
		}
		return w, &StateError{ID: "container " + container, State: state, Action: action}
	}
	return w, nil
}

// Kill is a signal for a container's first process, or for whom it says.
type Kill struct {
	Signal unix.Signal
	All    bool
	// PID is one process, or with Foreground the foreground group of the
	// terminal that it was given; 0: the container's first.
	PID        int
	Foreground bool
	// ContainerID is the instance that is meant; empty: the present one.
	ContainerID string
}

// Kill signals a container. Its errors are those of Exec.
func (a *Actuator) Kill(ctx context.Context, sandbox, container string, k Kill) error {
	const action = "signal"
	w, err := a.running(sandbox, container, action)
	if err != nil {
		return err
	}
	rec := w.container()
	gone := &StateError{ID: "container " + rec.ID, State: string(observed.Stopped), Action: action}
	if k.ContainerID != "" && k.ContainerID != rec.ID {
		gone.ID = "container " + k.ContainerID
		return gone
	}
	sentry := gvisor.Sentry{Socket: w.rec.ControlSocket, Timeout: callTimeout}
	// See gvisor.Sentry.Exec: a signal that was said to be in vain is not to end
	// anything later.
	if _, err := sentry.State(ctx, rec.ID); err != nil {
		return fmt.Errorf("signalling container %s: %w", rec.ID, err)
	}
	if k.PID == 0 && !k.Foreground {
		a.noteSent(rec.ID, k.Signal)
		err = sentry.Signal(ctx, rec.ID, k.Signal, k.All)
	} else {
		err = sentry.SignalProcess(ctx, rec.ID, k.PID, k.Signal, k.Foreground)
	}
	switch {
	case k.PID != 0 && errors.Is(err, gvisor.ErrNoProcess):
		return nil // it has ended
	case errors.Is(err, gvisor.ErrNoProcess), errors.Is(err, gvisor.ErrUnknownContainer):
		return gone
	}
	return err
}
