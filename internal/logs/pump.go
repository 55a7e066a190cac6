package logs

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPiece bounds the text of one log entry, as the CRI's readers expect. It is
// also how much is read at once.
const maxPiece = 16 << 10

// drainLimit bounds what is carried after the end, so that a stray process that
// writes for ever can't hold up Finish: more than any pipe holds.
const drainLimit = 2 * pipeSize

// buffers are shared by all pumps: only a stream that has something to say
// holds one.
type buffers struct {
	in  [maxPiece]byte
	out []byte
}

// pump carries one stream. It ends at the stream's end or when it is stopped,
// and closes the reading end itself.
type pump struct {
	file   *os.File
	sink   *sink
	stream int
	done   chan struct{}
}

// stop has the pump carry what is in the pipe, and waits until it has ended.
func (p *pump) stop() {
	// The deadline wakes a reader that waits; a pump that ended closed the file.
	_ = p.file.SetReadDeadline(time.Unix(1, 0))
	<-p.done
}

func (p *pump) run() {
	defer close(p.done)
	defer p.file.Close()
	conn, err := p.file.SyscallConn()
	if err != nil {
		return // only a closed file says so
	}
	for {
		n, err := p.step(conn, true)
		if err != nil {
			break // the deadline that stop set
		}
		if n == 0 {
			return
		}
	}
	if p.file.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for total := 0; total < drainLimit; {
		n, err := p.step(conn, false)
		if err != nil || n == 0 {
			return
		}
		total += n
	}
}

// step carries one read's worth, waiting for it if wait is set; it returns 0 at
// the stream's end and, without wait, where there is nothing now. The wait
// happens outside of the callback, so that it holds no buffer.
func (p *pump) step(conn syscall.RawConn, wait bool) (n int, err error) {
	cerr := conn.Read(func(fd uintptr) bool {
		b := p.sink.pool.Get().(*buffers)
		defer p.sink.pool.Put(b)
		for {
			n, err = unix.Read(int(fd), b.in[:])
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			n, err = 0, nil
			return !wait
		}
		if n > 0 {
			p.sink.append(p.stream, b.in[:n], b)
		}
		return true
	})
	if cerr != nil {
		return 0, cerr
	}
	return max(n, 0), err
}

func newPool() *sync.Pool {
	return &sync.Pool{New: func() any { return &buffers{out: make([]byte, 0, 4*maxPiece)} }}
}
