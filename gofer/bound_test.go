package gofer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	gcontext "gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/lisafs"

	"sandboxer/gofer/serve"
)

// bind has the container bind a socket in its first mount's root and listen.
func (s *served) bind(name string) (*lisafs.ClientBoundSocketFD, error) {
	root := s.clients[0].NewFD(s.roots[0])
	child, sock, err := root.BindAt(gcontext.Background(), unix.SOCK_STREAM, name, 0o600, 0, 0)
	if err != nil {
		return nil, err
	}
	s.clients[0].CloseFD(gcontext.Background(), child.ControlFD, true)
	return sock, sock.Listen(gcontext.Background(), 5)
}

// talk connects from the host, has the container accept, and says something.
func talk(sock *lisafs.ClientBoundSocketFD, path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, path); err != nil {
		return err
	}
	c.Close()
	fd, err := sock.Accept(gcontext.Background())
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && string(b) != path {
		err = fmt.Errorf("heard %q", b)
	}
	return err
}

// connect has the container connect to a socket of the host and hear name.
func (s *served) connect(name string) error {
	ctx := gcontext.Background()
	root := s.clients[0].NewFD(s.roots[0])
	inode, err := root.Walk(ctx, name)
	if err != nil {
		return err
	}
	fd := s.clients[0].NewFD(inode.ControlFD)
	defer fd.Close(ctx, true)
	sock, err := fd.Connect(ctx, unix.SOCK_STREAM, 1000, 1000)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(sock), "connected")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && string(b) != name+" 1000" {
		err = fmt.Errorf("heard %q", b)
	}
	return err
}

// host is a service of the host that says its name and its peer's user.
func host(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	check(t, os.Chmod(path, 0o777))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			raw, _ := c.(*net.UnixConn).SyscallConn()
			_ = raw.Control(func(fd uintptr) {
				cred, _ := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
				fmt.Fprintf(c, "%s %d", filepath.Base(path), cred.Uid)
			})
			c.Close()
		}
	}()
}

// goferFiles is how many descriptors the gofer that serves has open.
func (s *served) goferFiles() int {
	s.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.gofer.PID))
	check(s.t, err)
	return len(entries)
}

// In a real gofer, with its capabilities and its filter: sockets work, also
// those of earlier gofers, and none is left open.
func TestSockets(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	host(t, filepath.Join(dir, "host"))
	before := openFiles(t)
	s := serveAll(t, serve.Mount{Source: dir, Sockets: true})
	const sockets = "00000000000000df" // those for files, SETGID and SETUID
	if status := read(t, fmt.Sprintf("/proc/%d/status", s.gofer.PID)); !strings.Contains(status, "CapEff:\t"+sockets) {
		t.Errorf("its capabilities are not %s:\n%s", sockets, status)
	}
	stays, err := s.bind("stays")
	check(t, err)
	check(t, talk(stays, filepath.Join(dir, "stays")))
	check(t, s.connect("host"))
	for round := range 5 {
		s.kill()
		// A connection that comes while no gofer is there waits.
		c, err := net.Dial("unix", filepath.Join(dir, "stays"))
		check(t, err)
		s.replace(round % 2)
		fd, err := stays.Accept(gcontext.Background())
		check(t, err)
		unix.Close(fd)
		c.Close()
		check(t, s.connect("host"))
		had := s.goferFiles()
		for i := range 10 {
			path := filepath.Join(dir, fmt.Sprint(i))
			sock, err := s.bind(fmt.Sprint(i))
			check(t, err)
			check(t, talk(sock, path))
			check(t, talk(stays, filepath.Join(dir, "stays")))
			sock.Close(gcontext.Background())
			if _, err := net.Dial("unix", path); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("connecting to what was closed: %v", err)
			}
			check(t, os.Remove(path))
		}
		if has := s.goferFiles(); has != had {
			t.Errorf("round %d: the gofer has %d descriptors, %d before", round, has, had)
		}
	}
	stays.Close(gcontext.Background())
	if _, err := net.Dial("unix", filepath.Join(dir, "stays")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting to what was closed: %v", err)
	}
	s.end()
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// More sockets than go into one message are passed on.
func TestManySockets(t *testing.T) {
	dir := t.TempDir()
	s := serveAll(t, serve.Mount{Source: t.TempDir(), Sockets: true}, serve.Mount{Source: dir, Sockets: true})
	s.clients[0], s.clients[1] = s.clients[1], s.clients[0]
	s.roots[0], s.roots[1] = s.roots[1], s.roots[0]
	var all []*lisafs.ClientBoundSocketFD
	for i := range 100 {
		sock, err := s.bind(fmt.Sprint(i))
		check(t, err)
		all = append(all, sock)
	}
	s.kill()
	s.replace(1)
	for i, sock := range all {
		check(t, talk(sock, filepath.Join(dir, fmt.Sprint(i))))
		sock.Close(gcontext.Background())
	}
	s.end()
}

// Of all that a sentry has open only what a gofer has bound is taken.
func TestTakesOnlyBound(t *testing.T) {
	s := serveAll(t, serve.Mount{Source: t.TempDir(), Sockets: true})
	bound, err := s.bind("s")
	check(t, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	control, err := net.Listen("unix", filepath.Join(t.TempDir(), "control"))
	check(t, err)
	abstract, err := net.Listen("unix", "@/fd/3/abstract")
	check(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	inodes := []uint64{s.ends[0]}
	for _, fd := range pair {
		inodes = append(inodes, inodeNumber(t, fd))
	}
	for _, l := range []interface{ File() (*os.File, error) }{control.(*net.UnixListener), abstract.(*net.UnixListener), tcp.(*net.TCPListener)} {
		f, err := l.File()
		check(t, err)
		defer f.Close()
		inodes = append(inodes, inodeNumber(t, int(f.Fd())))
	}
	got, err := take(s.sentry, inodes)
	if len(got) != 0 || err != nil {
		t.Errorf("took %d of others, %v", len(got), err)
	}
	got, err = take(s.sentry, append(inodes, inodeNumber(t, int(bound.NotificationFD())), 1))
	if len(got) != 1 || err != nil {
		t.Errorf("took %d where one is bound, %v", len(got), err)
	}
	closeFiles(got)
	for _, l := range []net.Listener{control, abstract, tcp} {
		l.Close()
	}
	for _, fd := range pair {
		unix.Close(fd)
	}
	bound.Close(gcontext.Background())
	s.end()
}

func inodeNumber(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Fstat(fd, &st))
	return st.Ino
}

// Sockets come and go under a storm of kills, and every one reaches its peer.
func TestSocketsUnderLoad(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	host(t, filepath.Join(dir, "host"))
	s := serveAll(t, serve.Mount{Source: dir, Sockets: true})
	stays, err := s.bind("stays")
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.workSockets(ctx, stays, dir) }()
	for round := range rounds / 3 {
		time.Sleep(time.Duration(round%5) * time.Millisecond)
		s.kill()
		s.replace(round % 2)
		if len(done) > 0 {
			break
		}
	}
	stop()
	check(t, <-done)
	stays.Close(gcontext.Background())
	s.end()
}

func (s *served) workSockets(ctx context.Context, stays *lisafs.ClientBoundSocketFD, dir string) error {
	for round := 0; ctx.Err() == nil; round++ {
		if err := s.connect("host"); err != nil {
			return fmt.Errorf("round %d: connecting: %w", round, err)
		}
		// An accepted connection is lost if its gofer dies before it was
		// passed on: the peer sees its end, and another one is accepted.
		for {
			c, err := net.Dial("unix", filepath.Join(dir, "stays"))
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			fd, err := stays.Accept(gcontext.Background())
			c.Close()
			if err == nil {
				unix.Close(fd)
				break
			}
			if !errors.Is(err, unix.EAGAIN) {
				return fmt.Errorf("round %d: accepting: %w", round, err)
			}
		}
		// Binding is not repeated.
		sock, err := s.bind("comes")
		if err == nil {
			sock.Close(gcontext.Background())
		} else if !errors.Is(err, unix.EIO) {
			return fmt.Errorf("round %d: binding: %w", round, err)
		}
		if err := os.Remove(filepath.Join(dir, "comes")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
