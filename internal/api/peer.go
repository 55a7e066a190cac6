package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// peer is who has connected, as the kernel tells it.
type peer struct {
	pid      int
	uid, gid uint32
	groups   []uint32 // those besides gid
	program  string   // what it runs, for the log; "?": that can't be told
	// refused says why the peer may do nothing at all; nil: it may.
	refused error
}

type peerKey struct{}

// withPeer has it found out whom a connection is from, at its first request:
// what is looked at may keep who looks waiting, and nobody else.
func (s *Server) withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, sync.OnceValue(func() peer { return s.peerOf(c) }))
}

func (s *Server) peerOf(c net.Conn) peer {
	unknown := func(err error) peer { return peer{refused: fmt.Errorf("who connects can't be told: %w", err)} }
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return unknown(fmt.Errorf("it is no unix socket but a %T", c))
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return unknown(err)
	}
	var p peer
	if controlErr := raw.Control(func(fd uintptr) { p, err = s.askKernel(int(fd)) }); controlErr != nil || err != nil {
		return unknown(errors.Join(controlErr, err))
	}
	return p
}

// askKernel reads a connection's credentials, and looks at its process while
// that is known to be the same.
func (s *Server) askKernel(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, os.NewSyscallError("SO_PEERCRED", err)
	}
	p := peer{pid: int(cred.Pid), uid: cred.Uid, gid: cred.Gid}
	if p.groups, err = peerGroups(fd); err != nil {
		return peer{}, err
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		// Kernels before 6.5 have no descriptor of the peer: a pid that is given
		// away between the connection and this is then taken for it.
		pidfd, err = unix.PidfdOpen(p.pid, 0)
	}
	if err != nil {
		return peer{}, fmt.Errorf("process %d, which connected, has ended: %w", p.pid, err)
	}
	defer unix.Close(pidfd)
	p.refused, p.program = s.inside(p.pid), program(p.pid)
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
		return peer{}, fmt.Errorf("process %d, which connected, has ended: %w", p.pid, err)
	}
	return p, nil
}

func peerGroups(fd int) ([]uint32, error) {
	const most = 65536 // NGROUPS_MAX
	for n := 64; ; n = most {
		buf := make([]byte, 4*n)
		size, err := getsockopt(fd, unix.SO_PEERGROUPS, buf)
		if errors.Is(err, unix.ERANGE) && n < most {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("SO_PEERGROUPS", err)
		}
		return uint32s(buf[:size]), nil
	}
}

// inside says what keeps a process of the host that belongs to a sandbox, or to
// a world of its own, from the API.
func (s *Server) inside(pid int) error {
	proc := fmt.Sprintf("/proc/%d", pid)
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return err
	}
	theirs, err := os.Readlink(proc + "/ns/user")
	if err != nil {
		return fmt.Errorf("the user namespace of process %d can't be told: %w", pid, err)
	}
	if own != theirs {
		return fmt.Errorf("process %d is in another user namespace, as what a sandbox reaches the host through is", pid)
	}
	cgroups, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return fmt.Errorf("the cgroup of process %d can't be told: %w", pid, err)
	}
	for line := range strings.Lines(string(cgroups)) {
		_, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
		if parent := strings.Trim(s.cfg.CgroupParent, "/"); parent != "" && strings.HasPrefix(path, parent+"/") {
			return fmt.Errorf("process %d is in a sandbox's cgroup, /%s", pid, path)
		}
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		return fmt.Errorf("the command of process %d can't be told: %w", pid, err)
	}
	// Those of another daemon of this host.
	name, _, _ := bytes.Cut(cmdline, []byte{0})
	if slices.Contains(helpers, string(name)) {
		return fmt.Errorf("process %d is a sandbox's, %s", pid, name)
	}
	return nil
}

// helpers are the names of the processes that sandboxes are made of.
var helpers = []string{"runsc-sandbox", "sandboxer-gofer", "sandboxer-keeper", "sandboxer-launch"}

// program names what a process runs; "?" where it has ended.
func program(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "?"
	}
	return exe
}
