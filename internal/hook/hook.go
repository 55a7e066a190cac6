// Package hook runs OCI hooks: programs of the host that are told on stdin how
// a container is.
//
// It knows neither containers nor what a hook's failure means. A hook begins in
// the cgroup of this process, as the leader of a session of its own, with the
// environment that it declares and no other descriptors than its three. What it
// has started in the background lives on when it succeeds. It may run in many
// goroutines.
package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// OutputMax is how much is kept of what a hook writes to stdout and stderr, in
// bytes: the last of it.
const OutputMax = 4 << 10

// stateMax is what fits into a pipe that nobody reads yet.
const stateMax = 64 << 10

// Hook is one program to run.
type Hook struct {
	Path string   // absolute
	Args []string // its name first; none: Path
	Env  []string // all of its environment
	Dir  string   // that it begins in
	// Timeout is how long it may take; it must be more than 0.
	Timeout time.Duration
}

// Children starts and reaps this process's children; see observed.Reaper.
type Children interface {
	Start(cmd *exec.Cmd) error
	Wait(cmd *exec.Cmd) error
}

// Run runs a hook to its end, with state on its stdin, and returns the last of
// its output. An error says that it could not be run, did not succeed, or took
// too long; in the last case, and when ctx is done (the error wraps ctx's
// cause), all of its process group has been killed. The kernel kills the hook
// itself if this process dies.
func Run(ctx context.Context, children Children, h Hook, state []byte) (output string, err error) {
	if len(state) > stateMax {
		return "", fmt.Errorf("the container's state has %d bytes, and a hook can be told %d", len(state), stateMax)
	}
	stdin, err := filled(state)
	if err != nil {
		return "", err
	}
	defer stdin.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd := &exec.Cmd{Path: h.Path, Args: h.Args, Env: append([]string{}, h.Env...), Dir: h.Dir,
		Stdin: stdin, Stdout: w, Stderr: w,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{h.Path}
	}
	// What the kernel takes for the death of a parent is that of the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = children.Start(cmd)
	w.Close()
	if err != nil {
		return "", err
	}
	said := make(chan *tail)
	go func() {
		t := &tail{}
		_, _ = io.Copy(t, r) // it ends with the hook's output, or the deadline that await sets
		said <- t
	}()
	err = await(ctx, children, cmd, h.Timeout)
	// Who was left in the background may have the pipe and never close it.
	_ = r.SetReadDeadline(time.Now())
	t := <-said
	t.rest(r)
	return t.String(), err
}

// await waits for a hook's end, which it brings about when time is up.
func await(ctx context.Context, children Children, cmd *exec.Cmd, limit time.Duration) error {
	timed, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	p, err := observed.Identify(cmd.Process.Pid)
	if err == nil {
		err = p.Await(timed)
	}
	if errors.Is(err, observed.ErrGone) {
		err = nil
	}
	if err != nil {
		// The leader is not reaped yet, so nobody else can have the number.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	ended := children.Wait(cmd)
	switch {
	case errors.Is(err, errTime):
		return fmt.Errorf("it did not end within %s and was killed", limit)
	case err != nil:
		return fmt.Errorf("it was killed: %w", err)
	}
	return ended
}

var errTime = errors.New("its time is over")

// filled is a pipe from which text can be read, to its end.
func filled(text []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}
