package serve

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/lisafs"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/runsc/fsgofer"
)

func TestMain(m *testing.M) {
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}}) // as in Main
	if err := fsgofer.OpenProcSelfFD("/proc/self/fd"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// rig is a lisafs client, as a sentry has one, on a directory, and what
// outlives the gofers that serve it.
type rig struct {
	t         *testing.T
	dir       string
	end, kept *os.File // the client's and the gofers' end
	journal   *os.File
	client    *lisafs.Client
	root      lisafs.FDID
	sockets   bool
	bound     []*lisafs.ClientBoundSocketFD
}

var background = context.Background()

// newRig makes a client that has mounted, whose gofer has ended since.
func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, dir: t.TempDir(), journal: tempFile(t)}
	g.end, g.kept = pair(t)
	fd, err := unix.Dup(int(g.end.Fd()))
	check(t, err)
	check(t, unix.SetNonblock(fd, true))
	socket, err := unet.NewSocket(fd)
	check(t, err)
	mounted := make(chan error)
	go func() {
		var root lisafs.Inode
		var hostFD int
		var err error
		g.client, root, hostFD, err = lisafs.NewClient(socket)
		g.root = root.ControlFD
		unix.Close(hostFD)
		mounted <- err
	}()
	first := g.gofer()
	check(t, first.exchange(first.steps()))
	check(t, <-mounted)
	die(first)
	t.Cleanup(g.client.Close)
	return g
}

// gofer is one that has not taken over yet.
func (g *rig) gofer() *relay {
	g.t.Helper()
	connection, err := newConnection(lisafs.NewServer(), g.dir, false)
	check(g.t, err)
	files := make([]*os.File, 2)
	for i, f := range []*os.File{g.kept, g.journal} {
		conn, err := f.SyscallConn()
		check(g.t, err)
		check(g.t, conn.Control(func(fd uintptr) {
			var n int
			n, err = unix.Dup(int(fd))
			files[i] = os.NewFile(uintptr(n), f.Name())
		}))
		check(g.t, err)
	}
	r, err := newRelay(files[0], files[1], connection)
	check(g.t, err)
	check(g.t, r.journal.load())
	r.handlers[lisafs.MkdirAt] = lisafs.MkdirAtHandler // one that can't be repeated
	if g.sockets {
		r.sockets = &sockets{path: "/proc/self/fd", bound: map[lisafs.FDID]int{}}
	}
	g.t.Cleanup(func() { die(r) })
	return r
}

// die closes what the kernel would close of a gofer that was killed.
func die(r *relay) {
	if r.socket != nil {
		r.close()
		r.socket = nil
	}
}

// successor is a gofer that has taken over, told what follows from whether the
// client waits for an answer.
func (g *rig) successor(waiting bool) *relay {
	g.t.Helper()
	r := g.gofer()
	check(g.t, r.inherit(g.given()))
	check(g.t, r.takeOver(!waiting && g.queued() > 0))
	return r
}

// serve has r serve until the returned function is called, which ends it.
func (g *rig) serve(r *relay) (end func()) {
	var ends atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for steps := r.steps(); !ends.Load(); {
			asked := false
			control(g.t, r.socket, func(fd int) error {
				n, err := retry(func() (int, error) { return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1) })
				asked = n > 0
				return err
			})
			if asked && r.exchange(steps) != nil {
				return // the client has gone
			}
		}
	}()
	return func() {
		ends.Store(true)
		<-done
		die(r)
	}
}

// queued is how many bytes of requests wait.
func (g *rig) queued() int { return pending(g.t, g.kept) }

// awaitRequest waits until a request, or more than before bytes, wait.
func (g *rig) awaitRequest(before int) {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.queued() <= before; {
		if time.Now().After(deadline) {
			g.t.Fatal("nothing was asked")
		}
		time.Sleep(50 * time.Microsecond)
	}
}

func (g *rig) path(names ...string) string {
	return filepath.Join(append([]string{g.dir}, names...)...)
}

func (g *rig) walk(names ...string) ([]lisafs.Inode, error) {
	root := g.client.NewFD(g.root)
	_, inodes, err := root.WalkMultiple(background, names)
	return inodes, err
}

// is says whether a number stands for the file that has that inode number.
func (g *rig) is(id lisafs.FDID, inode uint64) error {
	var stat lisafs.Statx
	fd := g.client.NewFD(id)
	if err := fd.StatTo(background, &stat); err != nil {
		return err
	}
	if stat.Ino != inode {
		return fmt.Errorf("number %d stands for inode %d, want %d", id, stat.Ino, inode)
	}
	return nil
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	return st.Ino
}

// tree makes a few files in different places, of all kinds that can be walked
// to.
func (g *rig) tree() [][]string {
	g.t.Helper()
	check(g.t, os.MkdirAll(g.path("a", "b", "c"), 0o755))
	check(g.t, os.WriteFile(g.path("a", "file"), []byte("x"), 0o644))
	check(g.t, os.WriteFile(g.path("a", "b", "file"), []byte("y"), 0o644))
	check(g.t, os.Symlink("nowhere", g.path("a", "link")))
	check(g.t, unix.Mknod(g.path("a", "b", "pipe"), unix.S_IFIFO|0o600, 0))
	return [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "file"}, {"a", "b", "file"}, {"a", "link"}, {"a", "b", "pipe"}}
}

// The numbers that one gofer gave out mean the same objects to the next ones,
// what those give out are others, and closed ones stay closed.
func TestNumbersStay(t *testing.T) {
	g := newRig(t)
	paths := g.tree()
	held := map[lisafs.FDID]uint64{g.root: inode(t, g.dir)}
	for generation := range 4 {
		end := g.serve(g.successor(false))
		for id, want := range held {
			if err := g.is(id, want); err != nil {
				t.Errorf("generation %d: %v", generation, err)
			}
		}
		for _, path := range paths {
			inodes, err := g.walk(path...)
			check(t, err)
			for i, in := range inodes {
				if _, ok := held[in.ControlFD]; ok {
					t.Fatalf("generation %d: number %d was given out twice", generation, in.ControlFD)
				}
				held[in.ControlFD] = inode(t, g.path(path[:i+1]...))
			}
			shut := inodes[0].ControlFD
			g.client.CloseFD(background, shut, true)
			delete(held, shut)
			if err := g.is(shut, 0); !errors.Is(err, unix.EBADF) {
				t.Errorf("a closed number: %v", err)
			}
		}
		end()
		j := load(t, g.journal)
		if len(j.open) != len(held)-1 {
			t.Errorf("generation %d: the journal has %d numbers, the sentry %d and the root", generation, len(j.open), len(held)-1)
		}
	}
}

// A number whose object is not at its path any more means no other one.
func TestOthersInPlace(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace func(g *rig) error
	}{
		{"gone", func(g *rig) error { return os.RemoveAll(g.path("a")) }},
		{"renamed", func(g *rig) error { return os.Rename(g.path("a"), g.path("z")) }},
		{"replaced", func(g *rig) error {
			check(t, os.Rename(g.path("a"), g.path("z")))
			return os.MkdirAll(g.path("a", "b"), 0o755)
		}},
		{"link", func(g *rig) error {
			check(t, os.Rename(g.path("a"), g.path("z")))
			return os.Symlink("z", g.path("a"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			check(t, os.MkdirAll(g.path("a", "b"), 0o755))
			check(t, os.MkdirAll(g.path("stays", "b"), 0o755))
			end := g.serve(g.successor(false))
			inodes, err := g.walk("a", "b")
			check(t, err)
			stays, err := g.walk("stays", "b")
			check(t, err)
			end()
			check(t, c.replace(g))
			end = g.serve(g.successor(false))
			defer end()
			for i, in := range inodes {
				if err := g.is(in.ControlFD, 0); !errors.Is(err, unix.EBADF) {
					t.Errorf("number of level %d: %v, want EBADF", i, err)
				}
			}
			check(t, g.is(stays[1].ControlFD, inode(t, g.path("stays", "b"))))
			again, err := g.walk("stays", "b")
			check(t, err)
			check(t, g.is(again[1].ControlFD, inode(t, g.path("stays", "b"))))
		})
	}
}

// A gofer does not serve another directory than the sentry works on.
func TestOtherRoot(t *testing.T) {
	g := newRig(t)
	check(t, os.Rename(g.dir, g.dir+".away"))
	check(t, os.Mkdir(g.dir, 0o755))
	if err := g.gofer().takeOver(false); !errors.Is(err, ErrOtherObject) {
		t.Errorf("it takes over with %v", err)
	}
}

// stepSend is the index of the step that sends the answer.
const stepSend = 5

// killed is a gofer that was killed after that many steps of an exchange.
type killed struct {
	after int
	again bool // the sentry asks for more before the next gofer comes
}

// sent says whether the sentry got an answer from it.
func (k killed) sent() bool { return k.after > stepSend }

// run has ask's request answered by such a gofer and, if wanted, the sentry ask
// again. It returns whether the sentry waits for an answer then, and channels
// with the outcomes.
func (g *rig) run(k killed, ask, askAgain func() error) (waiting bool, first, second chan error) {
	g.t.Helper()
	first, second = make(chan error, 1), make(chan error, 1)
	r := g.successor(false)
	go func() { first <- ask() }()
	g.awaitRequest(0)
	check(g.t, r.exchange(r.steps()[:k.after]))
	die(r)
	if k.sent() {
		first <- <-first // it has its answer
	}
	if k.again {
		before := g.queued()
		go func() { second <- askAgain() }()
		g.awaitRequest(before)
	}
	return !k.sent() || k.again, first, second
}

// Wherever a gofer is killed, the sentry gets one answer to what it asked, the
// right one, and to what it asks then; and the journal tells of what it holds,
// no more and no less. What can't be repeated is done once or says EIO.
func TestKilledAtEachStep(t *testing.T) {
	for after := range len((&relay{}).steps()) + 1 {
		for _, k := range []killed{{after, false}, {after, true}} {
			for _, request := range []string{"walk", "mkdir", "close", "nothing"} {
				if !k.again || k.sent() {
					t.Run(fmt.Sprintf("%s/%d/%v", request, k.after, k.again), func(t *testing.T) { killAtStep(t, request, k) })
				}
			}
		}
	}
}

func killAtStep(t *testing.T, request string, k killed) {
	g := newRig(t)
	g.tree()
	held := map[lisafs.FDID]uint64{}
	hold := func(inodes []lisafs.Inode, names ...string) {
		t.Helper()
		if len(inodes) != len(names) {
			t.Fatalf("%d of %q were found", len(inodes), names)
		}
		for i, in := range inodes {
			if _, ok := held[in.ControlFD]; ok {
				t.Fatalf("number %d was given out twice", in.ControlFD)
			}
			held[in.ControlFD] = inode(t, g.path(names[:i+1]...))
		}
	}
	end := g.serve(g.successor(false))
	earlier, err := g.walk("a", "b")
	check(t, err)
	end()
	hold(earlier, "a", "b")

	var got, next []lisafs.Inode
	waiting, first, second := g.run(k, map[string]func() error{
		"walk": func() (err error) { got, err = g.walk("a", "b", "c"); return err },
		"mkdir": func() error {
			root := g.client.NewFD(g.root)
			_, err := root.MkdirAt(background, "new", 0o755, 0, 0)
			return err
		},
		"close":   func() error { g.client.CloseFD(background, earlier[0].ControlFD, true); return nil },
		"nothing": func() (err error) { got, err = g.walk("not there"); return err },
	}[request], func() (err error) { next, err = g.walk("a", "file"); return err })
	end = g.serve(g.successor(waiting))

	asked := <-first
	const begun, executed = 2, 3
	once := request == "mkdir" && k.after >= begun && !k.sent()
	if once && !errors.Is(asked, unix.EIO) || !once && asked != nil {
		t.Errorf("%v", asked)
	}
	switch request {
	case "walk":
		hold(got, "a", "b", "c")
	case "mkdir":
		if _, err := os.Stat(g.path("new")); (err == nil) != (k.after < begun || k.after >= executed) {
			t.Errorf("the new directory: %v", err)
		}
	case "close":
		delete(held, earlier[0].ControlFD)
	case "nothing":
		hold(got)
	}
	if k.again {
		check(t, <-second)
		hold(next, "a", "file")
	}
	later, err := g.walk("a", "b", "file")
	check(t, err)
	hold(later, "a", "b", "file")
	for id, want := range held {
		check(t, g.is(id, want))
	}
	end()
	if got, want := slices.Sorted(maps.Keys(load(t, g.journal).open)), slices.Sorted(maps.Keys(held)); !slices.Equal(got, want) {
		t.Errorf("the journal has %d, the sentry %d", got, want)
	}
}

// A gofer may be killed again and again, also while it takes over.
func TestKilledAgainAndAgain(t *testing.T) {
	g := newRig(t)
	paths := g.tree()
	held := map[lisafs.FDID]uint64{}
	rounds := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		path := paths[rounds.IntN(len(paths))]
		var got []lisafs.Inode
		k := killed{after: rounds.IntN(len((&relay{}).steps()) + 1)}
		waiting, first, _ := g.run(k, func() (err error) { got, err = g.walk(path...); return err }, nil)
		for range rounds.IntN(3) {
			r := g.gofer()
			check(t, r.settle(!waiting && g.queued() > 0))
			if rounds.IntN(2) == 0 {
				check(t, r.mountAgain())
			}
			die(r)
		}
		end := g.serve(g.successor(waiting))
		check(t, <-first)
		for i, in := range got {
			if _, ok := held[in.ControlFD]; ok {
				t.Fatalf("round %d: number %d was given out twice", round, in.ControlFD)
			}
			held[in.ControlFD] = inode(t, g.path(path[:i+1]...))
		}
		for id, want := range held {
			if err := g.is(id, want); err != nil {
				t.Fatalf("round %d, killed after %d steps: %v", round, k.after, err)
			}
			if rounds.IntN(4) == 0 {
				g.client.CloseFD(background, id, true)
				delete(held, id)
			}
		}
		end()
	}
	if got := load(t, g.journal).open; len(got) != len(held) {
		t.Errorf("the journal has %d numbers, the sentry %d", len(got), len(held))
	}
}

// What is not for sure carried out once is a list of its own; everything that
// directfs asks for can be repeated.
func TestRepeatable(t *testing.T) {
	for _, id := range []lisafs.MID{lisafs.Mount, lisafs.Walk, lisafs.OpenAt, lisafs.Close, lisafs.FGetXattr, lisafs.SetStat, lisafs.FStat} {
		if !repeatable(emptyMessage(id)) {
			t.Errorf("%d", id)
		}
	}
	for _, id := range []lisafs.MID{lisafs.OpenCreateAt, lisafs.MkdirAt, lisafs.MknodAt, lisafs.SymlinkAt, lisafs.LinkAt, lisafs.UnlinkAt, lisafs.RenameAt, lisafs.RenameAt2, lisafs.BindAt} {
		if repeatable(emptyMessage(id)) {
			t.Errorf("%d", id)
		}
	}
}
