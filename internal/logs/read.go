package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// All is the Tail that leaves nothing out.
const All = -1

// ErrNoPrevious says that there is no output of an earlier instance.
var ErrNoPrevious = errors.New("no output of an earlier run is kept")

// Options chooses what Read gives.
type Options struct {
	// Follow goes on over the container's instances, until Until is closed or
	// the log is removed.
	Follow bool
	// Until says that no more will come: what was written before is given
	// still. Nil: never.
	Until <-chan struct{}
	// Tail is how many of the last lines to give, 0 and up, or All.
	Tail int
	// Since leaves out lines that began before; zero: none.
	Since time.Time
	// Previous gives the output of the instance before the last one alone, or
	// ErrNoPrevious. It excludes Follow.
	Previous bool
	// Timestamps begins each line with the time at which it was read. Without
	// it the output is what the container wrote, byte for byte, but for an
	// instance's last line, which gets an end.
	Timestamps bool
	// Entries gives the log's own lines, for a Text to read, and leaves
	// Timestamps to that.
	Entries bool
	// After leaves out all entries up to the one with this time, as Text.Resume
	// gives it; empty: none.
	After string
}

// Check says what is wrong with the options; nil: nothing.
func (o Options) Check() error {
	switch {
	case o.Previous && o.Follow:
		return errors.New("the previous run has ended: there is nothing to follow")
	case o.After != "" && !isStamp([]byte(o.After)):
		return fmt.Errorf("after %q: want a time such as %s", o.After, stamp)
	}
	return nil
}

// Read writes a container's kept output to w, both streams in the order in
// which they were read, and all of it that was written before the call. A
// container that never wrote, or is not known, gives nothing. It returns nil at
// the end, ctx's error, or w's.
func (l *Logs) Read(ctx context.Context, sandbox, container string, o Options, w io.Writer) error {
	if err := errors.Join(checkName(sandbox), checkName(container), o.Check()); err != nil {
		return err
	}
	l.mu.Lock()
	s := l.hold(key{sandbox, container})
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.release(s)
	}()
	wake := s.subscribe()
	defer s.unsubscribe(wake)
	for at := s.mark(); !s.reached(at); {
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	found, err := s.open()
	if err != nil {
		return err
	}
	defer found.close()
	v := newView(o, w)
	if o.After != "" {
		if err := v.findAfter(ctx, found); err != nil {
			return err
		}
	}
	if o.Previous {
		if err := v.findPrevious(ctx, found); err != nil {
			return err
		}
	}
	if o.Tail >= 0 {
		if err := v.skipTo(ctx, found, o.Tail); err != nil {
			return err
		}
	}
	if o.Follow {
		return v.follow(ctx, s, found, wake, o.Until)
	}
	for _, p := range found.parts {
		if err := v.copy(ctx, newLines(p.asFound())); err != nil {
			return err
		}
	}
	return nil
}

// found is a log as a reader met it.
type found struct {
	parts []part // oldest first
	grows bool   // the last part is the file that grows
	turn  int    // of that file, or of the one before it
}

func (f found) close() {
	for _, p := range f.parts {
		p.file.Close()
	}
}

// part is one of a log's files as it was found.
type part struct {
	file *os.File
	size int64
}

// asFound reads what was there when it was found: what is counted and what is
// printed after it are the same, whatever is appended between the two.
func (p part) asFound() io.Reader { return io.NewSectionReader(p.file, 0, p.size) }

func openPart(path string) (p part, err error) {
	if p.file, err = os.Open(path); err != nil {
		return part{}, err
	}
	st, err := p.file.Stat()
	if err != nil {
		p.file.Close()
		return part{}, err
	}
	return part{p.file, st.Size()}, nil
}

// open opens what is kept, with nothing written or rotated meanwhile.
func (s *sink) open() (f found, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.turn = s.files.turn - 1
	for i := s.files.keep - 1; i >= 0; i-- {
		p, err := openPart(s.files.number(i))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			f.close()
			return found{}, err
		}
		f.parts = append(f.parts, p)
		if i == 0 {
			f.grows, f.turn = true, s.files.turn
		}
	}
	return f, nil
}

// newView returns what writes to w as chosen.
func newView(o Options, w io.Writer) *view {
	buffered := bufio.NewWriterSize(w, 2*maxPiece)
	v := &view{w: buffered, raw: o.Entries, text: &Text{out: [...]*bufio.Writer{buffered, buffered}, timestamps: o.Timestamps}}
	v.only = All
	if !o.Since.IsZero() {
		v.since = []byte(o.Since.UTC().Format(stamp))
	}
	v.after = []byte(o.After)
	return v
}
