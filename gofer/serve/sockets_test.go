package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// given are the sockets that the sentry has, as a gofer that takes over is
// given them.
func (g *rig) given() map[uint64]int {
	g.t.Helper()
	all, err := BoundSockets(g.journal)
	check(g.t, err)
	given := map[uint64]int{}
	for _, s := range g.bound {
		inode, err := inodeOf(int(s.NotificationFD()))
		check(g.t, err)
		for _, b := range all {
			if b.Inode == inode {
				given[inode], err = unix.Dup(int(s.NotificationFD()))
				check(g.t, err)
			}
		}
	}
	return given
}

// bind binds a socket of the sentry's in a directory.
func (g *rig) bind(dir lisafs.FDID, name string) (*lisafs.ClientBoundSocketFD, error) {
	child, s, err := g.bindOnly(dir, name)
	if err == nil {
		g.client.CloseFD(background, child, true)
		g.bound = append(g.bound, s)
	}
	return s, err
}

// bindOnly asks for nothing more, and leaves it to its caller to add to bound.
func (g *rig) bindOnly(dir lisafs.FDID, name string) (lisafs.FDID, *lisafs.ClientBoundSocketFD, error) {
	fd := g.client.NewFD(dir)
	child, s, err := fd.BindAt(background, unix.SOCK_STREAM, name, 0o640, 11, 12)
	return child.ControlFD, s, err
}

func (g *rig) unbind(s *lisafs.ClientBoundSocketFD) {
	for i, other := range g.bound {
		if other == s {
			g.bound = append(g.bound[:i], g.bound[i+1:]...)
			break
		}
	}
	s.Close(background)
}

func newSocketRig(t *testing.T) *rig {
	t.Helper()
	g := newRig(t)
	g.sockets = true
	return g
}

// connect has the sentry connect to a socket as a user.
func (g *rig) connect(id lisafs.FDID, uid, gid uint32) (*os.File, error) {
	fd := g.client.NewFD(id)
	sock, err := fd.Connect(background, unix.SOCK_STREAM, lisafs.UID(uid), lisafs.GID(gid))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(sock), "connected"), nil
}

// listener is a service of the host that says its name to whoever connects,
// and who that is.
func listener(t *testing.T, path, name string) {
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
				fmt.Fprintf(c, "%s to %d:%d", name, cred.Uid, cred.Gid)
			})
			c.Close()
		}
	}()
}

// hears checks what a socket says.
func hears(t *testing.T, f *os.File, err error, want string) {
	t.Helper()
	if err != nil {
		t.Errorf("%v, want to hear %q", err, want)
		return
	}
	defer f.Close()
	check(t, unix.SetNonblock(int(f.Fd()), false))
	tv := unix.NsecToTimeval(int64(10 * time.Second))
	check(t, unix.SetsockoptTimeval(int(f.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	b := make([]byte, 100)
	n, err := f.Read(b)
	if string(b[:n]) != want {
		t.Errorf("heard %q, %v, want %q", b[:n], err, want)
	}
}

// A socket is connected to as the container's user, under that user's rights,
// wherever it has been moved to; by a later gofer only where it was.
func TestConnect(t *testing.T) {
	g := newSocketRig(t)
	check(t, os.Chmod(g.dir, 0o755))
	check(t, os.Mkdir(g.path("d"), 0o755))
	listener(t, g.path("d", "one"), "one")
	end := g.serve(g.successor(false))
	inodes, err := g.walk("d", "one")
	check(t, err)
	one := inodes[1].ControlFD
	f, err := g.connect(one, 0, 0)
	hears(t, f, err, "one to 0:0")
	f, err = g.connect(one, 1234, 4321)
	hears(t, f, err, "one to 1234:4321")
	f, err = g.connect(one, 0, 7)
	hears(t, f, err, "one to 0:7")
	if os.Geteuid() != 0 || os.Getegid() != 0 {
		t.Error("the gofer did not become itself again")
	}
	check(t, os.Chmod(g.path("d", "one"), 0o700))
	if _, err := g.connect(one, 1234, 4321); !errors.Is(err, unix.EACCES) {
		t.Errorf("connecting without the right to: %v", err)
	}
	if _, err := g.connect(inodes[0].ControlFD, 0, 0); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting to a directory: %v", err)
	}
	end()

	end = g.serve(g.successor(false))
	f, err = g.connect(one, 0, 0)
	hears(t, f, err, "one to 0:0")
	check(t, os.Rename(g.path("d"), g.path("e")))
	check(t, os.Mkdir(g.path("d"), 0o755))
	listener(t, g.path("d", "one"), "another")
	f, err = g.connect(one, 0, 0)
	hears(t, f, err, "one to 0:0")
	end()

	end = g.serve(g.successor(false))
	defer end()
	if _, err := g.connect(one, 0, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("connecting to what was moved: %v", err)
	}
	inodes, err = g.walk("d", "one")
	check(t, err)
	f, err = g.connect(inodes[1].ControlFD, 0, 0)
	hears(t, f, err, "another to 0:0")
}

// Sockets of all kinds are connected to, and of no others.
func TestConnectKinds(t *testing.T) {
	g := newSocketRig(t)
	packets, err := net.Listen("unixpacket", g.path("packets"))
	check(t, err)
	defer packets.Close()
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: g.path("datagrams"), Net: "unixgram"})
	check(t, err)
	defer datagrams.Close()
	defer g.serve(g.successor(false))()
	for _, c := range []struct {
		name string
		kind linux.SockType
		want error
	}{
		{"packets", unix.SOCK_SEQPACKET, nil}, {"datagrams", unix.SOCK_DGRAM, nil}, {"packets", unix.SOCK_RAW, unix.EPROTOTYPE},
		{"packets", unix.SOCK_STREAM, unix.EPROTOTYPE}, // by the kernel
	} {
		inodes, err := g.walk(c.name)
		check(t, err)
		fd := g.client.NewFD(inodes[0].ControlFD)
		sock, err := fd.Connect(background, c.kind, 0, 0)
		if !errors.Is(err, c.want) {
			t.Errorf("%s, kind %d: %v, want %v", c.name, c.kind, err, c.want)
		}
		if err != nil {
			continue
		}
		_, err = unix.Write(sock, []byte("hello"))
		check(t, err)
		unix.Close(sock)
	}
	b := make([]byte, 10)
	n, _, err := datagrams.ReadFromUnix(b)
	check(t, err)
	if string(b[:n]) != "hello" {
		t.Errorf("heard %q", b[:n])
	}
}

// A peer that accepts nobody holds nobody up for long.
func TestConnectBacklog(t *testing.T) {
	g := newSocketRig(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(t, err)
	defer unix.Close(fd)
	check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: g.path("s")}))
	check(t, unix.Listen(fd, 0))
	defer g.serve(g.successor(false))()
	inodes, err := g.walk("s")
	check(t, err)
	for range 2 {
		var f *os.File
		if f, err = g.connect(inodes[0].ControlFD, 0, 0); err == nil {
			defer f.Close()
		}
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("connecting to a full backlog: %v", err)
	}
}

// dial connects to a bound socket from the host and has the sentry accept.
func (g *rig) dial(s *lisafs.ClientBoundSocketFD, path string) {
	g.t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		g.t.Error(err)
		return
	}
	defer c.Close()
	_, err = c.Write([]byte("hello " + path))
	check(g.t, err)
	fd, err := s.Accept(background)
	hears(g.t, os.NewFile(uintptr(fd), "accepted"), err, "hello "+path)
}

// What a container has bound is bound in the right directory, as it should be;
// and goes on under later gofers, closed when the container closes it.
func TestBind(t *testing.T) {
	g := newSocketRig(t)
	check(t, os.Mkdir(g.path("d"), 0o755))
	end := g.serve(g.successor(false))
	inodes, err := g.walk("d")
	check(t, err)
	d := inodes[0].ControlFD
	one, err := g.bind(d, "one")
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(g.path("d", "one"), &st))
	if st.Mode != unix.S_IFSOCK|0o640 || st.Uid != 11 || st.Gid != 12 {
		t.Errorf("its file has mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	if _, err := g.bind(d, "one"); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("binding again: %v", err)
	}
	if _, err := net.Dial("unix", g.path("d", "one")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting before it listens: %v", err)
	}
	check(t, one.Listen(background, 3))
	if _, err := one.Accept(background); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("accepting nobody: %v", err)
	}
	g.dial(one, g.path("d", "one"))
	check(t, os.Rename(g.path("d"), g.path("e")))
	two, err := g.bind(d, "two")
	check(t, err)
	check(t, os.Rename(g.path("e"), g.path("d")))
	end()
	waiting, err := net.Dial("unix", g.path("d", "one")) // while no gofer is there
	check(t, err)
	defer waiting.Close()

	for range 2 {
		end = g.serve(g.successor(false))
		if waiting != nil {
			fd, err := one.Accept(background)
			check(t, err)
			unix.Close(fd)
			waiting = nil
		}
		g.dial(one, g.path("d", "one"))
		check(t, two.Listen(background, 1))
		g.dial(two, g.path("d", "two"))
		three, err := g.bind(d, "three")
		check(t, err)
		check(t, three.Listen(background, 1))
		g.dial(three, g.path("d", "three"))
		g.unbind(three)
		if _, err := net.Dial("unix", g.path("d", "three")); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connecting to what was closed: %v", err)
		}
		check(t, os.Remove(g.path("d", "three")))
		end()
	}

	// What the sentry closes while no gofer is there is gone, too.
	check(t, unix.Close(int(two.NotificationFD())))
	g.bound = g.bound[:1]
	end = g.serve(g.successor(false))
	defer end()
	if _, err := net.Dial("unix", g.path("d", "two")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting to what was closed: %v", err)
	}
	if err := two.Listen(background, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("listening on what was closed: %v", err)
	}
	g.dial(one, g.path("d", "one"))
	g.unbind(one)
	if all, err := BoundSockets(g.journal); len(all) != 0 || err != nil {
		t.Errorf("the journal tells of %v, %v", all, err)
	}
}

// What can't be bound, and where nothing may be.
func TestBindRefused(t *testing.T) {
	g := newSocketRig(t)
	check(t, os.WriteFile(g.path("file"), nil, 0o644))
	r := g.successor(false)
	used := r.sockets
	end := g.serve(r)
	inodes, err := g.walk("file")
	check(t, err)
	for _, c := range []struct {
		dir  lisafs.FDID
		name string
		want unix.Errno
	}{
		{g.root, "../out", unix.EINVAL}, {g.root, "..", unix.EINVAL}, {g.root, "", unix.EINVAL},
		{g.root, strings.Repeat("n", 120), unix.EINVAL}, {g.root, "file", unix.EADDRINUSE},
		{inodes[0].ControlFD, "s", unix.ENOTDIR}, {77777, "s", unix.EBADF},
	} {
		if _, err := g.bind(c.dir, c.name); !errors.Is(err, c.want) {
			t.Errorf("binding %q: %v, want %v", c.name, err, c.want)
		}
	}
	end()
	if len(used.bound) != 0 {
		t.Errorf("%v are bound", used.bound)
	}
	r = g.successor(false)
	r.sockets.readOnly = true
	end = g.serve(r)
	if _, err := g.bind(g.root, "s"); !errors.Is(err, unix.EROFS) {
		t.Errorf("binding in a read-only mount: %v", err)
	}
	end()
	g.sockets = false
	listener(t, g.path("l"), "l")
	defer g.serve(g.successor(false))()
	if _, err := g.bind(g.root, "s"); !errors.Is(err, unix.EPERM) {
		t.Errorf("binding without sockets: %v", err)
	}
	inodes, err = g.walk("l")
	check(t, err)
	if _, err := g.connect(inodes[0].ControlFD, 0, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("connecting without sockets: %v", err)
	}
}

// A journal tells of no more sockets than it has room for.
func TestBoundTable(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	for i := range boundMax {
		check(t, j.bound(lisafs.FDID(i+1), uint64(i)*2))
	}
	if err := j.bound(7777, 1); !errors.Is(err, unix.EMFILE) {
		t.Errorf("one too many: %v", err)
	}
	j.unbound(5)
	check(t, j.bound(7777, 1))
	answer(t, j, given(1, "a")) // they don't overlap
	all, err := BoundSockets(f)
	if err != nil || len(all) != boundMax || all[4] != (Bound{7777, 1}) || all[1023] != (Bound{1024, 2046}) {
		t.Errorf("%d: %v %v, %v", len(all), all[4], all[1023], err)
	}
	same(t, "beside a full table", load(t, f), tells(j))
}

// A gofer that is killed while it binds leaves one answer, no second attempt,
// and what the sentry was told is bound stays so.
func TestKilledWhileBinding(t *testing.T) {
	for after := range len((&relay{}).steps()) + 1 {
		g := newSocketRig(t)
		k := killed{after: after}
		var s *lisafs.ClientBoundSocketFD
		waiting, first, _ := g.run(k, func() (err error) { _, s, err = g.bindOnly(g.root, "s"); return err }, nil)
		if k.sent() {
			g.bound = append(g.bound, s)
		}
		end := g.serve(g.successor(waiting))
		err := <-first
		const begun = 2
		if lost := after >= begun && !k.sent(); lost {
			if !errors.Is(err, unix.EIO) {
				t.Errorf("after %d steps: %v, want EIO", after, err)
			}
		} else {
			check(t, err)
			check(t, s.Listen(background, 1))
			g.dial(s, g.path("s"))
			g.bound = []*lisafs.ClientBoundSocketFD{s}
		}
		end()
		if all, err := BoundSockets(g.journal); len(all) != len(g.bound) || err != nil {
			t.Errorf("after %d steps: the journal tells of %v, %v, the sentry has %d", after, all, err, len(g.bound))
		}
	}
}
