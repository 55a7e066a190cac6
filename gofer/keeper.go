package gofer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"sandboxer/internal/memfd"
	"sandboxer/internal/tinyelf"
	"sandboxer/observed"
)

// KeeperArg0 is how a keeper's command line begins.
const KeeperArg0 = "sandboxer-keeper "

// Keeper is a process that does nothing but hold a container's descriptors
// while it lives: what a replacement of its gofer needs, and the reading ends
// of its output. With it a gofer may die while no daemon runs. It is a few
// instructions long, reads nothing that a sandbox says, serves one container
// only, and has no capability and no system call but to wait and to end.
type Keeper struct {
	Process observed.Process
	stay    *os.File
}

// Stay has the keeper stay for good: until then it ends with its starter, so
// that none is left that no record knows. One that has ended meanwhile, as it does
// with its container, is none that it fails for.
func (k *Keeper) Stay() error {
	if _, err := k.stay.Write([]byte{1}); !errors.Is(err, unix.EPIPE) {
		return err
	}
	return nil
}

// Close lets go of what is needed to say Stay: a keeper that was not told so
// ends.
func (k *Keeper) Close() { k.stay.Close() }

// TakeOutput duplicates the n-th of the descriptors of output that Keep gave to a
// keeper, beside those of so many mounts. ErrGone where the keeper is gone.
func TakeOutput(p observed.Process, mounts, n int) (*os.File, error) {
	pidfd, err := p.Open()
	if err != nil {
		return nil, err
	}
	defer pidfd.Close()
	fd, err := duplicate(p, pidfd, firstFD+2*mounts+n)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "kept"), nil
}

// keeperProgram is made once and stays open for the life of the process.
var keeperProgram = sync.OnceValues(func() (*os.File, error) {
	return memfd.Program("sandboxer-keeper", bytes.NewReader(tinyelf.Program(keeperCode+keeperFilter())))
})

// keeperFilter is the seccomp filter that keeperCode installs, of eight
// instructions: it kills who calls anything else than keeperCalls.
func keeperFilter() string {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equals = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: 4}, // the architecture
		{Code: equals, K: keeperArch, Jf: 4},
		{Code: load, K: 0}, // the call's number
		{Code: equals, K: keeperCalls[0], Jt: 3},
		{Code: equals, K: keeperCalls[1], Jt: 2},
		{Code: equals, K: keeperCalls[2], Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	var b []byte
	for _, f := range filter {
		b = binary.NativeEndian.AppendUint16(b, f.Code)
		b = append(b, f.Jt, f.Jf)
		b = binary.NativeEndian.AppendUint32(b, f.K)
	}
	return string(b)
}

// Keep starts a keeper of what is kept of a container's gofer and of the
// reading ends of its output, in the sandbox's cgroup. The process is a child
// of the caller, to be reaped by whoever reaps the caller's children.
func Keep(c Config, kept Kept, output []*os.File) (*Keeper, error) {
	program, err := keeperProgram()
	if err != nil {
		return nil, err
	}
	wait, stay, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer wait.Close()
	pidfd := -1
	cmd := &exec.Cmd{
		Path: "/proc/self/fd/" + strconv.Itoa(int(program.Fd())),
		Args: []string{KeeperArg0 + c.ID},
		Env:  []string{},
		Dir:  "/",
		// Everything has the number that it has in a gofer.
		ExtraFiles:  append([]*os.File{wait, nil}, kept.files()...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, output...)
	p, err := spawn(cmd, c, &pidfd)
	if err != nil {
		stay.Close()
		return nil, fmt.Errorf("starting the keeper of %s: %w", c.ID, err)
	}
	return &Keeper{Process: p, stay: stay}, nil
}
