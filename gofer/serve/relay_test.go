package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// nonblocking returns a file of the same socket that waits in Go's poller.
func nonblocking(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	f.Close()
	n := os.NewFile(uintptr(fd), f.Name())
	t.Cleanup(func() { n.Close() })
	return n
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	a, b, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	return nonblocking(t, a), nonblocking(t, b)
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "journal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func message(payload string) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(len(payload)))
	binary.NativeEndian.PutUint16(b[4:], 7)
	return append(b, payload...)
}

func read(t *testing.T, f *os.File, n int) []byte {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// pending is how many bytes wait in the socket's queue.
func pending(t *testing.T, f *os.File) int {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if cerr := conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return n
}

func startRelay(t *testing.T) (sentry, gofer, server *os.File, ended chan error) {
	t.Helper()
	sentry, gofer = pair(t)
	server, inner := pair(t)
	r, err := newRelay(gofer, inner, tempFile(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.openJournal(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- r.run() }()
	return sentry, gofer, server, ended
}

// A request stays in the sentry's socket until its answer was sent, so that
// whoever takes the socket over finds it.
func TestRequestStaysUntilAnswered(t *testing.T) {
	sentry, gofer, server, _ := startRelay(t)
	request := message("a question")
	if _, err := sentry.Write(request); err != nil {
		t.Fatal(err)
	}
	if got := read(t, server, len(request)); !bytes.Equal(got, request) {
		t.Fatalf("the server got %q, want %q", got, request)
	}
	if n := pending(t, gofer); n != len(request) {
		t.Errorf("%d bytes wait in the sentry's socket while the request is served, want %d", n, len(request))
	}
	answer := message("an answer that is longer than the question was")
	if _, err := server.Write(answer); err != nil {
		t.Fatal(err)
	}
	if got := read(t, sentry, len(answer)); !bytes.Equal(got, answer) {
		t.Fatalf("the sentry got %q, want %q", got, answer)
	}
	// The next request is answered too, so the first one was consumed.
	second := message("another")
	if _, err := sentry.Write(second); err != nil {
		t.Fatal(err)
	}
	if got := read(t, server, len(second)); !bytes.Equal(got, second) {
		t.Errorf("the server got %q as the second request, want %q", got, second)
	}
}

// Messages larger than any buffer, and that come in pieces, arrive whole.
func TestLargeMessageInPieces(t *testing.T) {
	sentry, _, server, _ := startRelay(t)
	request := message(string(bytes.Repeat([]byte{1}, int(lisafs.MaxMessageSize()))))
	go func() {
		for rest := request; len(rest) > 0; {
			n := min(len(rest), 10_007)
			if _, err := sentry.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	if got := read(t, server, len(request)); !bytes.Equal(got, request) {
		t.Error("a large request arrived changed")
	}
}

// Descriptors of an answer arrive with it; those of a request do not.
func TestDescriptorsGoOneWay(t *testing.T) {
	sentry, _, server, _ := startRelay(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	rights := unix.UnixRights(int(null.Fd()))
	request, answer := message("q"), message("a")

	control(t, sentry, func(fd int) error { return unix.Sendmsg(fd, request, rights, nil, 0) })
	oob := make([]byte, 256)
	buf := make([]byte, len(request))
	var oobn int
	waitReadable(t, server)
	control(t, server, func(fd int) (err error) { _, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, 0); return err })
	if oobn != 0 {
		t.Error("a descriptor of the sentry reached the server")
	}
	control(t, server, func(fd int) error { return unix.Sendmsg(fd, answer, rights, nil, 0) })
	waitReadable(t, sentry)
	control(t, sentry, func(fd int) (err error) { _, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, 0); return err })
	fds, err := parseFDs(oob[:oobn])
	if err != nil || len(fds) != 1 {
		t.Fatalf("the answer came with descriptors %v, error %v; want one", fds, err)
	}
	closeAll(fds)
}

// A sentry that does not speak lisafs is hung up on.
func TestNonsense(t *testing.T) {
	sentry, gofer, _, ended := startRelay(t)
	var kept int
	control(t, gofer, func(fd int) (err error) { kept, err = unix.Dup(fd); return err })
	defer unix.Close(kept)
	if _, err := sentry.WriteString("\xff\xff\xff\xff\x05\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := sentry.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := sentry.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the sentry reads %d bytes, %v", n, err)
	}
}

// A relay whose server ends says so: only another gofer can help then.
func TestServerEnds(t *testing.T) {
	sentry, _, server, ended := startRelay(t)
	if _, err := sentry.Write(message("a question")); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := <-ended; err == nil {
		t.Error("it ended as if the sentry had gone")
	}
}

// The relay ends when the sentry goes, in the middle of a message too.
func TestEndsWithTheSentry(t *testing.T) {
	for _, said := range []string{"", "\x04\x00", string(message("whole"))[:10]} {
		sentry, _, server, ended := startRelay(t)
		if said != "" {
			if _, err := sentry.WriteString(said); err != nil {
				t.Fatal(err)
			}
		}
		sentry.Close()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the relay ended with %v after the sentry said %q and went", err, said)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the relay goes on after the sentry said %q and went", said)
		}
		server.Close()
	}
}

func control(t *testing.T, f *os.File, call func(fd int) error) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := conn.Control(func(fd uintptr) { err = call(int(fd)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}

func waitReadable(t *testing.T, f *os.File) {
	t.Helper()
	control(t, f, func(fd int) error {
		n, err := retry(func() (int, error) { return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000) })
		if err == nil && n == 0 {
			t.Fatal("nothing to read after 10 s")
		}
		return err
	})
}
