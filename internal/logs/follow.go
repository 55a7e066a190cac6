package logs

import (
	"context"
	"errors"
	"io"
	"os"
)

// found is a log as a reader met it, and the reader's subscription to more.
type found struct {
	older, current part
	turn           int // the turn of current
	wake           chan struct{}
}

// watch opens what is kept and subscribes to what comes, with nothing written
// or rotated between the two. The caller ends it with unwatch.
func (s *sink) watch() (f found, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = found{turn: s.turn, wake: make(chan struct{}, 1)}
	if f.older, err = openPart(s.path + ".1"); err != nil {
		return found{}, err
	}
	if f.current, err = openPart(s.path); err != nil {
		f.older.close()
		return found{}, err
	}
	s.followers[f.wake] = struct{}{}
	return f, nil
}

func (s *sink) unwatch(f found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.followers, f.wake)
	f.older.close()
	f.current.close()
}

// state returns what a follower compares. It asks before it reads: all that was
// written before the turn, or the end, is then in the file that it reads.
func (s *sink) state() (turn int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn, s.ended
}

// openTurn opens the file of a turn, or of the oldest one that is kept, and
// says which; nil where it is not there yet.
func (s *sink) openTurn(turn int) (f *os.File, got int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got = max(turn, s.turn-1)
	path := s.path
	if got < s.turn {
		path += ".1"
	}
	f, err = os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, got, nil
	}
	return f, got, err
}

const tooSlow = "[sandboxer] this reader was too slow: some output was rotated away\n"

// follow prints the current file as it grows, and those that come after it.
func (v *view) follow(ctx context.Context, s *sink, at found) error {
	have := at.current.file != nil
	var cur io.Reader = at.current.file
	if !have {
		cur = io.MultiReader()
	}
	r, turn := newLines(cur), at.turn
	var opened *os.File // what at does not own
	defer func() { opened.Close() }()
	for {
		now, ended := s.state()
		if err := v.copy(ctx, r); err != nil {
			return err
		}
		if !have || now != turn {
			want := turn
			if have {
				want++
			}
			f, got, err := s.openTurn(want)
			if err != nil {
				return err
			}
			if f != nil {
				opened.Close()
				opened, r, turn, have = f, newLines(f), got, true
				if got != want {
					v.say(tooSlow)
				}
				continue
			}
		}
		if ended {
			return nil
		}
		select {
		case <-at.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
