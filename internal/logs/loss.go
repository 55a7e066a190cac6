package logs

import (
	"fmt"
	"time"
)

// Loss is output that could not be written.
type Loss struct {
	Lines uint64 // whole ones
	Bytes uint64
	Why   string
}

// String says what was lost, and why.
func (l Loss) String() string {
	return fmt.Sprintf("%d lines (%d bytes) of output were lost: %s", l.Lines, l.Bytes, l.Why)
}

// Change says that output of a container begins to be lost, or that its log is
// written again and says what was lost.
type Change struct {
	Sandbox, Container string
	Losing             bool
	Loss               Loss // so far, or all in all
}

const (
	// retryEvery is how often a log that can't be written is tried, beside each
	// time that there is more to write.
	retryEvery = time.Second
	// calm is how long nothing must be lost until all is well again: a disk
	// that is nearly full takes some writes and refuses others.
	calm = 5 * time.Second
)

// lose counts what can't be written. The log itself says it as soon as it can.
func (s *sink) lose(lines, size int, err error) {
	for _, l := range []*Loss{&s.lost, &s.trouble} {
		l.Lines += uint64(lines)
		l.Bytes += uint64(size)
		l.Why = err.Error()
	}
	s.lostAt = time.Now()
	s.dropped.Add(uint64(size))
	so := s.trouble
	if s.losing.Swap(&so) == nil {
		s.log.Error(err, "output of a container is being lost: its log can't be written")
		s.changed(true, so)
	}
	s.retryLater()
}

func (s *sink) changed(losing bool, l Loss) {
	if s.tell != nil {
		s.tell(Change{Sandbox: s.key.sandbox, Container: s.key.container, Losing: losing, Loss: l})
	}
}

// say writes into the log what it does not say yet of losses, and of an
// instance's beginning.
func (s *sink) say() error {
	if l := s.lost; l.Bytes > 0 {
		if err := s.remark(entry{kind: note, stream: stderr, text: []byte(l.String())}); err != nil {
			return err
		}
		s.lost = Loss{}
		_ = s.save()
	}
	if s.unsaid != "" {
		if err := s.remark(entry{kind: began, stream: stdout, text: []byte(s.unsaid)}); err != nil {
			return err
		}
		s.unsaid = ""
		_ = s.save()
	}
	return nil
}

// remark writes an entry of our own.
func (s *sink) remark(e entry) error {
	e.at = s.clock.text[:]
	line := appendEntry(nil, e)
	if err := s.ready(len(line)); err != nil {
		return err
	}
	s.clock.tick()
	return s.files.put(line)
}

// sayOrRetry says what is to be said, now or in a while.
func (s *sink) sayOrRetry() {
	if s.say() != nil || s.trouble.Bytes > 0 {
		s.retryLater()
	}
}

func (s *sink) retryLater() {
	if s.retry != nil {
		return
	}
	s.retry = time.AfterFunc(retryEvery, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.retry = nil; s.ended {
			return
		}
		s.clock.set(time.Now().UnixNano())
		if s.say() == nil && s.trouble.Bytes > 0 && time.Since(s.lostAt) >= calm {
			s.log.Info("output of a container is written again", "lostLines", s.trouble.Lines, "lostBytes", s.trouble.Bytes)
			s.changed(false, s.trouble)
			s.trouble = Loss{}
			s.losing.Store(nil)
		}
		s.sayOrRetry()
		s.wake()
	})
}
