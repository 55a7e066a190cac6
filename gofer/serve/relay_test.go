package serve

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
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

func asking(payload string) []byte {
	return newMessage(question, len(payload), func(b []byte) { copy(b, payload) })
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

// question is what asking asks.
const question = lisafs.MID(7)

// startRelay starts a relay that has questions answered by handle, as they are
// where it is nil.
func startRelay(t *testing.T, handle lisafs.RPCHandler) (sentry, gofer *os.File, ended chan error) {
	t.Helper()
	sentry, gofer = pair(t)
	connection, err := newConnection(lisafs.NewServer(), t.TempDir(), false)
	check(t, err)
	r, err := newRelay(gofer, tempFile(t), connection)
	check(t, err)
	check(t, r.journal.load())
	if handle == nil {
		handle = func(_ *lisafs.Connection, _ lisafs.Communicator, size uint32) (uint32, error) { return size, nil }
	}
	r.handlers[question] = handle
	ended = make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- r.run()
	}()
	t.Cleanup(func() {
		sentry.Close()
		for range ended {
		}
	})
	return sentry, gofer, ended
}

// A request stays in the sentry's socket until its answer was sent, so that
// whoever takes the socket over finds it.
func TestRequestStaysUntilAnswered(t *testing.T) {
	asked, answers := make(chan []byte), make(chan string)
	sentry, gofer, _ := startRelay(t, func(_ *lisafs.Connection, comm lisafs.Communicator, size uint32) (uint32, error) {
		asked <- bytes.Clone(comm.PayloadBuf(size))
		a := <-answers
		copy(comm.PayloadBuf(uint32(len(a))), a)
		return uint32(len(a)), nil
	})
	request := asking("a question")
	if _, err := sentry.Write(request); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; string(got) != "a question" {
		t.Fatalf("the handler got %q", got)
	}
	if n := pending(t, gofer); n != len(request) {
		t.Errorf("%d bytes wait in the sentry's socket while the request is served, want %d", n, len(request))
	}
	answers <- "an answer that is longer than the question was"
	answer := asking("an answer that is longer than the question was")
	if got := read(t, sentry, len(answer)); !bytes.Equal(got, answer) {
		t.Fatalf("the sentry got %q, want %q", got, answer)
	}
	// The next request is answered too, so the first one was consumed.
	if _, err := sentry.Write(asking("another")); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; string(got) != "another" {
		t.Errorf("the handler got %q as the second request", got)
	}
	answers <- ""
}

// Messages larger than any buffer, and that come in pieces, arrive whole.
func TestLargeMessageInPieces(t *testing.T) {
	sentry, _, _ := startRelay(t, nil)
	request := asking(string(bytes.Repeat([]byte{1}, int(lisafs.MaxMessageSize()))))
	go func() {
		for rest := request; len(rest) > 0; {
			n := min(len(rest), 10_007)
			if _, err := sentry.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	if got := read(t, sentry, len(request)); !bytes.Equal(got, request) {
		t.Error("a large request arrived changed")
	}
}

// null opens a file whose descriptor can be told by its name.
func null(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	check(t, err)
	return fd
}

// openNulls counts the descriptors of this process that are of /dev/null.
func openNulls(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == os.DevNull {
			n++
		}
	}
	return n
}

// Descriptors of an answer arrive with it and are the gofer's no more.
func TestDescriptorsOfAnswers(t *testing.T) {
	sentry, _, _ := startRelay(t, func(_ *lisafs.Connection, comm lisafs.Communicator, _ uint32) (uint32, error) {
		comm.DonateFD(null(t))
		return 0, nil
	})
	before := openNulls(t)
	if _, err := sentry.Write(asking("q")); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, 256)
	buf := make([]byte, headerSize)
	var oobn int
	waitReadable(t, sentry)
	control(t, sentry, func(fd int) (err error) { _, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, 0); return err })
	fds, err := parseFDs(oob[:oobn])
	if err != nil || len(fds) != 1 {
		t.Fatalf("the answer came with descriptors %v, error %v; want one", fds, err)
	}
	closeAll(fds)
	if _, err := sentry.Write(asking("")); err != nil {
		t.Fatal(err)
	}
	waitReadable(t, sentry) // the first exchange is over
	if n := openNulls(t); n > before+1 {
		t.Errorf("%d descriptors are left", n-before)
	}
}

// Descriptors of a request are dropped, however it comes: they keep no request
// from being answered, and the gofer has none of them.
func TestDescriptorsOfRequests(t *testing.T) {
	for _, size := range []int{1, headerSize - 1, headerSize, headerSize + 1, 1 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			sentry, _, _ := startRelay(t, nil)
			fd := null(t)
			defer unix.Close(fd)
			before := openNulls(t)
			for _, text := range []string{"", "q", "a question"} {
				request := asking(text)
				for rest := request; len(rest) > 0; {
					n := min(len(rest), size)
					control(t, sentry, func(s int) error { return unix.Sendmsg(s, rest[:n], unix.UnixRights(fd, fd), nil, 0) })
					rest = rest[n:]
				}
				if got := read(t, sentry, len(request)); !bytes.Equal(got, request) {
					t.Errorf("%q was answered %q", request, got)
				}
			}
			if n := openNulls(t); n != before {
				t.Errorf("the gofer has %d descriptors of the sentry's", n-before)
			}
		})
	}
}

// A sentry that does not speak lisafs is hung up on.
func TestNonsense(t *testing.T) {
	sentry, gofer, ended := startRelay(t, nil)
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

// What a handler does wrong is one request's error, and leaves no descriptor.
func TestHandlerFails(t *testing.T) {
	fails := make(chan func() (uint32, error), 1)
	sentry, _, ended := startRelay(t, func(_ *lisafs.Connection, comm lisafs.Communicator, _ uint32) (uint32, error) {
		comm.DonateFD(null(t))
		return (<-fails)()
	})
	before := openNulls(t)
	for _, c := range []struct {
		name string
		fail func() (uint32, error)
		want unix.Errno
	}{
		{"error", func() (uint32, error) { return 0, unix.ENOTDIR }, unix.ENOTDIR},
		{"panic", func() (uint32, error) { panic("a handler's") }, unix.EREMOTEIO},
		{"too much", func() (uint32, error) { return lisafs.MaxMessageSize() + 1, nil }, unix.EIO},
	} {
		fails <- c.fail
		if _, err := sentry.Write(asking("q")); err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, sentry, headerSize+4), errorReply(c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: the answer is %q, want %q", c.name, got, want)
		}
	}
	sentry.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := openNulls(t); n != before {
		t.Errorf("%d descriptors are left", n-before)
	}
}

// The relay ends when the sentry goes, in the middle of a message too.
func TestEndsWithTheSentry(t *testing.T) {
	for _, said := range []string{"", "\x04\x00", string(asking("whole"))[:10]} {
		sentry, _, ended := startRelay(t, nil)
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
