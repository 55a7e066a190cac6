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

// relay has the sentry's requests to one mount carried out and answers them. A
// request stays in the sentry's socket until its answer has been sent: whoever
// takes the socket over from a gofer that died finds every request that was not
// answered. lisafs has one request under way per socket, so there is never more
// than one to keep.
//
// Descriptors in requests are dropped: a gofer takes none from a sentry.
type relay struct {
	socket     *os.File
	conn       syscall.RawConn // of socket
	journal    *journal
	connection *lisafs.Connection // what fsgofer has open
	handlers   map[lisafs.MID]lisafs.RPCHandler
	sockets    *sockets // nil where the host's are not let through
	// The exchange under way. Its answer is in reply, in message's buffer or
	// not, and fds go along with it.
	request, reply []byte
	fds            []int
	taken          bool // the request is in the socket no more
	message        message
	requests       []byte // buffer of requests
}

// newRelay maps the journal, which the filter for gofers would not let it do
// later.
func newRelay(socket, journal *os.File, connection *lisafs.Connection) (*relay, error) {
	r := &relay{socket: socket, connection: connection, handlers: served(), requests: make([]byte, 4096)}
	var err error
	if r.conn, err = socket.SyscallConn(); err != nil {
		return nil, err
	}
	r.journal, err = mapJournal(journal)
	return r, err
}

// errGone says that the sentry has gone.
var errGone = errors.New("the sentry has gone")

// run relays until the sentry goes, which is no error.
func (r *relay) run() error {
	defer r.close()
	for steps := r.steps(); ; {
		if err := r.exchange(steps); errors.Is(err, errGone) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// close lets go of all that the mount has open. The connection finds that nobody
// is there to ask it and closes what it has.
func (r *relay) close() {
	r.connection.Run()
	r.socket.Close()
	r.journal.close()
	if r.sockets != nil {
		for _, fd := range r.sockets.bound {
			unix.Close(fd)
		}
	}
}

// steps are what is done for one request. The gofer may be killed between any
// two of them and in each: takeOver tells what follows then.
func (r *relay) steps() []func() error {
	noting := func() { r.journal.note(r.request, r.reply) }
	return append([]func() error{r.await, r.begin, r.execute, noted(noting)}, r.answer()...)
}

// answer are the last of them.
func (r *relay) answer() []func() error {
	return []func() error{noted(r.journal.answering), r.send, noted(r.journal.answered), r.consume, noted(r.journal.settled)}
}

// noted is a step that the journal tells of.
func noted(note func()) func() error {
	return func() error {
		note()
		return nil
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
	r.journal.executing()
	return nil
}

// execute has a request carried out.
func (r *relay) execute() error {
	if r.sockets == nil || !r.executeSocket() {
		r.reply, r.fds = r.ask(r.request)
	}
	return nil
}

// send answers the sentry. What directfs asks for is answered in few bytes,
// which the kernel queues whole or not at all, so a kill does not tear them.
func (r *relay) send() error { return gone(send(r.conn, r.reply, r.fds)) }

// consume takes the request from the sentry's socket.
func (r *relay) consume() error {
	if r.taken {
		r.taken = false
		return nil
	}
	return gone(readFull(r.conn, r.request, nil))
}

// gone makes errGone of what a socket says whose other end was closed.
func gone(err error) error {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, e) {
			return errGone
		}
	}
	return err
}
