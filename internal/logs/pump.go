package logs

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPiece bounds the text of one log entry, as the CRI's readers expect.
	maxPiece = 16 << 10
	// batch is how much is read at once.
	batch = 4 * maxPiece
	// drainLimit bounds what is carried after the end, so that a stray process
	// that writes for ever can't hold up Finish: more than any pipe holds.
	drainLimit = 2 * pipeSize
)

// buffers are shared by all pumps: only a stream that has something to say
// holds one.
type buffers struct {
	in  [batch + maxPiece]byte // a line's beginning comes before a batch
	out []byte
}

func newPool() *sync.Pool {
	return &sync.Pool{New: func() any { return &buffers{out: make([]byte, 0, 2*batch)} }}
}

// pump carries one stream. It ends at the stream's end or when it is stopped,
// and closes the reading end itself.
type pump struct {
	file    *os.File
	conn    syscall.RawConn
	fd      int // file's, open while the pump is one of its sink's
	sink    *sink
	stream  int
	carried int64 // bytes; guarded by sink.mu
	held    bool  // the end of a line is still to come; the pump's own
	// ending is set before the pump is woken to end; last says that no more
	// will come from the pipe, ever.
	ending, last atomic.Bool
	done         chan struct{}
}

// startPump carries what comes through f, which is the pump's from here on.
func startPump(f *os.File, s *sink, stream int) *pump {
	p := &pump{file: f, sink: s, stream: stream, done: make(chan struct{})}
	// These fail for a file that is closed, and for no other.
	p.conn, _ = f.SyscallConn()
	_ = p.conn.Control(func(fd uintptr) { p.fd = int(fd) })
	s.mu.Lock()
	s.pumps[p] = struct{}{}
	s.mu.Unlock()
	go p.run()
	return p
}

// stop has the pump carry what is in the pipe, and waits until it has ended.
// last says that a line without an end will not get one.
func (p *pump) stop(last bool) {
	p.last.Store(last)
	p.ending.Store(true)
	// The deadline wakes a reader that waits; a pump that ended closed the file.
	_ = p.file.SetReadDeadline(time.Unix(1, 0))
	<-p.done
}

// Results of a step that carried nothing.
const (
	ended = 0
	empty = -1
)

// lineTime is how long the end of a line is waited for before it is carried as
// it is: a prompt has none.
const lineTime = time.Second

func (p *pump) run() {
	defer close(p.done)
	defer p.sink.leave(p)
	n := empty
	step := func(uintptr) bool {
		n = p.step()
		return n != empty
	}
	for timed := false; !p.ending.Load(); {
		if err := p.conn.Read(step); err != nil && !p.ending.Load() {
			// The time of a line's end is over.
			if n = p.step(); n == empty {
				p.sink.finish(p.stream)
				p.held = false
			}
		}
		if n == ended {
			p.sink.finish(p.stream)
			return
		}
		if p.held || timed {
			var end time.Time // none
			if timed = p.held; timed {
				end = time.Now().Add(lineTime)
			}
			_ = p.file.SetReadDeadline(end) // stop sets its own after ending
		}
	}
	// Stopped.
	for total := 0; total < drainLimit; total += n {
		if n = p.step(); n == ended || n == empty {
			break
		}
	}
	if p.last.Load() {
		p.sink.finish(p.stream)
	}
}

// step carries what is in the pipe, at most a buffer's worth. Waiting for more
// holds no buffer.
func (p *pump) step() int {
	fds := [1]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds[:], 0); err != unix.EINTR {
			break
		}
	}
	if fds[0].Revents&unix.POLLIN == 0 {
		if fds[0].Revents&unix.POLLHUP != 0 {
			return ended
		}
		return empty
	}
	b := p.sink.pool.Get().(*buffers)
	defer p.sink.pool.Put(b)
	n, held, err := p.sink.take(p, b)
	p.held = held
	if err != nil {
		p.sink.log.Error(err, "a container's output can't be read any more", "stream", streams[p.stream])
		return ended
	}
	return n
}
