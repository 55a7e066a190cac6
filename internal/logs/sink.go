package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// sink is the log of one container while something may write to it. Its file
// is opened by the first write: a silent container has none.
type sink struct {
	path    string
	max     int64
	dropped *atomic.Uint64
	log     logr.Logger
	pool    *sync.Pool
	users   int // instances; guarded by Logs.mu

	mu   sync.Mutex
	file *os.File
	size int64
	// turn counts rotations, so that a follower knows when its file is complete.
	turn int
	// lostEntries and lostBytes wait for being told in the log itself.
	lostEntries, lostBytes int
	lostWhy                error
	ended                  bool
	followers              map[chan struct{}]struct{}
}

func newSink(path string, limit int64, dropped *atomic.Uint64, pool *sync.Pool, log logr.Logger) *sink {
	return &sink{path: path, max: limit, dropped: dropped, log: log, pool: pool,
		followers: map[chan struct{}]struct{}{}}
}

// append writes data as entries of one stream. It never fails: what can't be
// written is counted.
func (s *sink) append(stream int, data []byte, b *buffers) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	b.out = b.out[:0]
	entries, size := 0, 0
	for len(data) > 0 {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		if len(b.out)+len(text)+overhead > cap(b.out) {
			s.write(b.out, entries, size)
			b.out, entries, size = b.out[:0], 0, 0
		}
		b.out = appendEntry(b.out, entry{at: now, stream: stream, partial: !whole, text: text})
		entries++
		size += len(data) - len(rest)
		data = rest
	}
	s.write(b.out, entries, size)
	for ch := range s.followers {
		select {
		case ch <- struct{}{}:
		default: // it is awake already
		}
	}
}

// write puts whole entries into the file, in one piece or not at all.
func (s *sink) write(p []byte, entries, size int) {
	err := s.ready(int64(len(p)))
	if err == nil && s.lostEntries > 0 {
		notice := fmt.Sprintf("[sandboxer] %d pieces of output (%d bytes) were lost here: %v",
			s.lostEntries, s.lostBytes, s.lostWhy)
		err = s.put(appendEntry(nil, entry{at: time.Now(), stream: stderr, text: []byte(notice)}))
		if err == nil {
			s.log.Info("output is written again", "lostBytes", s.lostBytes)
			s.lostEntries, s.lostBytes, s.lostWhy = 0, 0, nil
		}
	}
	if err == nil {
		err = s.put(p)
	}
	if err == nil {
		return
	}
	if s.lostEntries == 0 {
		s.log.Error(err, "output of a container is being lost", "reason", "its log can't be written")
	}
	s.lostEntries += entries
	s.lostBytes += size
	s.lostWhy = err
	s.dropped.Add(uint64(size))
}

// put appends p; after a failure the file ends where it did before.
func (s *sink) put(p []byte) error {
	if _, err := s.file.Write(p); err != nil {
		if s.file.Truncate(s.size) != nil {
			s.shut() // ready repairs its end
		}
		return err
	}
	s.size += int64(len(p))
	return nil
}

// ready makes sure that there is a file with room for n bytes.
func (s *sink) ready(n int64) error {
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.size == 0 || s.size+n <= s.max {
		return nil
	}
	if err := os.Rename(s.path, s.path+".1"); err != nil {
		return fmt.Errorf("rotating: %w", err)
	}
	s.turn++
	s.shut()
	return s.open()
}

// open opens the file for appending and ends a line that a crash left torn.
func (s *sink) open() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size, err := endLine(f)
	if err != nil {
		f.Close()
		return err
	}
	s.file, s.size = f, size
	return nil
}

// endLine returns the file's size after giving its last line an end.
func endLine(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], st.Size()-1); err != nil || last[0] == '\n' {
		return st.Size(), err
	}
	_, err = f.Write([]byte{'\n'})
	return st.Size() + 1, err
}

func (s *sink) shut() {
	if s.file != nil {
		s.file.Close()
		s.file, s.size = nil, 0
	}
}

// close ends the log for now; followers read what is there and end.
func (s *sink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut()
	s.ended = true
	for ch := range s.followers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
