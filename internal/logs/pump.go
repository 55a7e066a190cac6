package logs

import (
	"fmt"
	"sync"
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
	fd      int // the reading end, open while the pump is one of its sink's
	size    int // of the pipe
	gate    *gate
	sink    *sink
	stream  int
	carried int64 // bytes; guarded by sink.mu, as are taps
	taps    []*Tap
	held    bool // the end of a line is still to come; the pump's own
	// ending is closed before the pump is woken to end, with last set before
	// that if no more will come from the pipe, ever.
	ending, done chan struct{}
	last         bool
}

// newPump returns a pump for a reading end, which run carries.
func newPump(fd int, s *sink, stream int) (*pump, error) {
	g, err := newGate(fd)
	if err != nil {
		return nil, err
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		g.close()
		return nil, fmt.Errorf("asking for an output pipe's size: %w", err)
	}
	return &pump{fd: fd, size: size, gate: g, sink: s, stream: stream, ending: make(chan struct{}), done: make(chan struct{})}, nil
}

// stop has the pump carry what is in the pipe and end, which done tells. last
// says that a line without an end will not get one. It is called once.
func (p *pump) stop(last bool) {
	p.last = last
	close(p.ending)
	p.gate.until(time.Unix(1, 0)) // wakes a reader that waits
}

func (p *pump) stopped() bool {
	select {
	case <-p.ending:
		return true
	default:
		return false
	}
}

// Results of a step that carried nothing.
const (
	ended = 0
	empty = -1
)

const (
	// lineTime is how long the end of a line is waited for before it is carried
	// as it is: a prompt has none.
	lineTime = time.Second
	// gather is how long a pipe that had little in it is left to fill: waking
	// for each line costs a busy container and the daemon more than all else.
	// What comes after a pause is carried at once. The faster it comes, the
	// shorter the rest: a container must not find its pipe full because of it.
	gather = 10 * time.Millisecond
	// gatherMuch is for a pipe that had much in it, which nobody reads word for word.
	gatherMuch = 3 * gather
)

func (p *pump) run() {
	defer close(p.done)
	defer p.sink.leave(p)
	n := empty
	step := func() bool {
		n = p.step()
		return n != empty
	}
	got, rest, timed := 0, gather, false // got is what came since the last rest
	resting := time.NewTimer(0)
	defer resting.Stop()
	for !p.stopped() {
		if err := p.gate.wait(step); err != nil && !p.stopped() {
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
		if got += max(n, 0); n < batch { // all there was
			rest = nextRest(rest, got, p.size)
			got = 0
			resting.Reset(rest)
			select {
			case <-resting.C:
			case <-p.ending:
			}
		}
		if p.held || timed {
			var end time.Time // none
			if timed = p.held; timed {
				end = time.Now().Add(lineTime)
			}
			p.gate.until(end) // stop sets its own after ending
		}
	}
	// Stopped.
	for total := 0; total < drainLimit; total += n {
		if n = p.step(); n == ended || n == empty {
			break
		}
	}
	if p.last {
		p.sink.finish(p.stream)
	}
}

// nextRest is how long a pipe of that size is left to fill after one that took as
// long as rest, before which so many bytes came.
func nextRest(rest time.Duration, came, size int) time.Duration {
	most := gather
	if came > batch/4 {
		most = gatherMuch
	}
	switch {
	case came > size/4:
		return rest / 2
	case came < size/8:
		return min(2*rest+time.Millisecond, most)
	}
	return rest
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
