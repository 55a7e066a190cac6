package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"sandboxer/internal/sealed"
)

// Limits that hold where Config leaves them open.
const (
	DefaultKeep    = 2000
	DefaultMaxFile = 1 << 20
)

// Config is what a Log needs.
type Config struct {
	// Dir is the daemon's data directory; required. The log is
	// Dir/events.jsonl, its older half Dir/events.jsonl.1.
	Dir string
	// Keep is how many events are kept in memory, for List and Follow; 0 means
	// DefaultKeep.
	Keep int
	// MaxFile bounds each of the two files, in bytes; 0 means DefaultMaxFile.
	MaxFile int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log gets what an operator should know, such as a full disk; optional.
	Log logr.Logger
}

// Log is a bounded log of events.
type Log struct {
	cfg  Config
	path string

	mu   sync.Mutex
	file *os.File // nil after a failure; the next event tries again
	size int64
	// ring holds the events numbered next-len(ring) to next-1, event i at
	// i%Keep: a follower remembers a number and no queue.
	ring    []Event
	next    int
	dropped uint64
	failing bool
	closed  bool
	earlier bool // see Earlier
	// changed is closed and replaced when an event is added; nil while nobody
	// waits for it.
	changed chan struct{}
}

// Open reads what is kept of earlier events and returns the log. What can't be
// read of it (a torn or damaged line) is passed over.
func Open(c Config) (*Log, error) {
	if c.Dir == "" {
		return nil, errors.New("events: Dir is required")
	}
	if c.Keep == 0 {
		c.Keep = DefaultKeep
	}
	if c.MaxFile == 0 {
		c.MaxFile = DefaultMaxFile
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Log{cfg: c, path: filepath.Join(c.Dir, "events.jsonl")}
	for _, p := range []string{l.path + ".1", l.path} {
		if info, err := os.Stat(p); err == nil && (info.IsDir() || info.Mode()&os.ModeNamedPipe != 0) {
			l.cfg.Log.Info("what is no file stands where events are kept, and is set aside", "file", p)
			_ = sealed.SetAside(p) // where it can't be, load says why
		}
		if err := l.load(p); err != nil {
			return nil, fmt.Errorf("reading the kept events: %w", err)
		}
	}
	if err := l.open(); err != nil {
		l.refused(err) // a full disk must not keep the daemon from starting
	}
	return l, nil
}

// Earlier says whether the last event that was kept when the log was opened is of a
// version that wrote no checksums.
func (l *Log) Earlier() bool { return l.earlier }

func (l *Log) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxLine)
	unreadable := 0
	for s.Scan() {
		var e Event
		if sealed.Check(s.Bytes()) == nil && json.Unmarshal(s.Bytes(), &e) == nil && !e.Time.IsZero() {
			l.add(e)
			l.earlier = !sealed.Sealed(s.Bytes())
		} else if len(s.Bytes()) > 0 {
			unreadable++
		}
	}
	if unreadable > 0 {
		l.cfg.Log.Info("some kept events can't be read: they were torn by a crash, or damaged, and are passed over", "file", path, "lines", unreadable)
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil // not ours; what came before it is kept
	}
	return s.Err()
}

// maxLine and maxMessage bound one event, so that a runtime's pages of output
// can't crowd out the others.
const (
	maxLine    = 64 << 10
	maxMessage = 4 << 10
)

// Append records e; a zero Time becomes now, an empty Type Normal. It never
// fails and waits for nobody: see Dropped.
func (l *Log) Append(e Event) {
	if e.Time.IsZero() {
		e.Time = l.cfg.Now()
	}
	if e.Type == "" {
		e.Type = Normal
	}
	if len(e.Message) > maxMessage {
		e.Message = string(bytes.ToValidUTF8([]byte(e.Message[:maxMessage]), nil)) + " …"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.add(e)
	if err := l.write(e); err != nil {
		l.dropped++
		l.refused(err)
		return
	}
	l.failing = false
}

func (l *Log) add(e Event) {
	if len(l.ring) < l.cfg.Keep {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.next%l.cfg.Keep] = e
	}
	l.next++
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// refused says that the disk refuses, once until it works again.
func (l *Log) refused(err error) {
	if !l.failing {
		l.cfg.Log.Error(err, "events can't be stored and are kept in memory only")
	}
	l.failing = true
}

// List returns the kept events of a sandbox, or of all for "", oldest first.
func (l *Log) List(sandbox string) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, _ := l.since(0, sandbox)
	return list
}

// since returns the kept events of number from and up, and the number after
// the last.
func (l *Log) since(from int, sandbox string) ([]Event, int) {
	list := []Event{}
	for i := max(from, l.next-len(l.ring)); i < l.next; i++ {
		if e := l.ring[i%l.cfg.Keep]; sandbox == "" || e.Sandbox == sandbox {
			list = append(list, e)
		}
	}
	return list, l.next
}

// Follow calls send for every kept event of a sandbox, or of all for "", and
// then for every new one, until ctx is done or send fails; it returns that
// error, or nil after Close. A send so slow that events fall out of the log
// meanwhile misses those.
func (l *Log) Follow(ctx context.Context, sandbox string, send func(Event) error) error {
	from := 0
	for {
		l.mu.Lock()
		list, next := l.since(from, sandbox)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed, closed := l.changed, l.closed
		l.mu.Unlock()
		for _, e := range list {
			if err := send(e); err != nil {
				return err
			}
		}
		if closed {
			return nil
		}
		from = next
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Dropped returns how many events could not be stored.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close ends every Follow and closes the file; later events are not recorded.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.shut()
}
