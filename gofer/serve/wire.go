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
func (r *relay) peek(wait bool) (request []byte, more bool, err error) {
	var result error
	err = r.outer.Read(func(fd uintptr) bool {
		for {
			n, err := retry(func() (int, error) {
				n, _, _, _, err := unix.Recvmsg(int(fd), r.requests, nil, recvFlags|unix.MSG_PEEK)
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
			case n < headerSize:
				result = partial(int(fd))
				return result != nil || !wait
			}
			want, err := messageSize(r.requests[:headerSize])
			switch {
			case err != nil:
				// It does not speak lisafs. Nobody can answer that.
				_ = unix.Shutdown(int(fd), unix.SHUT_RDWR)
				result = errGone
				return true
			case want > len(r.requests), want == n && n == len(r.requests):
				r.requests = make([]byte, 2*want)
				continue
			case n < want:
				result = partial(int(fd))
				return result != nil || !wait
			}
			request, more = r.requests[:want], n > want
			return true
		}
	})
	return request, more, errors.Join(err, result)
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

// receive reads one answer of the server with its descriptors.
func (r *relay) receive() ([]byte, []int, error) {
	var fds []int
	if err := readFull(r.inner, r.answers[:headerSize], &fds); err != nil {
		return nil, fds, err
	}
	size, err := messageSize(r.answers[:headerSize])
	if err != nil {
		return nil, fds, err
	}
	if size > len(r.answers) {
		r.answers = append(r.answers[:headerSize], make([]byte, size-headerSize)...)
	}
	if err := readFull(r.inner, r.answers[headerSize:size], nil); err != nil {
		return nil, fds, err
	}
	return r.answers[:size], fds, nil
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
