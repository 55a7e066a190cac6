package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/logs"
	"sandboxer/observed"
)

// foreground runs a sandbox and ends as its first container does.
func (c *cli) foreground(ctx context.Context, s *desired.Sandbox, o runOptions) error {
	if os.Geteuid() != 0 {
		return errors.New("run must be run as root: it makes namespaces, cgroups and mounts; try again with sudo")
	}
	main := &s.Spec.Containers[0]
	o.interactive, o.terminal = o.interactive || main.Stdin, o.terminal || main.Terminal
	main.Terminal = o.terminal
	declared := func(v desired.EnvVar) bool { return v.Name == "TERM" }
	if term := os.Getenv("TERM"); o.terminal && term != "" && !slices.ContainsFunc(main.Env, declared) {
		main.Env = append(main.Env, desired.EnvVar{Name: "TERM", Value: term})
	}
	r, lock, err := c.newRun(s, o.terminal, o)
	if err != nil {
		return err
	}
	defer lock.Close()
	open := pipes
	if o.terminal {
		open = terminalPair
	}
	std, err := open(o.interactive)
	if err == nil {
		defer std.close()
		err = std.blocking()
	}
	var d *runDaemonProcess
	if err == nil {
		d, err = startRunDaemon(runArg0, r, lock, std.give, c.stderr)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(r.dir))
	}
	defer d.leave()
	std.given()
	// A reader that leaves ends nothing but what is written to it.
	signal.Ignore(unix.SIGPIPE)
	client := api.NewClient(filepath.Join(r.StateDir, "sandboxer.sock"))
	defer client.Close()
	f := &front{run: r, daemon: d, resize: std.resize, done: func() { std.finish(); std.close() }}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer context.AfterFunc(ctx, d.leave)()
	f.send = func(sig unix.Signal) {
		sendSignal(ctx, client, r.Name, r.Container, api.KillRequest{Signal: strconv.Itoa(int(sig)), Foreground: o.terminal})
	}
	f.tell = func(container string) {
		ctx, cancel := context.WithTimeout(ctx, tellTime)
		defer cancel()
		// Without it the container has failed all the same.
		_ = client.Logs(ctx, r.Name, container, logs.Options{Tail: mostTold, Entries: true}, logs.NewText(c.stderr, c.stderr, false))
	}
	f.signals = forward(giveUp)
	std.start(f.send)
	err = d.wait(f.see)
	f.done() // before anything is said
	if errors.Is(err, errRunDaemonDied) {
		err = errors.Join(err, c.clear(r.dir, lock))
	}
	switch {
	case f.ended && err != nil:
		c.say("sandboxer: %v", err)
	case err != nil || f.failed != nil:
		return errors.Join(f.failed, err)
	case !f.ended:
		if by, ok := interruption(ctx); ok {
			c.say("sandboxer: %s ended it before its first container ran", desired.SignalName(by))
			return by.code()
		}
		return errors.New("it was ended before its first container ran")
	}
	return exitCode(f.code)
}

// front is a run, seen by its user.
type front struct {
	run     *runRecord
	daemon  *runDaemonProcess
	resize  func() bool
	send    func(unix.Signal) // to the first container
	done    func()            // gives back the terminal; may be called again
	tell    func(string)      // shows what a container wrote last
	signals *forwarder

	started, ended bool
	code           int
	failed         error // why there is no code
}

// see takes a change of the sandbox.
func (f *front) see(change api.Change) {
	if change.Deleted || f.ended || f.failed != nil || len(change.Status.Containers) == 0 {
		return
	}
	// Nobody who waits for a command waits for repairs: init containers run once.
	for _, c := range change.Status.InitContainers {
		if c.State == "stopped" && c.ExitCode != nil && *c.ExitCode != 0 && !f.started {
			f.failed = fmt.Errorf("init container %q %s", c.Name, how(c))
			f.done()
			f.tell(c.Name)
			f.over()
			return
		}
	}
	main := f.main(change)
	switch running := main.State == "running"; {
	case running && !f.started:
		f.started = true
		f.signals.to(func(sig unix.Signal) {
			if sig != unix.SIGWINCH || f.resize() {
				f.send(sig)
			}
		})
	case main.State == "stopped" && main.FinishedAt != nil:
		f.end(main)
	case !running && given(change):
		f.failed = fmt.Errorf("sandbox %q can't be run: %s", f.run.Name, change.Status.Message)
		f.over()
	}
}

// tellTime and mostTold are how long is waited for what a container wrote, and how
// many lines of it are shown.
const (
	tellTime = 5 * time.Second
	mostTold = 100
)

// how is how a container failed.
func how(c api.Container) string {
	switch c.Reason {
	case observed.ReasonStartError:
		return "can't be started: " + c.Message
	case observed.ReasonError, "":
		return fmt.Sprintf("ended with exit code %d", *c.ExitCode)
	}
	return strings.TrimSuffix(fmt.Sprintf("ended with exit code %d (%s): %s", *c.ExitCode, c.Reason, c.Message), ": ")
}

// main is the state of the container that is run.
func (f *front) main(change api.Change) api.Container {
	for _, c := range change.Status.Containers {
		if c.Name == f.run.Container {
			return c
		}
	}
	return api.Container{}
}

// given reports whether a sandbox has failed such that waiting is of no use.
func given(change api.Change) bool {
	if change.Status.Phase != api.Failed && change.Status.Phase != api.Invalid {
		return false
	}
	for _, c := range change.Status.All() {
		if c.NextStartAt != nil && change.Status.SandboxPID != 0 {
			return false // another container, which is tried again
		}
	}
	return true
}

// end is the first container's end.
func (f *front) end(main api.Container) {
	switch {
	case main.Reason == observed.ReasonStartError:
		f.failed = fmt.Errorf("container %q can't be started: %s", main.Name, main.Message)
	case main.ExitCode == nil:
		f.failed = fmt.Errorf("container %q ended, and nobody knows how: %s %s", main.Name, main.Reason, main.Message)
	default:
		f.ended, f.code = true, *main.ExitCode
	}
	f.over()
}

// over has all else end. Whoever is in a hurry sends another signal.
func (f *front) over() {
	f.daemon.finish()
	f.done()
	f.signals.to(func(sig unix.Signal) {
		if sig != unix.SIGWINCH && sig != unix.SIGCONT {
			f.daemon.leave()
		}
	})
}
