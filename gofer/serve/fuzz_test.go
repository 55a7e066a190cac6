package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"

	"sandboxer/internal/memfd"
)

// fuzzed is a mount that fuzzers work on, with what is outside of it.
type fuzzed struct {
	top, mount, secret string
	journal            *os.File
}

const secret = "nobody in the mount may see this"

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	z := &fuzzed{top: f.TempDir()}
	z.mount, z.secret = filepath.Join(z.top, "mount"), filepath.Join(z.top, "secret")
	z.reset(f)
	must(f, os.WriteFile(z.secret, []byte(secret), 0o600))
	var err error
	z.journal, err = memfd.Shared("fuzzed journal")
	must(f, err)
	f.Cleanup(func() { z.journal.Close() })
	return z
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reset puts into the mount what is there at first, and nothing else.
func (z *fuzzed) reset(t testing.TB) {
	t.Helper()
	must(t, os.RemoveAll(z.mount))
	must(t, os.MkdirAll(filepath.Join(z.mount, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(z.mount, "a", "f"), []byte("text"), 0o644))
	must(t, os.Symlink("../secret", filepath.Join(z.mount, "l")))
}

// start makes a relay of the mount with the journal as it is, and returns it
// with the client's end of its socket.
func (z *fuzzed) start(t testing.TB, withSockets bool) (*relay, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	for _, fd := range pair {
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
	}
	connection, err := newConnection(lisafs.NewServer(), z.mount, false)
	must(t, err)
	journal, err := unix.FcntlInt(z.journal.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	r, err := newRelay(os.NewFile(uintptr(pair[0]), "fuzzed"), os.NewFile(uintptr(journal), "journal"), connection)
	must(t, err)
	if withSockets {
		r.sockets = &sockets{path: "/proc/self/fd", bound: map[lisafs.FDID]int{}}
	}
	return r, pair[1]
}

// holds fails where a number of the relay's stands for another object than its
// journal says.
func (z *fuzzed) holds(t *testing.T, r *relay) {
	t.Helper()
	for id := range r.journal.open {
		z.held(t, r, id)
	}
	z.held(t, r, r.journal.root())
}

func (z *fuzzed) held(t *testing.T, r *relay, id lisafs.FDID) {
	t.Helper()
	fd, ok := hostFD(r.connection, id)
	if !ok {
		return // EBADF
	}
	var st unix.Statx_t
	must(t, unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO, &st))
	o, _ := r.journal.object(id)
	if device := uint64(st.Dev_major)<<32 | uint64(st.Dev_minor); st.Ino != o.inode || device != o.device {
		t.Fatalf("number %d stands for inode %d of %#x, the journal has %d of %#x", id, st.Ino, device, o.inode, o.device)
	}
}

// answers reads all that waits at the client's end, and fails where it is no
// sound answer, or something that is not of the mount.
func (z *fuzzed) answers(t *testing.T, client int) {
	t.Helper()
	b, oob := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4*MaxFDs))
	var all []byte
	for {
		n, oobn, flags, _, err := unix.Recvmsg(client, b, oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil || n == 0 {
			break
		}
		fds, err := parseFDs(oob[:oobn])
		must(t, err)
		for _, fd := range fds {
			to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
			must(t, err)
			if to != z.mount && !strings.HasPrefix(to, z.mount+"/") && !strings.HasPrefix(to, "socket:") {
				t.Errorf("it gave out %s", to)
			}
		}
		closeAll(fds)
		if flags&unix.MSG_CTRUNC != 0 {
			t.Error("an answer has more descriptors than any should")
		}
		all = append(all, b[:n]...)
	}
	if bytes.Contains(all, []byte(secret)) {
		t.Error("it read what is outside of the mount")
	}
	for len(all) > 0 {
		if len(all) < headerSize {
			t.Fatalf("an answer is cut off: %q", all)
		}
		size, err := messageSize(all)
		if err != nil || size > len(all) {
			t.Fatalf("an answer of %d bytes has %d, %v", size, len(all), err)
		}
		all = all[size:]
	}
}

// free is the lowest number that no descriptor has, by which one that is left
// open shows.
func free(t *testing.T) int {
	t.Helper()
	fd, err := unix.Dup(0)
	must(t, err)
	unix.Close(fd)
	return fd
}

// What a fuzzer's first byte says of how the rest is sent.
const (
	inPieces = 1 << iota
	withDescriptors
	withSockets
	thenAnother // another gofer takes over in the end
)

// Whatever a sentry that was taken over sends, the relay answers in whole
// messages until that one goes, holds no descriptor then, and has touched
// nothing outside of the mount. The next gofer means the same by all numbers.
func FuzzRelay(f *testing.F) {
	z := newFuzzed(f)
	seed := func(how byte, requests ...[]byte) { f.Add(append([]byte{how}, bytes.Join(requests, nil)...)) }
	asked := func(id lisafs.MID, p interface {
		SizeBytes() int
		MarshalBytes([]byte) []byte
	}) []byte {
		return newMessage(id, p.SizeBytes(), func(b []byte) { p.MarshalBytes(b) })
	}
	mount := emptyMessage(lisafs.Mount)
	bind := &lisafs.BindAtReq{SockType: unix.SOCK_STREAM, Name: "s"}
	bind.DirFD = 1
	seed(0, []byte("\xff\xff\xff\xff\x05\x00\x00\x00"))
	seed(thenAnother, mount, walkRequest(1, []string{"a", "f"}), asked(lisafs.OpenAt, &lisafs.OpenAtReq{FD: 3, Flags: unix.O_RDWR}),
		asked(lisafs.PWrite, &lisafs.PWriteReq{FD: 4, NumBytes: 1, Buf: []byte("x")}), asked(lisafs.PRead, &lisafs.PReadReq{FD: 4, Count: 4}),
		asked(lisafs.FSync, &lisafs.FsyncReq{FDs: []lisafs.FDID{4}}), closeRequest([]lisafs.FDID{4, 3}), walkRequest(1, []string{"a", "b"}))
	seed(thenAnother|inPieces|withDescriptors, mount, walkRequest(1, []string{"l"}), asked(lisafs.FGetXattr, &lisafs.FGetXattrReq{FD: 2, Name: "user.a"}),
		asked(lisafs.FListXattr, &lisafs.FListXattrReq{FD: 2}), asked(lisafs.FStat, &lisafs.StatReq{FD: 2}), asked(lisafs.SetStat, &lisafs.SetStatReq{FD: 2, Mask: unix.STATX_MODE, Mode: 0o700}))
	seed(thenAnother|withSockets, mount, asked(lisafs.BindAt, bind), asked(lisafs.Listen, &lisafs.ListenReq{FD: boundNumbers + 1, Backlog: 1}),
		asked(lisafs.ConnectWithCreds, &lisafs.ConnectWithCredsReq{ConnectReq: lisafs.ConnectReq{FD: 2, SockType: unix.SOCK_STREAM}}), asked(lisafs.Accept, &lisafs.AcceptReq{FD: boundNumbers + 1}))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 1<<14 {
			return
		}
		how, said := input[0], input[1:]
		before := free(t)
		must(t, z.journal.Truncate(0))
		r, client := z.start(t, how&withSockets != 0)
		must(t, r.journal.load())
		z.say(t, client, said, how)
		z.run(t, r, client)
		z.answers(t, client)
		unix.Close(client)
		if how&thenAnother != 0 {
			next, client := z.start(t, how&withSockets != 0)
			must(t, next.journal.load())
			must(t, next.inherit(nil))
			if err := next.takeOver(false); err != nil {
				t.Errorf("another gofer does not take over: %v", err)
			}
			z.holds(t, next)
			next.close()
			unix.Close(client)
		}
		if after := free(t); after != before {
			t.Errorf("descriptor %d is left", before)
		}
		if b, err := os.ReadFile(z.secret); err != nil || string(b) != secret {
			t.Errorf("the secret became %q, %v", b, err)
		}
		if entries, err := os.ReadDir(z.top); err != nil || len(entries) != 2 {
			t.Errorf("beside the mount there are %v, %v", entries, err)
		}
		if r.sockets != nil && r.sockets.next > 0 {
			z.reset(t)
		}
	})
}

// say sends all and hangs up.
func (z *fuzzed) say(t *testing.T, client int, said []byte, how byte) {
	t.Helper()
	var rights []byte
	if how&withDescriptors != 0 {
		rights = unix.UnixRights(0, 0)
	}
	for size := len(said); len(said) > 0; said = said[size:] {
		if how&inPieces != 0 {
			size = min(5, len(said))
		}
		must(t, unix.Sendmsg(client, said[:size], rights, nil, unix.MSG_NOSIGNAL))
	}
	must(t, unix.Shutdown(client, unix.SHUT_WR))
}

// run does what relay.run does, and reads the answers: nobody else would.
func (z *fuzzed) run(t *testing.T, r *relay, client int) {
	t.Helper()
	defer r.close()
	for steps := r.steps(); ; z.answers(t, client) {
		if err := r.exchange(steps); errors.Is(err, errGone) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is in a journal, a gofer that reads it means no other object by a
// number than the journal says, or refuses it.
func FuzzJournal(f *testing.F) {
	z := newFuzzed(f)
	header := func(version, half, end, state uint64) []byte {
		b := make([]byte, headerBytes)
		le := binary.LittleEndian
		var st unix.Statx_t
		must(f, unix.Statx(unix.AT_FDCWD, z.mount, 0, unix.STATX_INO, &st))
		for at, v := range map[int]uint64{
			atVersion: version, atDevice: uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), atInode: st.Ino, atRoot: 1, atHalf1: half, atEnd1: end, atState1: state,
			atProgress: progress{state: state, half: half, end: end}.word(),
		} {
			le.PutUint64(b[at:], v)
		}
		return b
	}
	log := appendEntry(appendEntry(nil, given(2, "a")), given(3, "a/f"))
	for version := range uint64(3) {
		for state := range uint64(8) {
			f.Add(header(version, 0, uint64(len(log)), state), log)
		}
	}
	f.Add(bytes.Repeat([]byte{0xff}, headerBytes), log)
	f.Fuzz(func(t *testing.T, header, log []byte) {
		if len(header) > logStart || len(log) > 1<<12 {
			return
		}
		before := free(t)
		must(t, z.journal.Truncate(0))
		for at, b := range map[int64][]byte{0: header, logStart: log, logStart + halfBytes: log} {
			_, err := z.journal.WriteAt(b, at)
			must(t, err)
		}
		_, unread := ReadProgress(z.journal)
		if all, err := BoundSockets(z.journal); err != nil || len(all) > boundMax {
			t.Errorf("%d sockets are bound, %v", len(all), err)
		}
		r, client := z.start(t, true)
		if err := r.journal.load(); err == nil {
			if unread != nil {
				t.Errorf("it is read, but not how far it is: %v", unread)
			}
			if r.inherit(nil) == nil && r.takeOver(false) == nil {
				z.holds(t, r)
			}
		}
		r.close()
		unix.Close(client)
		if after := free(t); after != before {
			t.Errorf("descriptor %d is left", before)
		}
	})
}
