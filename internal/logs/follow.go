package logs

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// subscribe returns a channel that says that there is more; unsubscribe ends
// that.
func (s *sink) subscribe() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := make(chan struct{}, 1)
	s.followers[wake] = struct{}{}
	return wake
}

func (s *sink) unsubscribe(wake chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.followers, wake)
}

// mark is how much the pumps will have carried when all that is in their pipes
// now is in the log.
type mark map[*pump]int64

func (s *sink) mark() mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := mark{}
	for p := range s.pumps {
		if n, err := unix.IoctlGetInt(p.fd, unix.TIOCINQ); err == nil && n > 0 {
			m[p] = p.carried + int64(n)
		}
	}
	return m
}

// reached reports whether the log is that far.
func (s *sink) reached(m mark) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, n := range m {
		if _, runs := s.pumps[p]; runs && p.carried < n {
			return false
		}
	}
	return true
}

// state returns what a follower compares. It asks before it reads: all that was
// written before the turn, or the end, is then in the file that it reads.
func (s *sink) state() (turn int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files.turn, s.ended
}

// openTurn opens the file of a turn, or of the oldest one after it that is
// there, and says which; nil where none is yet.
func (s *sink) openTurn(turn int) (f *os.File, got int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for got = max(turn, s.files.turn-s.files.keep+1); got <= s.files.turn; got++ {
		f, err = os.Open(s.files.number(s.files.turn - got))
		if !errors.Is(err, os.ErrNotExist) {
			return f, got, err
		}
	}
	return nil, got, nil
}

const tooSlow = "this reader was too slow: some output was rotated away"

// follow prints what was found, then the file that grows, and those that come
// after it.
func (v *view) follow(ctx context.Context, s *sink, f found, wake, until <-chan struct{}) error {
	r, turn := newLines(io.MultiReader()), f.turn
	for i, p := range f.parts {
		if f.grows && i == len(f.parts)-1 {
			r = newLines(p.file)
		} else if err := v.copy(ctx, newLines(p.asFound())); err != nil {
			return err
		}
	}
	var opened *os.File // by us
	defer func() { opened.Close() }()
	var end mark // nil until no more is to come
	for {
		done := end != nil && s.reached(end)
		now, ended := s.state()
		if err := v.copy(ctx, r); err != nil {
			return err
		}
		if turn < now {
			file, got, err := s.openTurn(turn + 1)
			if err != nil {
				return err
			}
			if file != nil {
				opened.Close()
				if got != turn+1 {
					v.say(tooSlow)
				}
				opened, r, turn = file, newLines(file), got
				continue
			}
		}
		if ended || done {
			return nil
		}
		select {
		case <-wake:
		case <-until:
			end, until = s.mark(), nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
