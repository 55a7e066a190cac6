package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

type lisafsConnection = lisafs.Connection

const (
	// headerSize is lisafs' message header: payload length (4 bytes), message
	// number (2), padding (2), in the host's byte order.
	headerSize = 8
	// maxFDs bounds the descriptors of one answer; lisafs sends at most 2.
	maxFDs = 16
)

// The flags that gVisor's filter for gofers lets through.
const (
	recvFlags = unix.MSG_DONTWAIT | unix.MSG_TRUNC
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

// relay carries requests from the sentry to the lisafs server of this process
// and the answers back. A request stays in the sentry's socket until its
// answer has been sent: whoever takes the socket over from a gofer that died
// finds every request that was not answered. lisafs has one request under way
// per socket, so there is never more than one to keep.
//
// Descriptors in requests are dropped: a gofer takes none from a sentry.
type relay struct {
	outer, inner syscall.RawConn
	files        [2]*os.File // outer and inner, to be closed at the end
	journalFile  *os.File
	journal      *journal
	// request and answer are the buffers of the exchange under way.
	request, answer []byte
}

func newRelay(outer, inner, journal *os.File) (*relay, error) {
	r := &relay{files: [2]*os.File{outer, inner}, journalFile: journal, request: make([]byte, 4096), answer: make([]byte, 4096)}
	var err error
	if r.outer, err = outer.SyscallConn(); err != nil {
		return nil, err
	}
	if r.inner, err = inner.SyscallConn(); err != nil {
		return nil, err
	}
	return r, nil
}

// openJournal must come before anything is relayed, and after the last gofer's
// end.
func (r *relay) openJournal() (err error) {
	r.journal, err = openJournal(r.journalFile)
	return err
}

// run relays until either side closes. Closing the inner side ends the
// server's connection.
func (r *relay) run() {
	defer r.files[1].Close()
	defer r.files[0].Close()
	for {
		if err := r.exchange(); err != nil {
			return
		}
	}
}

// exchange relays one request and its answer.
func (r *relay) exchange() error {
	request, err := r.peek()
	if err != nil {
		return err
	}
	if err := send(r.inner, request, nil); err != nil {
		return err
	}
	answer, fds, err := r.receive()
	defer closeAll(fds)
	if err != nil {
		return err
	}
	if err := r.journal.note(request, answer); err != nil && !errors.Is(err, errFull) {
		return err
	}
	if err := r.journal.setSending(true); err != nil {
		return err
	}
	if err := send(r.outer, answer, fds); err != nil {
		return err
	}
	if err := r.consume(len(request)); err != nil {
		return err
	}
	return r.journal.setSending(false)
}

// peek waits for a whole request and returns it without consuming it.
func (r *relay) peek() ([]byte, error) {
	var got int
	var result error
	err := r.outer.Read(func(fd uintptr) bool {
		for {
			n, err := retry(func() (int, error) {
				n, _, _, _, err := unix.Recvmsg(int(fd), r.request, nil, recvFlags|unix.MSG_PEEK)
				return n, err
			})
			switch {
			case err == unix.EAGAIN:
				return false
			case err != nil:
				result = err
				return true
			case n == 0:
				result = io.EOF
				return true
			case n < headerSize:
				result = partial(int(fd))
				return result != nil
			}
			want, err := messageSize(r.request[:headerSize])
			switch {
			case err != nil:
				result = err
				return true
			case want > len(r.request):
				r.request = make([]byte, want)
				continue
			case n < want:
				result = partial(int(fd))
				return result != nil
			}
			got = want
			return true
		}
	})
	return r.request[:got], errors.Join(err, result)
}

// partial decides what to do about half a message: nil, the rest is on its way
// and will wake us, or an error, since the sentry has gone and it never will.
func partial(fd int) error {
	events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	var now unix.Timespec
	n, err := retry(func() (int, error) { return unix.Ppoll(events, &now, nil) })
	if err == nil && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// consume takes n bytes, which peek has seen, from the sentry's socket.
func (r *relay) consume(n int) error {
	return readFull(r.outer, r.request[:n], nil)
}

// receive reads one answer of the server with its descriptors.
func (r *relay) receive() ([]byte, []int, error) {
	var fds []int
	if err := readFull(r.inner, r.answer[:headerSize], &fds); err != nil {
		return nil, fds, err
	}
	size, err := messageSize(r.answer[:headerSize])
	if err != nil {
		return nil, fds, err
	}
	if size > len(r.answer) {
		r.answer = append(r.answer[:headerSize], make([]byte, size-headerSize)...)
	}
	if err := readFull(r.inner, r.answer[headerSize:size], nil); err != nil {
		return nil, fds, err
	}
	return r.answer[:size], fds, nil
}

func messageSize(header []byte) (int, error) {
	payload := binary.NativeEndian.Uint32(header)
	if payload > lisafs.MaxMessageSize() {
		return 0, fmt.Errorf("a message of %d bytes is over lisafs' limit", payload)
	}
	return headerSize + int(payload), nil
}

// readFull fills b. Descriptors that come along are added to fds, or dropped
// by the kernel where fds is nil.
func readFull(c syscall.RawConn, b []byte, fds *[]int) error {
	var oob []byte
	if fds != nil {
		oob = make([]byte, unix.CmsgSpace(4*maxFDs))
	}
	for len(b) > 0 {
		var n, oobn int
		var result error
		err := c.Read(func(fd uintptr) bool {
			n, result = retry(func() (int, error) {
				n, on, _, _, err := unix.Recvmsg(int(fd), b, oob, recvFlags)
				oobn = on
				return n, err
			})
			return result != unix.EAGAIN
		})
		if err := errors.Join(err, result); err != nil {
			return err
		}
		if oobn > 0 {
			received, err := parseFDs(oob[:oobn])
			*fds = append(*fds, received...)
			if err != nil {
				return err
			}
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}

// send writes all of b; fds go along with its first byte.
func send(c syscall.RawConn, b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(b) > 0 {
		var n int
		var result error
		err := c.Write(func(fd uintptr) bool {
			n, result = retry(func() (int, error) { return unix.SendmsgN(int(fd), b, oob, nil, sendFlags) })
			return result != unix.EAGAIN
		})
		if err := errors.Join(err, result); err != nil {
			return err
		}
		b, oob = b[n:], nil
	}
	return nil
}

func parseFDs(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		received, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, received...)
	}
	return fds, nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
