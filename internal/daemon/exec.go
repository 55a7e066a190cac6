package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"sandboxer/actuator"
	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/observed"
)

// Exec runs a command in a container; see api.Backend.
func (d *daemon) Exec(ctx context.Context, sandbox, container string, r api.ExecRequest, stdio [3]*os.File) (api.ExecStarted, *os.File, error) {
	for _, v := range r.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return api.ExecStarted{}, nil, fmt.Errorf("%w: env %q: want NAME=VALUE", api.ErrInvalid, v)
		}
	}
	if r.WorkingDir != "" && !strings.HasPrefix(r.WorkingDir, "/") {
		return api.ExecStarted{}, nil, fmt.Errorf("%w: workingDir %q is relative: must start with \"/\"", api.ErrInvalid, r.WorkingDir)
	}
	e := actuator.Exec{Args: r.Command, Env: r.Env, Dir: r.WorkingDir, Stdio: stdio, Terminal: r.Terminal}
	if r.User != nil {
		e.User = &actuator.User{UID: r.User.UID, GID: r.User.GID}
	}
	started, err := d.actuator.Exec(ctx, sandbox, container, e)
	if code := notRun(err); code != 0 {
		return api.ExecStarted{}, nil, &api.Error{Code: http.StatusUnprocessableEntity, Message: err.Error(), ExitCode: code}
	}
	if err != nil {
		return api.ExecStarted{}, nil, d.inTheWay(sandbox, container, err)
	}
	return api.ExecStarted{ContainerID: started.ContainerID, PID: started.PID}, started.Exit, nil
}

// notRun is what a shell ends with where a sentry can't run a program for the
// reason that it gives; 0: that is another one.
func notRun(err error) int {
	var state *actuator.StateError
	if err == nil || errors.As(err, &state) {
		return 0
	}
	text := err.Error()
	switch {
	case !actuator.Unloadable(err):
		return 0
	case strings.HasSuffix(text, "no such file or directory"):
		return 127
	}
	return 126
}

// Kill signals a container, or one of its processes, for a user.
func (d *daemon) Kill(ctx context.Context, sandbox, container string, r api.KillRequest) error {
	sig, err := desired.SignalNumber(r.Signal)
	if err != nil {
		return fmt.Errorf("%w: signal: %w; write it as SIGTERM, TERM or 15", api.ErrInvalid, err)
	}
	if r.PID < 0 || r.All && (r.PID != 0 || r.Foreground) {
		return fmt.Errorf("%w: a pid is more than 0, and excludes all", api.ErrInvalid)
	}
	err = d.actuator.Kill(ctx, sandbox, container, actuator.Kill{
		Signal: sig, All: r.All, PID: r.PID, Foreground: r.Foreground, ContainerID: r.ContainerID})
	if err != nil {
		return d.inTheWay(sandbox, container, err)
	}
	if exec, attach := r.PassedOn(); !exec && !(attach && r.WindowChanged()) {
		whom := "its first process"
		switch {
		case r.All:
			whom = "all its processes"
		case r.Foreground:
			whom = "what is in the foreground of its terminal"
		case r.PID != 0:
			whom = fmt.Sprintf("process %d", r.PID)
		}
		d.events.Append(events.Event{Sandbox: sandbox, Container: container, Type: events.Normal, Reason: "Signalled",
			Message: fmt.Sprintf("a user sent %s to %s", desired.SignalName(sig), whom)})
	}
	return nil
}

// Processes lists what runs in a sandbox; see api.Backend.
func (d *daemon) Processes(ctx context.Context, sandbox string) (map[string][]api.Process, error) {
	found, err := d.actuator.Processes(ctx, sandbox)
	if err != nil {
		return nil, d.inTheWay(sandbox, "", err)
	}
	all := map[string][]api.Process{}
	for container, list := range found {
		for _, p := range list {
			all[container] = append(all[container], api.Process{Container: container, PID: p.PID, PPID: p.PPID, UID: p.UID,
				Threads: p.Threads, CPUSeconds: p.CPU.Seconds(), MemoryBytes: p.RSS, StartedAt: p.StartedAt, Command: p.Args})
		}
	}
	return all, nil
}

// Stats says what a sandbox uses; see api.Backend.
func (d *daemon) Stats(ctx context.Context, sandbox string) (api.Stats, error) {
	u, err := d.actuator.Usage(ctx, sandbox)
	if err != nil {
		return api.Stats{}, d.inTheWay(sandbox, "", err)
	}
	v := api.Stats{Sandbox: sandbox, Time: u.At, CPUSeconds: u.CPU.Seconds(), MemoryBytes: u.MemoryBytes,
		MemoryPeakBytes: u.MemoryPeakBytes, MemoryLimitBytes: u.MemoryLimitBytes, PIDs: u.Tasks,
		ReadBytes: u.ReadBytes, WrittenBytes: u.WrittenBytes}
	s, _ := d.board.Get(sandbox)
	pass, _ := d.passes.get(sandbox)
	for _, c := range s.Status.All() {
		if of, ok := u.Containers[c.Name]; ok {
			v.Containers = append(v.Containers, api.ContainerStats{Name: c.Name, ID: of.ID, CPUSeconds: of.CPU.Seconds(),
				MemoryBytes: of.MemoryBytes, MemoryLimitBytes: pass.Memory.Containers[c.Name].MemoryLimit, PIDs: of.Tasks,
				StorageBytes: of.StorageBytes, StorageLimitBytes: of.StorageLimitBytes})
		}
	}
	return v, nil
}

// inTheWay says of a state that is in the way of a request which it is and
// what to do.
func (d *daemon) inTheWay(sandbox, container string, err error) error {
	var state *actuator.StateError
	if !errors.As(err, &state) {
		return err
	}
	message := state.Error()
	s, _ := d.board.Get(sandbox)
	switch observed.SandboxState(state.State) {
	case observed.SandboxPaused, observed.SandboxPausing:
		message = fmt.Sprintf("sandbox %q is paused: declare it Running first", sandbox)
	default:
		if container == "" {
			message = fmt.Sprintf("sandbox %q does not run: it is %s", sandbox, s.Status.Phase)
		}
		for _, c := range s.Status.All() {
			if c.Name == container && c.State == string(observed.Running) {
				message = fmt.Sprintf("container %q of sandbox %q does not run: it has just ended", container, sandbox)
			} else if c.Name == container {
				message = fmt.Sprintf("container %q of sandbox %q does not run: it is %s%s", container, sandbox, c.State, why(s, c))
			}
		}
	}
	return &api.Error{Code: http.StatusConflict, Message: message}
}

// why is the reason for which a container does not run, with its beginning.
func why(s api.Sandbox, c api.Container) string {
	switch {
	case c.Reason != "" && c.ExitCode != nil:
		return fmt.Sprintf(" (%s, exit code %d)", c.Reason, *c.ExitCode)
	case c.Reason != "":
		return " (" + c.Reason + ")"
	}
	return fmt.Sprintf(" (the sandbox is %s)", s.Status.Phase)
}
