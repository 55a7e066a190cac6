package gvisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/cgroup"
)

// Create is what CreateSandbox needs.
type Create struct {
	LaunchConfig
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
	// Sockets are those of gofers that serve the volumes named by Shares.
	Sockets []*os.File
	// Serve has them served; it is called with the sentry's pid, where Shares
	// names any, and what it returns ends the launcher.
	Serve func(pid int) error
	// Children starts and waits for the launcher, so that whoever reaps the
	// daemon's children leaves this one alone; required.
	Children Children
}

// Children runs commands in a process that also reaps orphans.
type Children interface {
	Start(*exec.Cmd) error
	Wait(*exec.Cmd) error
}

// CreateSandbox runs a launcher. When it returns without an error the sentry
// answers, its infra container runs, and it is on its way to becoming a child
// of this process, which must be a child subreaper. When ctx ends first the
// launcher is killed; what it had started is then found in the cgroup.
func CreateSandbox(ctx context.Context, c Create) (LaunchResult, error) {
	c.Restore = c.Checkpoint != nil
	given := []*os.File{c.Image}
	if c.Restore {
		given = append(append(given, c.Checkpoint), c.Sockets...)
	}
	if c.UserLog != nil {
		c.LaunchConfig.UserLog = fmt.Sprintf("/proc/self/fd/%d", launchImageFD+len(given))
		given = append(given, c.UserLog)
	}
	config, err := json.Marshal(c.LaunchConfig)
	if err != nil {
		return LaunchResult{}, err
	}
	configEnd, configIn, err := os.Pipe()
	if err != nil {
		return LaunchResult{}, err
	}
	defer configEnd.Close()
	resultOut, resultEnd, err := os.Pipe()
	if err != nil {
		configIn.Close()
		return LaunchResult{}, err
	}
	defer resultOut.Close()
	defer resultEnd.Close()
	// A configuration is far smaller than a pipe: this does not block.
	_, err = configIn.Write(config)
	configIn.Close()
	if err != nil {
		return LaunchResult{}, err
	}
	dir, err := os.Open(c.Dir)
	if err != nil {
		return LaunchResult{}, err
	}
	defer dir.Close()
	donated := append([]*os.File{configEnd, resultEnd, dir}, given...)

	pidfd := -1
	cmd := &exec.Cmd{
		Path:       c.Exe,
		Args:       []string{LauncherArg0, c.ID},
		Env:        []string{},
		Dir:        "/",
		ExtraFiles: donated,
		// A group of its own: the terminal's signals are the daemon's.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	}
	var stderr bytes.Buffer
	cmd.Stderr = &limited{w: &stderr, left: 4096}
	cmd.WaitDelay = time.Second
	if err := c.Cgroup.Start(cmd, c.Children.Start); err != nil {
		return LaunchResult{}, fmt.Errorf("starting the launcher: %w", err)
	}
	defer unix.Close(pidfd)
	resultEnd.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	})
	out := bufio.NewReader(io.LimitReader(resultOut, 64<<10))
	var serveErr error
	if len(c.Shares) > 0 {
		serveErr = c.serve(out, pidfd)
	}
	said, readErr := io.ReadAll(out)
	waitErr := c.Children.Wait(cmd)
	stop()

	var r LaunchResult
	switch err := json.Unmarshal(said, &r); {
	case serveErr != nil:
		return LaunchResult{}, serveErr
	case ctx.Err() != nil:
		return LaunchResult{}, fmt.Errorf("creating the sandbox: %w", context.Cause(ctx))
	case err == nil && r.Error != "":
		return LaunchResult{}, errors.New(r.Error)
	case err != nil || readErr != nil:
		return LaunchResult{}, fmt.Errorf("the launcher ended without a result: %w; it said: %q", errors.Join(readErr, waitErr), string(said)+stderr.String())
	}
	return r, nil
}

// serve reads the line that comes before the result.
func (c *Create) serve(out *bufio.Reader, launcher int) error {
	line, err := out.ReadBytes('\n')
	if err != nil {
		return nil // the launcher has failed, and says why
	}
	var r LaunchResult
	if err := json.Unmarshal(line, &r); err != nil || r.Error != "" {
		return errors.Join(err, errors.New(r.Error))
	}
	if err := c.Serve(r.PID); err != nil {
		_ = unix.PidfdSendSignal(launcher, unix.SIGKILL, nil, 0) // it may have ended
		return err
	}
	return nil
}

// limited passes on the first left bytes and drops the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	if _, err := l.w.Write(b[:n]); err != nil {
		return 0, err
	}
	return len(b), nil
}
