package logs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// All is the Tail that leaves nothing out.
const All = -1

// Options chooses what Read gives.
type Options struct {
	// Follow goes on until the container's instance has ended.
	Follow bool
	// Tail is how many of the last lines to give, 0 and up, or All.
	Tail int
	// Since leaves out lines that began before; zero: none.
	Since time.Time
	// Timestamps begins each line with the time at which it was read. Without
	// it the output is what the container wrote, byte for byte.
	Timestamps bool
}

// Read writes a container's kept output to w, both streams in the order in
// which they were read. A container that never wrote, or is not known, gives
// nothing. It returns nil at the end, ctx's error, or w's.
func (l *Logs) Read(ctx context.Context, sandbox, container string, o Options, w io.Writer) error {
	if err := errors.Join(checkName(sandbox), checkName(container)); err != nil {
		return err
	}
	l.mu.Lock()
	s := l.sinks[key{sandbox, container}]
	l.mu.Unlock()
	if s == nil { // nothing writes, so nothing rotates and nothing will come
		s = newSink(l.logFile(sandbox, container), 0, &l.dropped, l.pool, l.cfg.Log)
		s.ended = true
	}
	found, err := s.watch()
	if err != nil {
		return err
	}
	defer s.unwatch(found)
	v := &view{o: o, w: bufio.NewWriterSize(w, 2*maxPiece)}
	if o.Tail >= 0 {
		total, err := v.count(ctx, found.older, found.current)
		if err != nil {
			return err
		}
		v.skip = max(0, total-o.Tail)
	}
	if err := v.copy(ctx, newLines(found.older.asFound())); err != nil {
		return err
	}
	if o.Follow {
		return v.follow(ctx, s, found)
	}
	return v.copy(ctx, newLines(found.current.asFound()))
}

// part is one of a log's two files as it was found; its file is nil where there
// is none.
type part struct {
	file *os.File
	size int64
}

// asFound reads what was there when it was found: what is counted and what is
// printed after it are the same, whatever is appended between the two.
func (p part) asFound() io.Reader {
	if p.file == nil {
		return io.MultiReader()
	}
	return io.NewSectionReader(p.file, 0, p.size)
}

func (p part) close() {
	if p.file != nil {
		p.file.Close()
	}
}

func openPart(path string) (part, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return part{}, nil
	}
	if err != nil {
		return part{}, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return part{}, err
	}
	return part{file: f, size: st.Size()}, nil
}
