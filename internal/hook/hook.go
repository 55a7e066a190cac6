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
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
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
	Path string // absolute; for messages
	// Folder is where the program is, under Name. A script is called by that folder's
	// descriptor, which it inherits.
	Folder *os.File
	Name   string
	Args   []string // its name first; none: Path
	Env    []string // all of its environment
	Dir    string   // that it begins in
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
	path, inherited, err := h.program()
	if err != nil {
		return "", err
	}
	stdin, err := filled(state)
	if err != nil {
		return "", err
	}
	defer stdin.Close()
	r, w, err := outputPipe(h.Folder)
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd := &exec.Cmd{Path: path, ExtraFiles: inherited, Args: h.Args, Env: append([]string{}, h.Env...), Dir: h.Dir,
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
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		failed.Path = h.Path // whose descriptor means nothing to anybody
	}
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

// firstExtra is the number that a child has the first of exec.Cmd.ExtraFiles under.
const firstExtra = 3

// program is the path to run a hook by: its name in a folder that is open, so that
// it is found where it was looked at. Of a script it is the interpreter who opens it
// again, and the script who asks where it is, so the folder stays open for both.
func (h Hook) program() (path string, inherited []*os.File, err error) {
	fd, err := unix.Openat(int(h.Folder.Fd()), h.Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: h.Path, Err: err}
	}
	f := os.NewFile(uintptr(fd), h.Path)
	defer f.Close()
	script, err := Interpreter(f)
	if err != nil {
		return "", nil, err
	}
	if script != "" {
		return fmt.Sprintf("/proc/self/fd/%d/%s", firstExtra, h.Name), []*os.File{h.Folder}, nil
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", h.Folder.Fd(), h.Name), nil, nil
}

// Interpreter is what runs a program by its first line; "" where that names none.
// The program is a regular file, and need not be open for reading.
func Interpreter(program *os.File) (string, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: program.Name(), Err: errors.Unwrap(err)}
	}
	defer f.Close()
	line := make([]byte, 256) // what the kernel reads
	n, err := io.ReadFull(f, line)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", &fs.PathError{Op: "read", Path: program.Name(), Err: err}
	}
	text, isScript := strings.CutPrefix(string(line[:n]), "#!")
	text, _, _ = strings.Cut(text, "\n")
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == 0 })
	if !isScript || len(words) == 0 {
		return "", nil
	}
	return words[0], nil
}

// outputPipe is a pipe whose end for writing has a higher number than a file that the
// child is found by: what exec moves out of its way, it moves above all of the
// child's own.
func outputPipe(below *os.File) (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	fd, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, int(below.Fd())+1)
	w.Close()
	if err != nil {
		r.Close()
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return r, os.NewFile(uintptr(fd), "output"), nil
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
