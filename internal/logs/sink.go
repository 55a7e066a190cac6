package logs

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// sink is the log of one container while something may write to it or reads
// it. Its file is opened when there is something to write.
type sink struct {
	key     key
	log     logr.Logger
	pool    *sync.Pool
	dropped *atomic.Uint64
	tell    func(Change)         // what an operator should know; may be nil
	losing  atomic.Pointer[Loss] // a copy of trouble; nil: there is none
	refs    int                  // instances and readers; guarded by Logs.mu

	mu    sync.Mutex
	files files
	spool spool
	clock clock
	lost  Loss // what the log does not say yet
	// trouble is all that was lost since output began to be lost; lostAt is
	// when some was, last.
	trouble Loss
	lostAt  time.Time
	// unsaid is the ID of an instance whose beginning is not in the log yet.
	unsaid string
	retry  *time.Timer // until what can't be written is tried again
	// ended: nothing will come any more.
	ended     bool
	pumps     map[*pump]struct{}
	followers map[chan struct{}]struct{}
}

// begin notes in the log that an instance starts.
func (s *sink) begin(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaid = id
	s.clock.set(time.Now().UnixNano())
	s.sayOrRetry()
}

// take carries what a pump's pipe holds, at most a buffer's worth, and returns
// how much it took and whether the end of a line is still to come. Text that
// can't be written is counted.
func (s *sink) take(p *pump, b *buffers) (taken int, held bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.set(time.Now().UnixNano())
	n, last := 0, false
	if s.save() == nil {
		n, taken, err = s.spool.take(p.stream, p.fd, b.in[:])
	} else {
		err = errNoSpool
	}
	if err == errNoSpool {
		// The state directory is full. Output goes on, and a daemon that is
		// killed now loses what is in b.
		last = true
		if n, err = s.spool.read(p.stream, b.in[:]); err == nil {
			if taken, err = readPipe(p.fd, b.in[n:]); err != nil {
				return 0, false, err
			}
			n += taken
		}
	}
	for _, t := range p.taps {
		if err == nil {
			t.write(p.stream, b.in[n-taken:n])
		}
	}
	rest := s.carry(p.stream, b.in[:n], err, last, b)
	p.carried += int64(taken)
	s.wake()
	return taken, rest > 0, nil
}

// finish carries the end of a stream's last line, which has none.
func (s *sink) finish(stream int) {
	b := s.pool.Get().(*buffers)
	defer s.pool.Put(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.set(time.Now().UnixNano())
	n, err := s.spool.read(stream, b.in[:])
	s.carry(stream, b.in[:n], err, true, b)
	s.wake()
}

// carry brings text from the spool into the log, and returns how much of it
// waits for the end of its line. err is why text could not be read.
func (s *sink) carry(stream int, text []byte, err error, last bool, b *buffers) (rest int) {
	if err != nil {
		s.lose(0, s.spool.held(stream), err)
		s.commit(stream, s.spool.held(stream))
	} else {
		rest = s.append(stream, text, last, b)
	}
	s.spool.trim(stream, text[len(text)-rest:], s.head())
	return rest
}

func readPipe(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// append writes text as entries of one stream, the first of them with the
// clock's time, and returns how much of it waits for the end of its line: none
// if this is the last. It never fails: what can't be written is counted.
func (s *sink) append(stream int, text []byte, last bool, b *buffers) (rest int) {
	if !last {
		rest = (len(text) - 1 - bytes.LastIndexByte(text, '\n')) % maxPiece
		text = text[:len(text)-rest]
	}
	room := int(min(int64(cap(b.out)), s.files.max))
	for len(text) > 0 {
		if err := s.say(); err != nil {
			s.lose(bytes.Count(text, []byte{'\n'}), len(text), err)
			s.commit(stream, len(text))
			break
		}
		b.out = b.out[:0]
		lines, taken := 0, 0
		for taken < len(text) {
			e := entry{at: s.clock.text[:], stream: stream, kind: partial, text: text[taken:min(len(text), taken+maxPiece)]}
			size := len(e.text)
			if i := bytes.IndexByte(e.text, '\n'); i >= 0 {
				e.kind, e.text, size = whole, e.text[:i], i+1
			}
			if len(b.out) > 0 && len(b.out)+len(e.text)+overhead > room {
				break
			}
			b.out = appendEntry(b.out, e)
			s.clock.tick()
			taken += size
			if e.kind == whole {
				lines++
			}
		}
		err := s.ready(len(b.out))
		if err == nil {
			err = s.files.put(b.out)
		}
		if err != nil {
			s.lose(lines, taken, err)
		}
		s.commit(stream, taken)
		text = text[taken:]
	}
	return rest
}

// ready is that of the files. Before anything is written to another file, the
// spool must know its length.
func (s *sink) ready(n int) error {
	changed, err := s.files.ready(n)
	if changed {
		_ = s.save() // without a spool there is nothing in it
	}
	return err
}

// commit says in the spool that n more bytes of a stream's text are dealt with.
// Some may not be of the spool.
func (s *sink) commit(stream, n int) {
	t := &s.spool.text[stream]
	t.done = min(t.done+int64(n), t.end)
	_ = s.save()
}

func (s *sink) save() error { return s.spool.save(s.head(), [...]int64{unknown, unknown}) }

func (s *sink) head() head {
	h := head{log: s.files.size, at: s.clock.ns, lost: s.lost}
	if s.files.file == nil {
		h.log = unknown
	}
	return h
}

// recover carries what a daemon that was killed had taken out of a pipe and not
// brought into the log, or not all of it.
func (s *sink) recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.spool.load()
	if err != nil {
		s.log.Error(err, "what an earlier daemon has left of a container's output can't be read")
		s.spool.close(false)
		return
	}
	s.clock.set(h.at)
	if s.lost = h.lost; s.lost.Bytes > 0 { // as the earlier daemon has told
		so := s.lost
		s.trouble, s.lostAt = so, time.Now()
		s.losing.Store(&so)
	}
	if s.spool.held(stdout)+s.spool.held(stderr) > 0 {
		s.replay(h.log)
	}
	s.sayOrRetry()
}

// replay carries the text of a spool that was loaded; size is how long the log
// was before.
func (s *sink) replay(size int64) {
	var err error
	if size != unknown {
		err = s.files.cut(size)
	}
	b := s.pool.Get().(*buffers)
	defer s.pool.Put(b)
	for i := range streams {
		if s.spool.held(i) > 0 {
			n, readErr := s.spool.read(i, b.in[:])
			s.carry(i, b.in[:n], errors.Join(err, readErr), false, b)
		}
	}
}

// wake tells followers that there is more.
func (s *sink) wake() {
	for ch := range s.followers {
		select {
		case ch <- struct{}{}:
		default: // it is awake already
		}
	}
}

// join starts pumps.
func (s *sink) join(pumps []*pump) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pumps {
		s.pumps[p] = struct{}{}
		go p.run()
	}
}

// leave is a pump's end.
func (s *sink) leave(p *pump) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pumps, p)
	for _, t := range p.taps {
		t.end(p.stream)
	}
	unix.Close(p.fd)
	p.gate.close()
	s.wake()
}

// end ends the log for all who read it, and closes it.
func (s *sink) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	_ = s.say() // or the spool keeps it for the next
	s.ended = true
	if s.retry != nil {
		s.retry.Stop()
	}
	s.files.shut()
	s.spool.close(s.lost.Bytes+uint64(s.spool.held(stdout)+s.spool.held(stderr)) == 0)
	s.wake()
}
