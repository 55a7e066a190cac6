package gofer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	gcontext "gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/unet"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// served is a container's gofers, one after the other, with this process in
// the sentry's place.
type served struct {
	t       *testing.T
	config  Config
	sentry  observed.Process
	ends    []uint64
	kept    Kept
	gofer   observed.Process
	clients []*lisafs.Client
	roots   []lisafs.FDID
	// endNamespace lets go of the sentry's mounts.
	endNamespace func()
}

// serveAll starts the first gofer of mounts and mounts them.
func serveAll(t *testing.T, mounts ...serve.Mount) *served {
	t.Helper()
	self, err := observed.Identify(os.Getpid())
	check(t, err)
	s := &served{t: t, config: Config{Exe: program, ID: "s.app.1", Cgroup: home, Mounts: mounts}, sentry: self}
	s.config.Root, s.endNamespace = rootOf(t, mounts)
	g, err := openAndStart(context.Background(), s.config)
	check(t, err)
	s.kept, s.gofer = g.Kept, g.Process
	for _, end := range g.Sockets {
		inode, err := EndOf(end)
		check(t, err)
		s.ends = append(s.ends, inode)
		fd, err := unix.Dup(int(end.Fd()))
		check(t, err)
		check(t, unix.SetNonblock(fd, true))
		end.Close()
		socket, err := unet.NewSocket(fd)
		check(t, err)
		client, root, hostFD, err := lisafs.NewClient(socket)
		check(t, err)
		unix.Close(hostFD)
		s.clients, s.roots = append(s.clients, client), append(s.roots, root.ControlFD)
	}
	return s
}

// end lets everything go and checks that the last gofer ends by itself.
func (s *served) end() {
	s.t.Helper()
	for _, c := range s.clients {
		c.Close()
	}
	s.kept.Close()
	s.config.Root.Close()
	s.endNamespace()
	reap(s.t, s.gofer.PID)
}

// kill ends the gofer that serves.
func (s *served) kill() {
	s.t.Helper()
	check(s.t, s.gofer.Signal(unix.SIGKILL))
	reap(s.t, s.gofer.PID)
}

// replace has another gofer take over from one that was killed. Those that
// are killed while they do are replaced, too.
func (s *served) replace(victims int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for try := 0; ; try++ {
		next, err := Prepare(ctx, s.config, s.kept)
		check(s.t, err)
		s.gofer = next.Process()
		var killed chan struct{}
		if try < victims {
			killed = make(chan struct{})
			go func() {
				defer close(killed)
				time.Sleep(rand.N(2 * time.Millisecond))
				_ = next.Process().Signal(unix.SIGKILL) // it is not reaped before killed is closed
			}()
		}
		kept, err := next.TakeOver(ctx, s.ends, s.sentry)
		if killed != nil {
			<-killed
			next.Close()
			reap(s.t, s.gofer.PID)
			continue
		}
		next.Close()
		check(s.t, err)
		s.kept = kept
		return
	}
}

// work asks for everything that directfs asks for, and checks every answer.
func (s *served) work(mount int, dir string, until chan struct{}) error {
	client, ctx := s.clients[mount], gcontext.Background()
	root := client.NewFD(s.roots[mount])
	held := map[string]lisafs.FDID{}
	for round := 0; ; round++ {
		select {
		case <-until:
			for _, id := range held {
				client.CloseFD(ctx, id, true)
			}
			return nil
		default:
		}
		name := fmt.Sprint(round % 7)
		var want uint64
		if info, err := os.Lstat(filepath.Join(dir, "d", name)); err != nil {
			return err
		} else {
			want = info.Sys().(*syscall.Stat_t).Ino
		}
		_, inodes, err := root.WalkMultiple(ctx, []string{"d", name})
		if err != nil || len(inodes) != 2 || inodes[1].Stat.Ino != want {
			return fmt.Errorf("round %d: walked to %v, %w", round, inodes, err)
		}
		client.CloseFD(ctx, inodes[0].ControlFD, round%2 == 0)
		if old, ok := held[name]; ok {
			client.CloseFD(ctx, old, false)
		}
		held[name] = inodes[1].ControlFD
		for name, id := range held {
			if err := readThrough(client.NewFD(id), name); err != nil {
				return fmt.Errorf("round %d: file %s, number %d: %w", round, name, id, err)
			}
		}
		var stat lisafs.Statx
		if err := root.StatTo(ctx, &stat); err != nil {
			return fmt.Errorf("round %d: the root: %w", round, err)
		}
	}
}

// readThrough opens a file by its number, and compares what is in it.
func readThrough(fd lisafs.ClientFD, content string) error {
	ctx := gcontext.Background()
	opened, hostFD, err := fd.OpenAt(ctx, unix.O_RDONLY)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(hostFD), content)
	defer f.Close()
	fd.Client().CloseFD(ctx, opened, true)
	b, err := io.ReadAll(f)
	if err == nil && string(b) != content {
		err = fmt.Errorf("it holds %q", b)
	}
	return err
}

// Gofers are killed again and again, at any moment, under a client that checks
// everything it gets; also those that are about to take over. Nobody notices,
// and nothing is left.
func TestKilledUnderLoad(t *testing.T) {
	before := openFiles(t)
	var mounts []serve.Mount
	for range 2 {
		dir := t.TempDir()
		check(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
		for i := range 7 {
			check(t, os.WriteFile(filepath.Join(dir, "d", fmt.Sprint(i)), []byte(fmt.Sprint(i)), 0o644))
		}
		mounts = append(mounts, serve.Mount{Source: dir})
	}
	s := serveAll(t, mounts...)
	until := make(chan struct{})
	var workers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			if err := s.work(i%2, mounts[i%2].Source, until); err != nil {
				t.Error(err)
			}
		})
	}
	for round := range rounds {
		time.Sleep(rand.N(4 * time.Millisecond))
		s.kill()
		s.replace(round % 3)
		if t.Failed() {
			break
		}
	}
	close(until)
	workers.Wait()
	s.end()
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a process is left: %v", err)
	}
}

// rounds is how often a storm kills.
const rounds = 60

// What a gofer has can be taken from it while it lives, and served on from.
func TestTake(t *testing.T) {
	before := openFiles(t)
	s := serveAll(t, serve.Mount{Source: t.TempDir()}, serve.Mount{Source: t.TempDir()})
	mounts := s.kept.Number(s.config.Mounts)
	s.kept.Close()
	var err error
	s.kept, err = Take(s.gofer, mounts)
	check(t, err)
	if len(s.kept.Sockets) != 2 || len(s.kept.Journals) != 2 {
		t.Fatalf("took %+v", s.kept)
	}
	for _, f := range s.kept.Sockets {
		if err := f.SetDeadline(time.Time{}); !errors.Is(err, os.ErrNoDeadline) {
			t.Errorf("every request wakes who holds the socket: setting a deadline says %v", err)
		}
	}
	serves := func() {
		for i, client := range s.clients {
			var stat lisafs.Statx
			root := client.NewFD(s.roots[i])
			check(t, root.StatTo(gcontext.Background(), &stat))
		}
	}
	serves()
	old := s.gofer
	s.kill()
	s.replace(0)
	serves()
	if _, err := Take(old, mounts); !errors.Is(err, observed.ErrGone) {
		t.Errorf("taking from one that is gone: %v", err)
	}
	wrong := serve.Mount{SocketFD: 200, JournalFD: 201}
	if _, err := Take(s.gofer, append(mounts, wrong)); err == nil {
		t.Error("what it does not have was taken")
	}
	s.end()
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// What can't be taken over is said to be lost, and leaves nothing.
func TestLost(t *testing.T) {
	s := serveAll(t, serve.Mount{Source: t.TempDir()})
	other := s.config
	other.Root, _ = rootOf(t, []serve.Mount{{Source: t.TempDir()}})
	before := openFiles(t)
	ctx := context.Background()
	if _, err := Prepare(ctx, s.config, Kept{}); !errors.Is(err, ErrLost) {
		t.Errorf("nothing kept: %v", err)
	}
	s.kill()
	next, err := Prepare(ctx, s.config, s.kept)
	check(t, err)
	if _, err := next.TakeOver(ctx, nil, s.sentry); !errors.Is(err, ErrLost) {
		t.Errorf("no ends: %v", err)
	}
	next.Close()
	reap(t, next.Process().PID)
	next, err = Prepare(ctx, other, s.kept)
	check(t, err)
	if _, err := next.TakeOver(ctx, s.ends, s.sentry); !errors.Is(err, ErrLost) {
		t.Errorf("another directory: %v", err)
	}
	next.Close()
	reap(t, next.Process().PID)
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	// Nor can anything be where the last gofer noted in another form.
	old := make([]byte, 8)
	_, err = s.kept.Journals[0].ReadAt(old, 0)
	check(t, err)
	_, err = s.kept.Journals[0].WriteAt([]byte{77}, 0)
	check(t, err)
	next, err = Prepare(ctx, s.config, s.kept)
	check(t, err)
	if _, err := next.TakeOver(ctx, s.ends, s.sentry); !errors.Is(err, ErrLost) {
		t.Errorf("another version: %v", err)
	}
	next.Close()
	reap(t, next.Process().PID)
	_, err = s.kept.Journals[0].WriteAt(old, 0)
	check(t, err)
	// The right one can still be.
	s.replace(0)
	s.end()
}
