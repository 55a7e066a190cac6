package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"

	"sandboxer/internal/memfd"
)

// fuzzed is a mount that fuzzers work on, with what is outside of it. What costs
// more to make than to use is made once: a journal, and the buffers of a client.
type fuzzed struct {
	top, mount, secret string
	outside            [2]unix.Stat_t // top and secret as they are to stay
	file               *os.File       // the journal
	b                  []byte         // it
	data, oob, said    []byte
	kept               *lisafs.Connection
	numbers            [64]unix.PollFd
}

const secret = "nobody in the mount may see this"

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	z := &fuzzed{top: inMemory(f), data: make([]byte, 1<<16), oob: make([]byte, unix.CmsgSpace(4*MaxFDs))}
	z.mount, z.secret = filepath.Join(z.top, "mount"), filepath.Join(z.top, "secret")
	must(f, os.WriteFile(z.secret, []byte(secret), 0o600))
	z.reset(f)
	var err error
	z.file, err = memfd.Shared("fuzzed journal")
	must(f, err)
	j, err := mapJournal(z.file)
	must(f, err)
	z.b = j.b
	z.kept = z.connect(f)
	f.Cleanup(z.kept.Run)
	f.Cleanup(j.close)
	return z
}

// inMemory is a directory for which no disk is written, if there is one: fuzzing
// waits for nothing else.
func inMemory(f *testing.F) string {
	f.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
	if err != nil {
		return f.TempDir()
	}
	f.Cleanup(func() { must(f, os.RemoveAll(dir)) })
	return dir
}

func must(t testing.TB, err error) {
	if err != nil {
		t.Helper() // which looks at the stack: not in all that fuzzers do
		t.Fatal(err)
	}
}

// reset puts into the mount what is there at first, and nothing else. It leaves
// what is outside with a time of long ago, so that any change of it shows.
func (z *fuzzed) reset(t testing.TB) {
	must(t, os.RemoveAll(z.mount))
	must(t, os.MkdirAll(filepath.Join(z.mount, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(z.mount, "a", "f"), []byte("text"), 0o644))
	must(t, os.Symlink("../secret", filepath.Join(z.mount, "l")))
	for _, path := range []string{z.top, z.secret} {
		must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	}
	z.outside = z.lookOutside(t)
}

func (z *fuzzed) lookOutside(t testing.TB) (now [2]unix.Stat_t) {
	for i, path := range []string{z.top, z.secret} {
		must(t, unix.Lstat(path, &now[i]))
		now[i].Atim, now[i].Ctim = unix.Timespec{}, unix.Timespec{}
	}
	return now
}

// start makes a relay of the mount with the journal as it is, and returns it
// with the client's end of its socket. No end is known to Go's poller: a relay
// that would have to wait says that it can't.
//
// To make a connection and to end it takes longer than what most inputs ask for.
// Unless anew is set, it is one that has nothing open, see end.
func (z *fuzzed) start(t testing.TB, withSockets, anew bool) (*relay, int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
	connection := z.kept
	if anew {
		connection = z.connect(t)
	}
	r := &relay{socket: os.NewFile(uintptr(pair[0]), "fuzzed"), journal: &journal{file: z.file, b: z.b},
		connection: connection, handlers: served(), requests: make([]byte, 4096)}
	r.conn, err = r.socket.SyscallConn()
	must(t, err)
	if withSockets {
		r.sockets = &sockets{path: "/proc/self/fd", bound: map[lisafs.FDID]int{}}
	}
	return r, pair[1]
}

func (z *fuzzed) connect(t testing.TB) *lisafs.Connection {
	c, err := newConnection(lisafs.NewServer(), z.mount, false)
	must(t, err)
	return c
}

// end has a relay close all but the journal, and, where its connection is kept,
// that as if it were new.
func (z *fuzzed) end(t *testing.T, r *relay) {
	r.journal = &journal{}
	if r.connection != z.kept {
		r.close()
		return
	}
	if open := reflect.ValueOf(r.connection).Elem().FieldByName("fds"); open.Len() > 0 {
		var ids []lisafs.FDID
		for _, id := range open.MapKeys() {
			ids = append(ids, lisafs.FDID(id.Uint()))
		}
		_, err := r.must(closeRequest(ids))
		must(t, err)
	}
	setNextNumber(r.connection, lisafs.InvalidFDID+1)
	r.socket.Close()
	if r.sockets != nil {
		for _, fd := range r.sockets.bound {
			unix.Close(fd)
		}
	}
}

// holds fails where a number of the relay's stands for another object than its
// journal says.
func (z *fuzzed) holds(t *testing.T, r *relay) {
	for id := range r.journal.open {
		z.held(t, r, id)
	}
	z.held(t, r, r.journal.root())
}

func (z *fuzzed) held(t *testing.T, r *relay, id lisafs.FDID) {
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

// hear reads what waits at the client's end, up to the first descriptors, and fails
// where one is of something that is not of the mount. It says whether there may be
// more.
func (z *fuzzed) hear(t *testing.T, client int) bool {
	n, oobn, flags, _, err := unix.Recvmsg(client, z.data, z.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil || n == 0 {
		return false
	}
	if oobn > 0 {
		fds, err := parseFDs(z.oob[:oobn])
		must(t, err)
		for _, fd := range fds {
			to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
			must(t, err)
			if to != z.mount && !strings.HasPrefix(to, z.mount+"/") && !strings.HasPrefix(to, "socket:") {
				t.Errorf("it gave out %s", to)
			}
		}
		closeAll(fds)
	}
	if flags&unix.MSG_CTRUNC != 0 {
		t.Error("an answer has more descriptors than any should")
	}
	z.said = append(z.said, z.data[:n]...)
	return true
}

// answers reads all that waits at the client's end, and fails where all that was
// heard is no sound answers, or something that is not of the mount.
func (z *fuzzed) answers(t *testing.T, client int) {
	for z.hear(t, client) {
	}
	all := z.said
	z.said = z.said[:0]
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

// descriptors are this process's, one bit each, as far as they are among the first
// numbers: what is opened gets the lowest that is free. poll says of all at once
// which are descriptors.
func (z *fuzzed) descriptors(t *testing.T) (all uint64) {
	for i := range z.numbers {
		z.numbers[i] = unix.PollFd{Fd: int32(i)}
	}
	_, err := retry(func() (int, error) { return unix.Poll(z.numbers[:], 0) })
	must(t, err)
	for i, n := range z.numbers {
		if n.Revents&unix.POLLNVAL == 0 {
			all |= 1 << i
		}
	}
	return all
}

// closed fails where a descriptor is left.
func (z *fuzzed) closed(t *testing.T, before uint64) {
	if left := z.descriptors(t) &^ before; left != 0 {
		n := bits.TrailingZeros64(left)
		to, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(n))
		t.Errorf("descriptor %d is left, of %s", n, to)
	}
}

// What a fuzzer's first byte says of how the rest is sent.
const (
	inPieces = 1 << iota
	withDescriptors
	withSockets
	thenAnother // another gofer takes over in the end
)

// anew says whether each gofer has a connection of its own, which ends with it.
func anew(how byte) bool { return how>>4 == 0 }

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
		before := z.descriptors(t)
		clear(z.b[:logStart])
		r, client := z.start(t, how&withSockets != 0, anew(how))
		must(t, r.journal.load())
		z.say(t, client, said, how)
		z.run(t, r, client)
		z.answers(t, client)
		unix.Close(client)
		if how&thenAnother != 0 {
			next, client := z.start(t, how&withSockets != 0, anew(how))
			must(t, next.journal.load())
			must(t, next.inherit(nil))
			if err := next.takeOver(false); err != nil {
				t.Errorf("another gofer does not take over: %v", err)
			}
			z.holds(t, next)
			z.end(t, next)
			unix.Close(client)
		}
		z.closed(t, before)
		if now := z.lookOutside(t); now != z.outside {
			t.Errorf("outside of the mount, %+v became %+v", z.outside, now)
		}
		if r.sockets != nil && r.sockets.next > 0 {
			z.reset(t)
		}
	})
}

// say sends all, if in pieces each of twice as many bytes as the last, and hangs up.
func (z *fuzzed) say(t *testing.T, client int, said []byte, how byte) {
	var rights []byte
	if how&withDescriptors != 0 {
		rights = unix.UnixRights(0, 0)
	}
	size := len(said)
	if how&inPieces != 0 {
		size = 5
	}
	for ; len(said) > 0; size *= 2 {
		size = min(size, len(said))
		must(t, unix.Sendmsg(client, said[:size], rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT))
		said = said[size:]
	}
	must(t, unix.Shutdown(client, unix.SHUT_WR))
}

// run does what relay.run does, and reads answers before they fill the socket:
// nobody else would.
func (z *fuzzed) run(t *testing.T, r *relay, client int) {
	defer z.end(t, r)
	steps := r.steps()
	for n := 1; ; n++ {
		if err := r.exchange(steps); errors.Is(err, errGone) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for more := n%64 == 0 || len(r.reply) > len(z.data)/8; more; {
			more = z.hear(t, client)
		}
	}
}

// most is the longest log that is tried.
const most = 1 << 12

// fill writes a journal.
func (z *fuzzed) fill(header, log []byte) {
	rest := z.b[:logStart]
	clear(rest[copy(rest, header):])
	for half := range 2 {
		rest := z.b[logStart+half*halfBytes:][:most]
		clear(rest[copy(rest, log):])
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
	last := appendEntry(nil, given(math.MaxUint64, "a"))
	f.Add(header(journalVersion, 0, uint64(len(last)), 0), last)
	f.Fuzz(func(t *testing.T, header, log []byte) {
		if len(header) > logStart || len(log) > most {
			return
		}
		before := z.descriptors(t)
		z.fill(header, log)
		_, unread := ReadProgress(z.file)
		if all, err := BoundSockets(z.file); err != nil || len(all) > boundMax {
			t.Errorf("%d sockets are bound, %v", len(all), err)
		}
		if (&journal{file: z.file, b: z.b}).load() != nil {
			return // which is what most inputs come to
		}
		if unread != nil {
			t.Errorf("it is read, but not how far it is: %v", unread)
		}
		r, client := z.start(t, true, false)
		must(t, r.journal.load())
		if r.inherit(nil) == nil && r.takeOver(false) == nil {
			z.holds(t, r)
		}
		z.end(t, r)
		unix.Close(client)
		z.closed(t, before)
	})
}
