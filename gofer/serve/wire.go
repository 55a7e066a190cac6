package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// peek returns the first request without consuming it, and whether more waits
// behind it. It waits for a whole request if wait is set, else it returns none
// where there is none yet.
//
// Nobody can look beyond bytes that came with descriptors. No sentry sends any:
// a request with some in its midst is taken out of the socket at once, and
// would not be found there by the next gofer.
func (r *relay) peek(wait bool) (request []byte, more bool, err error) {
	if wait {
		if err := r.asked(); err != nil {
			return nil, false, err
		}
	}
	var result error
	take, half := false, false
	err = r.conn.Read(func(fd uintptr) bool {
		for {
			descriptors := false
			n, err := retry(func() (int, error) {
				n, _, got, _, err := unix.Recvmsg(int(fd), r.requests, nil, recvFlags|unix.MSG_PEEK)
				descriptors = got&unix.MSG_CTRUNC != 0
				return n, err
			})
			switch {
			case err == unix.EAGAIN:
				return !wait
			case err != nil:
				result = gone(err)
				return true
			case n == 0:
				result = errGone
				return true
			case n < headerSize && descriptors && wait:
				take = true
				return true
			case n < headerSize:
				half = true
				r.journal.half(wait)
				result = partial(int(fd))
				return result != nil || !wait
			}
			want, err := messageSize(r.requests[:headerSize])
			switch {
			case err != nil:
				result = r.hangUp()
				return true
			case want > len(r.requests), want == n && n == len(r.requests):
				r.requests = make([]byte, 2*want)
				continue
			case n < want && descriptors && wait:
				take = true
				return true
			case n < want:
				half = true
				r.journal.half(wait)
				result = partial(int(fd))
				return result != nil || !wait
			}
			request, more = r.requests[:want], n > want
			return true
		}
	})
	if half {
		r.journal.half(false)
	}
	if err := errors.Join(err, result); err != nil || !take {
		return request, more, err
	}
	request, err = r.take()
	return request, false, err
}

// asked waits until anything is there. A thread that waits in the kernel is
// there sooner than the runtime's poller has found somebody to run, which what
// is below leaves the rest of half a request to.
func (r *relay) asked() (err error) {
	cerr := r.conn.Control(func(fd uintptr) {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err = retry(func() (int, error) { return unix.Ppoll(events, nil, nil) })
	})
	return errors.Join(cerr, err)
}

// take takes the first request out of the socket.
func (r *relay) take() ([]byte, error) {
	r.taken = true
	if err := readFull(r.conn, r.requests[:headerSize], nil); err != nil {
		return nil, gone(err)
	}
	size, err := messageSize(r.requests[:headerSize])
	if err != nil {
		return nil, r.hangUp()
	}
	if size > len(r.requests) {
		r.requests = append(r.requests, make([]byte, size-len(r.requests))...)
	}
	return r.requests[:size], gone(readFull(r.conn, r.requests[headerSize:size], nil))
}

// hangUp leaves a sentry that does not speak lisafs: nobody can answer that.
func (r *relay) hangUp() error {
	_ = r.conn.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	return errGone
}

// partial decides what to do about half a message: nil, the rest is on its way
// and will wake us, or an error, since the sentry has gone and it never will.
func partial(fd int) error {
	events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	var now unix.Timespec
	n, err := retry(func() (int, error) { return unix.Ppoll(events, &now, nil) })
	if err == nil && n > 0 {
		err = errGone
	}
	return err
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
		oob = make([]byte, unix.CmsgSpace(4*MaxFDs))
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
