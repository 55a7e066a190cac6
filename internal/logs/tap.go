package logs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrTooSlow says that a tap was not read fast enough. The log has it all.
var ErrTooSlow = errors.New("the output was not read fast enough")

// Tap is what an instance writes from now on, as it writes it. Close must be
// called.
type Tap struct {
	// Output are the reading ends of two pipes, stdout's first; the caller may
	// hand them on. They end with the instance's streams, or when it is too
	// late for a reader that lets them get full: nothing waits for it.
	Output [len(streams)]*os.File
	// Ended is closed at the end.
	Ended chan struct{}

	pumps []*pump
	once  sync.Once
	into  [len(streams)]int // writing ends, -1: closed; guarded by the sink's mu, as is slow
	slow  bool
}

// Tap taps an instance that is carried; os.ErrNotExist: there is none.
func (l *Logs) Tap(id string) (*Tap, error) {
	l.mu.Lock()
	in := l.instances[id]
	l.mu.Unlock()
	if in == nil {
		return nil, fmt.Errorf("output of %s: %w", id, os.ErrNotExist)
	}
	t := &Tap{Ended: make(chan struct{}), pumps: in.pumps, into: [...]int{-1, -1}}
	for i := range t.into {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			t.Close()
			return nil, os.NewSyscallError("pipe2", err)
		}
		t.Output[i], t.into[i] = os.NewFile(uintptr(ends[0]), "tap"), ends[1]
		// Only our end: whoever reads the other may want to wait.
		if err := unix.SetNonblock(ends[1], true); err != nil {
			t.Close()
			return nil, os.NewSyscallError("fcntl", err)
		}
		_, _ = unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one is full sooner
	}
	in.sink.mu.Lock()
	defer in.sink.mu.Unlock()
	for _, p := range in.pumps {
		if _, runs := in.sink.pumps[p]; runs {
			p.taps = append(p.taps, t)
		} else {
			t.end(p.stream)
		}
	}
	return t, nil
}

// Err says why the tap ended early; nil: it did not.
func (t *Tap) Err() error {
	s := t.pumps[0].sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.slow {
		return ErrTooSlow
	}
	return nil
}

// Close ends the tap. What was handed on is let alone.
func (t *Tap) Close() {
	s := t.pumps[0].sink
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range t.Output {
		f.Close()
		t.end(i)
	}
	for _, p := range t.pumps {
		p.taps = slices.DeleteFunc(p.taps, func(other *Tap) bool { return other == t })
	}
}

// write is called with the sink's mu held. It never waits.
func (t *Tap) write(stream int, b []byte) {
	if t.into[stream] < 0 {
		return
	}
	switch n, err := unix.Write(t.into[stream], b); {
	case err == unix.EAGAIN, err == nil && n < len(b):
		t.slow = true
		fallthrough
	case err != nil: // nobody reads any more
		t.end(stdout)
		t.end(stderr)
	}
}

// end ends a stream. It is called with the sink's mu held, or before anybody
// else knows t.
func (t *Tap) end(stream int) {
	if t.into[stream] >= 0 {
		unix.Close(t.into[stream])
		t.into[stream] = -1
	}
	if t.into[stdout] < 0 && t.into[stderr] < 0 {
		t.once.Do(func() { close(t.Ended) })
	}
}
