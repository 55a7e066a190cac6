package gofer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// hostile is a sentry that was taken over, which speaks lisafs as it likes to
// the gofer of one mount.
type hostile struct {
	t       *testing.T
	gofer   *Gofer
	socket  int
	root    lisafs.FDID
	donated int // the descriptor of the root that the gofer gave it
}

func newHostile(t *testing.T, m serve.Mount) *hostile {
	t.Helper()
	h := &hostile{t: t, gofer: start(t, Config{ID: "s.app.1", Mounts: []serve.Mount{m}})}
	h.socket = int(h.gofer.Sockets[0].Fd())
	// What is never answered fails the test.
	check(t, unix.SetsockoptTimeval(h.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	id, payload, fds := h.ask(lisafs.Mount, nil)
	var r lisafs.MountResp
	if _, ok := r.CheckedUnmarshal(payload); id != lisafs.Mount || !ok || len(fds) != 1 {
		t.Fatalf("mounting: answer %d with descriptors %v", id, fds)
	}
	h.root, h.donated = r.Root.ControlFD, fds[0]
	t.Cleanup(func() { unix.Close(h.donated) })
	return h
}

func request(id lisafs.MID, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.NativeEndian.AppendUint16(b, uint16(id))
	return append(append(b, 0, 0), payload...)
}

// ask asks for something and returns the answer with its descriptors.
func (h *hostile) ask(id lisafs.MID, payload []byte) (lisafs.MID, []byte, []int) {
	h.t.Helper()
	h.say(request(id, payload))
	return h.hear()
}

func (h *hostile) say(b []byte) {
	h.t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(h.socket, b)
		if err == unix.EINTR {
			continue
		}
		check(h.t, err)
		b = b[n:]
	}
}

func (h *hostile) hear() (lisafs.MID, []byte, []int) {
	h.t.Helper()
	header, oob := make([]byte, 8), make([]byte, 256)
	n, oobn, _, _, err := unix.Recvmsg(h.socket, header, oob, unix.MSG_WAITALL|unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, oobn, _, _, err = unix.Recvmsg(h.socket, header, oob, unix.MSG_WAITALL|unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil || n != len(header) {
		h.t.Fatalf("the gofer answers %d bytes, %v; it is %s", n, err, h.alive())
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	check(h.t, err)
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		check(h.t, err)
		fds = append(fds, some...)
	}
	payload := make([]byte, binary.NativeEndian.Uint32(header))
	for rest := payload; len(rest) > 0; {
		n, err := unix.Read(h.socket, rest)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			h.t.Fatalf("the rest of an answer: %d bytes, %v", n, err)
		}
		rest = rest[n:]
	}
	return lisafs.MID(binary.NativeEndian.Uint16(header[4:])), payload, fds
}

func (h *hostile) alive() string {
	alive, err := h.gofer.Process.Liveness()
	if err != nil {
		return err.Error()
	}
	return map[observed.Liveness]string{observed.Alive: "alive", observed.Gone: "gone"}[alive]
}

// errno is what a request fails with; 0: it does not.
func (h *hostile) errno(id lisafs.MID, payload []byte) unix.Errno {
	h.t.Helper()
	got, answer, fds := h.ask(id, payload)
	for _, fd := range fds {
		unix.Close(fd)
	}
	if got == lisafs.Error {
		return unix.Errno(binary.NativeEndian.Uint32(answer))
	}
	return 0
}

type payload interface {
	SizeBytes() int
	MarshalBytes([]byte) []byte
}

func lay(p payload) []byte {
	b := make([]byte, p.SizeBytes())
	p.MarshalBytes(b)
	return b
}

// walk returns the number of what is found last; false: not all is.
func (h *hostile) walk(dir lisafs.FDID, names ...string) (lisafs.FDID, bool) {
	h.t.Helper()
	id, answer, _ := h.ask(lisafs.Walk, lay(&lisafs.WalkReq{DirFD: dir, Path: names}))
	var w lisafs.WalkResp
	if id != lisafs.Walk {
		return 0, false
	}
	if _, ok := w.CheckedUnmarshal(answer); !ok || len(w.Inodes) != len(names) {
		return 0, false
	}
	return w.Inodes[len(names)-1].ControlFD, true
}

func (h *hostile) found(names ...string) lisafs.FDID {
	h.t.Helper()
	id, ok := h.walk(h.root, names...)
	if !ok {
		h.t.Fatalf("%q is not found", names)
	}
	return id
}

// wellFormed are all requests of the protocol about an object.
func wellFormed(fd lisafs.FDID) map[lisafs.MID][]payload {
	all := map[lisafs.MID][]payload{
		lisafs.Error: {}, lisafs.Mount: {&lisafs.MountReq{}}, lisafs.Channel: {&lisafs.ChannelReq{}},
		lisafs.FStat:      {&lisafs.StatReq{FD: fd}},
		lisafs.Walk:       {&lisafs.WalkReq{DirFD: fd, Path: []string{"dir", "file"}}, &lisafs.WalkReq{DirFD: fd, Path: slices.Repeat([]string{"dir"}, 20_000)}},
		lisafs.WalkStat:   {&lisafs.WalkReq{DirFD: fd, Path: []string{"", "dir"}}},
		lisafs.OpenAt:     {&lisafs.OpenAtReq{FD: fd}, &lisafs.OpenAtReq{FD: fd, Flags: unix.O_RDWR | unix.O_TRUNC}, &lisafs.OpenAtReq{FD: fd, Flags: 1<<32 - 1}},
		lisafs.Close:      {&lisafs.CloseReq{FDs: []lisafs.FDID{1 << 63, 1<<64 - 1, 0}}},
		lisafs.FSync:      {&lisafs.FsyncReq{FDs: []lisafs.FDID{fd, 0}}},
		lisafs.PRead:      {&lisafs.PReadReq{FD: fd, Count: 10}, &lisafs.PReadReq{FD: fd, Offset: 1 << 63, Count: 1<<32 - 1}},
		lisafs.PWrite:     {&lisafs.PWriteReq{FD: fd, NumBytes: 1, Buf: []byte("x")}},
		lisafs.FStatFS:    {&lisafs.FStatFSReq{FD: fd}},
		lisafs.FAllocate:  {&lisafs.FAllocateReq{FD: fd, Length: 1}},
		lisafs.ReadLinkAt: {&lisafs.ReadLinkAtReq{FD: fd}},
		lisafs.Flush:      {&lisafs.FlushReq{FD: fd}},
		lisafs.Getdents64: {&lisafs.Getdents64Req{DirFD: fd, Count: -1000}},
		lisafs.SymlinkAt:  {&lisafs.SymlinkAtReq{DirFD: fd, Name: "new", Target: "/"}},
		lisafs.LinkAt:     {&lisafs.LinkAtReq{DirFD: fd, Target: fd, Name: "new"}},
		lisafs.UnlinkAt:   {&lisafs.UnlinkAtReq{DirFD: fd, Name: "gone"}},
		lisafs.RenameAt:   {&lisafs.RenameAtReq{OldDir: fd, NewDir: fd, OldName: "gone", NewName: "x"}},
		lisafs.RenameAt2:  {&lisafs.RenameAt2Req{RenameAtReq: lisafs.RenameAtReq{OldDir: fd, NewDir: fd, OldName: "gone", NewName: "x"}, Flags: 7}},
		lisafs.Connect:    {&lisafs.ConnectReq{FD: fd, SockType: unix.SOCK_STREAM}},
		lisafs.ConnectWithCreds: {&lisafs.ConnectWithCredsReq{ConnectReq: lisafs.ConnectReq{FD: fd, SockType: unix.SOCK_STREAM}, UID: 1000, GID: 1000},
			&lisafs.ConnectWithCredsReq{ConnectReq: lisafs.ConnectReq{FD: fd, SockType: unix.SOCK_RAW}}},
		lisafs.Listen:       {&lisafs.ListenReq{FD: fd, Backlog: -1}},
		lisafs.Accept:       {&lisafs.AcceptReq{FD: fd}},
		lisafs.FGetXattr:    {&lisafs.FGetXattrReq{FD: fd, Name: "user.a", BufSize: 10}, &lisafs.FGetXattrReq{FD: fd, Name: "user.a"}},
		lisafs.FSetXattr:    {&lisafs.FSetXattrReq{FD: fd, Name: "user.a", Value: "b"}},
		lisafs.FListXattr:   {&lisafs.FListXattrReq{FD: fd, Size: 1 << 40}},
		lisafs.FRemoveXattr: {&lisafs.FRemoveXattrReq{FD: fd, Name: "user.a"}},
	}
	for _, mask := range []uint32{unix.STATX_MODE, unix.STATX_UID | unix.STATX_GID, unix.STATX_SIZE, unix.STATX_ATIME | unix.STATX_MTIME, 1<<32 - 1} {
		all[lisafs.SetStat] = append(all[lisafs.SetStat], &lisafs.SetStatReq{FD: fd, Mask: mask, Mode: 0o7777, UID: 5, GID: 5})
	}
	for _, name := range []lisafs.SizedString{"new", "../new", "", "dir"} {
		create := &lisafs.OpenCreateAtReq{Name: name}
		create.DirFD, create.Mode = fd, 0o644
		dir := &lisafs.MkdirAtReq{Name: name}
		dir.DirFD, dir.Mode = fd, 0o755
		node := &lisafs.MknodAtReq{Name: name, Major: 1, Minor: 3}
		node.DirFD, node.Mode = fd, unix.S_IFCHR|0o666
		bind := &lisafs.BindAtReq{Name: name, SockType: unix.SOCK_STREAM}
		bind.DirFD, bind.Mode = fd, 0o7777
		all[lisafs.OpenCreateAt] = append(all[lisafs.OpenCreateAt], create)
		all[lisafs.MkdirAt] = append(all[lisafs.MkdirAt], dir)
		all[lisafs.MknodAt] = append(all[lisafs.MknodAt], node)
		all[lisafs.BindAt] = append(all[lisafs.BindAt], bind)
	}
	return all
}

// protocol is how many kinds of request there are.
const protocol = lisafs.RenameAt2 + 1

// Whatever is asked, in whatever form, about whatever there is, a gofer
// answers and lives.
func TestEveryRequest(t *testing.T) {
	for _, m := range []serve.Mount{{}, {ReadOnly: true}, {Sockets: true}, {Sockets: true, ReadOnly: true}} {
		t.Run(fmt.Sprintf("%v/%v", m.Sockets, m.ReadOnly), func(t *testing.T) {
			t.Parallel()
			m.Source = t.TempDir()
			check(t, os.MkdirAll(filepath.Join(m.Source, "dir"), 0o755))
			check(t, os.WriteFile(filepath.Join(m.Source, "file"), []byte("text"), 0o644))
			check(t, os.Symlink("file", filepath.Join(m.Source, "link")))
			check(t, unix.Mknod(filepath.Join(m.Source, "pipe"), unix.S_IFIFO|0o600, 0))
			check(t, unix.Mknod(filepath.Join(m.Source, "null"), unix.S_IFCHR|0o600, 0x103))
			check(t, unix.Mknod(filepath.Join(m.Source, "socket"), unix.S_IFSOCK|0o600, 0))
			h := newHostile(t, m)
			open := func(id lisafs.FDID, flags uint32) lisafs.FDID {
				_, answer, fds := h.ask(lisafs.OpenAt, lay(&lisafs.OpenAtReq{FD: id, Flags: flags}))
				for _, fd := range fds {
					unix.Close(fd)
				}
				var r lisafs.OpenAtResp
				if _, ok := r.CheckedUnmarshal(answer); !ok {
					t.Fatal("it opens nothing")
				}
				return r.OpenFD
			}
			write := uint32(unix.O_RDWR)
			if m.ReadOnly {
				write = unix.O_RDONLY
			}
			objects := []lisafs.FDID{0, h.root, open(h.root, unix.O_RDONLY), open(h.found("file"), write), 1 << 62, 1 << 63, 1<<64 - 1}
			for _, name := range []string{"dir", "file", "link", "pipe", "null", "socket"} {
				objects = append(objects, h.found(name))
			}
			random := rand.New(rand.NewPCG(1, 2))
			for _, fd := range objects {
				all := wellFormed(fd)
				for id := range protocol + 3 {
					if _, ok := all[id]; !ok && id < protocol {
						t.Fatalf("request %d is not tried", id)
					}
					for _, p := range all[id] {
						whole := lay(p)
						h.errno(id, whole)
						for _, n := range []int{0, 7, 8, len(whole) - 1} {
							if n >= 0 && n < len(whole) {
								h.errno(id, whole[:n])
							}
						}
						h.errno(id, append(bytes.Clone(whole), "more than there should be"...))
						for range 2 {
							other := bytes.Clone(whole)
							for range 3 {
								if len(other) > 8 { // the object is what it was
									other[8+random.IntN(len(other)-8)] = byte(random.Uint32())
								}
							}
							h.errno(id, other)
						}
					}
					h.errno(id, bytes.Repeat([]byte{0xff}, 64))
				}
			}
			h.found("dir")
			if m.ReadOnly {
				if b, err := os.ReadFile(filepath.Join(m.Source, "file")); string(b) != "text" || err != nil {
					t.Errorf("a file of a read-only mount holds %q, %v", b, err)
				}
			}
		})
	}
}

// What a sentry that works on descriptors by itself never asks for is refused.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	h := newHostile(t, serve.Mount{Source: dir, Sockets: true})
	all := wellFormed(h.found("file"))
	for _, id := range []lisafs.MID{
		lisafs.Channel, lisafs.WalkStat, lisafs.OpenCreateAt, lisafs.MkdirAt, lisafs.MknodAt, lisafs.SymlinkAt, lisafs.LinkAt,
		lisafs.FStatFS, lisafs.FAllocate, lisafs.ReadLinkAt, lisafs.Flush, lisafs.Connect, lisafs.UnlinkAt, lisafs.RenameAt, lisafs.RenameAt2,
		lisafs.Getdents64, lisafs.FGetXattr, lisafs.FSetXattr, lisafs.FListXattr, lisafs.FRemoveXattr,
	} {
		if err := h.errno(id, lay(all[id][0])); err != unix.EOPNOTSUPP {
			t.Errorf("request %d: %v", id, err)
		}
	}
	for _, mask := range []uint32{unix.STATX_SIZE, unix.STATX_ATIME, unix.STATX_MTIME | unix.STATX_MODE} {
		if err := h.errno(lisafs.SetStat, lay(&lisafs.SetStatReq{FD: h.found("file"), Mask: mask})); err != unix.EOPNOTSUPP {
			t.Errorf("setting %#x: %v", mask, err)
		}
	}
}

// A request that never gets whole, or says that it is larger than any, costs
// its own mount alone.
func TestHalfARequest(t *testing.T) {
	for _, said := range [][]byte{{1}, request(lisafs.Walk, make([]byte, 100))[:50], {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, {0, 0, 16, 0, 0, 0, 0, 0, 1}} {
		g := start(t, Config{ID: "s.app.1", Mounts: []serve.Mount{{Source: t.TempDir()}, {Source: t.TempDir()}}})
		_, err := g.Sockets[0].Write(said)
		check(t, err)
		h := &hostile{t: t, gofer: g, socket: int(g.Sockets[1].Fd())}
		check(t, unix.SetsockoptTimeval(h.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		if err := h.errno(lisafs.Mount, nil); err != 0 {
			t.Errorf("after %q on another socket: %v", said, err)
		}
	}
}

// Requests that nobody answers show from outside, and those do not that are not
// whole, or whose sentry does not read its answers.
func TestWaiting(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o644))
	h := newHostile(t, serve.Mount{Source: dir})
	stat := request(lisafs.FStat, lay(&lisafs.StatReq{FD: h.root}))
	is := func(when string, answered uint64, want bool) {
		t.Helper()
		var served uint64
		var waits, works bool
		for since := time.Now(); time.Since(since) < 10*time.Second; time.Sleep(time.Millisecond) {
			var err, workErr error
			served, waits, err = h.gofer.Kept.Waiting()
			works, workErr = Works(h.gofer.Process)
			check(t, errors.Join(err, workErr))
			if waits == want && served == answered && !works {
				return
			}
		}
		t.Errorf("%s: %d were answered, waits %v, works %v; want %d, %v, false", when, served, waits, works, answered, want)
	}
	is("mounted", 1, false)
	h.say(stat[:10])
	is("half a request", 1, false)
	h.say(stat[10:])
	h.hear()
	is("the rest of it", 2, false)
	check(t, h.gofer.Process.Signal(unix.SIGSTOP))
	for {
		stopped, err := h.gofer.Process.Stopped()
		check(t, err)
		if stopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	h.say(stat)
	is("stopped", 2, true)
	check(t, h.gofer.Process.Signal(unix.SIGCONT))
	h.hear()
	is("going on", 3, false)
	_, answer, fds := h.ask(lisafs.OpenAt, lay(&lisafs.OpenAtReq{FD: h.found("file")}))
	unix.Close(fds[0])
	var r lisafs.OpenAtResp
	r.CheckedUnmarshal(answer)
	for range 10 {
		h.say(request(lisafs.PRead, lay(&lisafs.PReadReq{FD: r.OpenFD, Count: 1 << 19})))
	}
	var served uint64
	for last := uint64(1); served != last; time.Sleep(50 * time.Millisecond) {
		last = served
		var err error
		served, _, err = h.gofer.Kept.Waiting()
		check(t, err)
	}
	is("answers that nobody reads", served, false)
}

// Nothing outside of its mount is there for a hostile sentry, whatever it asks
// and whatever is put into the mount meanwhile.
func TestNothingOutside(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "mount"), filepath.Join(top, "outside")
	check(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	check(t, os.MkdirAll(filepath.Join(outside, "b"), 0o755))
	check(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	check(t, os.Symlink("nowhere", filepath.Join(outside, "b", "l")))
	check(t, unix.Lsetxattr(filepath.Join(outside, "b", "l"), "trusted.secret", []byte("secret"), 0))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "a", "b", "l")))
	for name, to := range map[string]string{
		"absolute": outside, "up": "..", "beside": "../outside", "file": filepath.Join(outside, "secret"), "fds": "/fd", "proc": "/proc/self/root", "root": "/",
	} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	h := newHostile(t, serve.Mount{Source: dir})
	for _, path := range [][]string{
		{".."}, {"."}, {""}, {"/"}, {outside}, {"../outside"}, {"a/../.."}, {"a", "..", "..", "outside"}, {"..", "outside", "secret"}, {"a\x00"}, {"/etc/passwd"},
		{"absolute", "secret"}, {"up", "outside"}, {"beside", "secret"}, {"fds", "0"}, {"proc", "etc"}, {"root", "etc"}, {strings.Repeat("n", 300)},
	} {
		if id, ok := h.walk(h.root, path...); ok {
			t.Errorf("%q is found as %d", path, id)
		}
	}
	for _, name := range []string{"absolute", "up", "beside", "file", "fds", "proc", "root"} {
		if err := h.errno(lisafs.OpenAt, lay(&lisafs.OpenAtReq{FD: h.found(name)})); err == 0 {
			t.Errorf("link %s is opened", name)
		}
	}
	// A directory on the way to what it has a number of becomes a link.
	link := h.found("a", "b", "l")
	check(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "z")))
	for _, to := range []string{outside, "../outside", "/fd"} {
		check(t, os.Symlink(to, filepath.Join(dir, "a")))
		if err := h.errno(lisafs.FGetXattr, lay(&lisafs.FGetXattrReq{FD: link, Name: "trusted.secret", BufSize: 100})); err == 0 {
			t.Errorf("an attribute is read through a link to %s", to)
		}
		h.errno(lisafs.FSetXattr, lay(&lisafs.FSetXattrReq{FD: link, Name: "trusted.secret", Value: "mine"}))
		h.errno(lisafs.FRemoveXattr, lay(&lisafs.FRemoveXattrReq{FD: link, Name: "trusted.secret"}))
		check(t, os.Remove(filepath.Join(dir, "a")))
	}
	value := make([]byte, 100)
	if n, err := unix.Lgetxattr(filepath.Join(outside, "b", "l"), "trusted.secret", value); err != nil || string(value[:n]) != "secret" {
		t.Errorf("an attribute outside is %q, %v", value[:n], err)
	}
	// The descriptor that it was given leads no further up than the gofer's own
	// root.
	up := h.donated
	for range 5 {
		next, err := unix.Openat(up, "..", unix.O_PATH|unix.O_CLOEXEC, 0)
		check(t, err)
		defer unix.Close(next)
		for _, name := range []string{"outside", "etc", "usr", "proc"} {
			if fd, err := unix.Openat(next, name, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				unix.Close(fd)
				t.Errorf("%s is found above its mount", name)
			}
		}
		up = next
	}
}

// A read-only mount stays so, whatever a hostile sentry asks, and does with
// what it was given.
func TestReadOnlyStays(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644))
	check(t, os.Symlink("file", filepath.Join(dir, "link")))
	h := newHostile(t, serve.Mount{Source: dir, ReadOnly: true, Sockets: true})
	file := h.found("file")
	for _, flags := range []uint32{unix.O_WRONLY, unix.O_RDWR, unix.O_TRUNC, unix.O_RDONLY | unix.O_TRUNC} {
		if err := h.errno(lisafs.OpenAt, lay(&lisafs.OpenAtReq{FD: file, Flags: flags})); err != unix.EROFS {
			t.Errorf("opening it with %#x: %v", flags, err)
		}
	}
	if err := h.errno(lisafs.SetStat, lay(&lisafs.SetStatReq{FD: file, Mask: unix.STATX_MODE, Mode: 0o777})); err != unix.EROFS {
		t.Errorf("changing its mode: %v", err)
	}
	if err := h.errno(lisafs.FSetXattr, lay(&lisafs.FSetXattrReq{FD: h.found("link"), Name: "trusted.a", Value: "b"})); err != unix.EROFS {
		t.Errorf("setting an attribute: %v", err)
	}
	bind := &lisafs.BindAtReq{Name: "s", SockType: unix.SOCK_STREAM}
	bind.DirFD = h.root
	if err := h.errno(lisafs.BindAt, lay(bind)); err != unix.EROFS {
		t.Errorf("binding: %v", err)
	}
	if fd, err := unix.Openat(h.donated, "file", unix.O_RDWR|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("with the descriptor of the directory: %d, %v", fd, err)
	}
	if err := unix.Mkdirat(h.donated, "new", 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("with the descriptor of the directory: %v", err)
	}
}

// No mount of a gofer lets set-ID programs or devices of what it serves count.
func TestMountFlags(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	check(t, os.Mkdir(inner, 0o755))
	check(t, unix.Mount("inner", inner, "tmpfs", 0, "size=4k"))
	t.Cleanup(func() { check(t, unix.Unmount(inner, unix.MNT_DETACH)) })
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o644))
	g := start(t, Config{ID: "s.app.1", Mounts: []serve.Mount{{Source: dir}, {Source: dir, ReadOnly: true, Sockets: true}, {Source: file}}})
	proc := fmt.Sprintf("/proc/%d/", g.Process.PID)
	for _, path := range []string{"root", "root/0", "root/0/inner", "root/1", "root/1/inner", "root/2", "cwd", "cwd/fd"} {
		var st unix.Statfs_t
		check(t, unix.Statfs(proc+path, &st))
		const never = unix.ST_NOSUID | unix.ST_NODEV
		if st.Flags&never != never {
			t.Errorf("%s has the flags %#x", path, st.Flags)
		}
		if readOnly := st.Flags&unix.ST_RDONLY != 0; strings.HasPrefix(path, "root/1") && !readOnly || strings.HasPrefix(path, "cwd") && !readOnly {
			t.Errorf("%s can be written", path)
		}
	}
}

// A gofer that is asked for more than it may have open refuses that, and serves
// on when some of it was closed.
func TestTooManyNumbers(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 100)), 0o755))
	h := newHostile(t, serve.Mount{Source: dir})
	check(t, unix.Prlimit(h.gofer.Process.PID, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 350, Max: 350}, nil))
	path := slices.Repeat([]string{"d"}, 100)
	var held []lisafs.FDID
	for {
		id, answer, _ := h.ask(lisafs.Walk, lay(&lisafs.WalkReq{DirFD: h.root, Path: path}))
		if id == lisafs.Error {
			break
		}
		var w lisafs.WalkResp
		w.CheckedUnmarshal(answer)
		for _, i := range w.Inodes {
			held = append(held, i.ControlFD)
		}
	}
	if len(held) != 300 {
		t.Errorf("it gave out %d numbers", len(held))
	}
	if err := h.errno(lisafs.Close, lay(&lisafs.CloseReq{FDs: held})); err != 0 {
		t.Error(err)
	}
	h.found(path...)
}
