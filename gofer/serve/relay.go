package serve

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

const (
	// headerSize is lisafs' message header: payload length (4 bytes), message
	// number (2), padding (2), in the host's byte order.
	headerSize = 8
	// MaxFDs bounds the descriptors of one answer; lisafs sends at most 2.
	MaxFDs = 16
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
	served       *lisafs.Connection // of the server, behind inner
	sockets      *sockets           // nil where the host's are not let through
	// The exchange under way. Its answer is in reply, buffer or not, and fds
	// go along with it.
	request, reply []byte
	fds            []int
	// buffers of requests and of the server's answers.
	requests, answers []byte
}

func newRelay(outer, inner, journal *os.File, served *lisafs.Connection) (*relay, error) {
	r := &relay{files: [2]*os.File{outer, inner}, journalFile: journal, served: served, requests: make([]byte, 4096), answers: make([]byte, 4096)}
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

// errGone says that the sentry has gone.
var errGone = errors.New("the sentry has gone")

// run relays until the sentry goes, which is no error. Closing the inner side
// ends the server's connection.
func (r *relay) run() error {
	defer r.files[1].Close()
	defer r.files[0].Close()
	for {
		if err := r.exchange(r.steps()); errors.Is(err, errGone) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// steps are what is done for one request. The gofer may be killed between any
// two of them and in each: takeOver tells what follows then.
func (r *relay) steps() []func() error {
	return []func() error{
		r.await,
		r.begin,
		r.execute,
		func() error { return r.journal.note(r.request, r.reply) },
		r.journal.answering,
		r.send,
		r.journal.answered,
		r.consume,
		r.journal.settled,
	}
}

// exchange relays one request and its answer.
func (r *relay) exchange(steps []func() error) error {
	defer func() {
		closeAll(r.fds)
		r.fds = nil
	}()
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// await waits for a whole request, which stays in the socket.
func (r *relay) await() error {
	var err error
	r.request, _, err = r.peek(true)
	return err
}

// begin notes a request that can't be repeated.
func (r *relay) begin() error {
	if repeatable(r.request) || messageID(r.request) == lisafs.BindAt && r.sockets == nil {
		return nil
	}
	return r.journal.executing()
}

// execute has a request answered.
func (r *relay) execute() error {
	if messageID(r.request) == lisafs.Channel {
		// What went through it would pass by the relay.
		r.reply = errorReply(unix.EOPNOTSUPP)
		return nil
	}
	if r.sockets != nil && r.executeSocket() {
		return nil
	}
	if err := send(r.inner, r.request, nil); err != nil {
		return err
	}
	var err error
	r.reply, r.fds, err = r.receive()
	return err
}

// send answers the sentry. What directfs asks for is answered in few bytes,
// which the kernel queues whole or not at all, so a kill does not tear them.
func (r *relay) send() error { return gone(send(r.outer, r.reply, r.fds)) }

// consume takes the request from the sentry's socket.
func (r *relay) consume() error { return gone(readFull(r.outer, r.request, nil)) }

// gone makes errGone of what a socket says whose other end was closed.
func gone(err error) error {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, e) {
			return errGone
		}
	}
	return err
}
