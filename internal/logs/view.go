package logs

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"time"
)

// choice is which entries are wanted. It is asked for one after the other.
type choice struct {
	since []byte // a stamp; lines that began before are left out
	after []byte // the stamp of an entry that is left out with all before it; empty: none
	exact bool   // that entry is kept: stamps need not be in order, where the host's clock was put back
	older bool   // entries that were left out for after have been seen
	gap   bool   // the entries that follow after are not kept any more
	only  int    // the instance that is wanted, as counted in instance, or All
	skip  int    // lines that are left out
	// instance counts beginnings; what comes before the first is 0.
	instance int
	// open says which streams are within a line, hidden whether it is left out.
	open, hidden [len(streams)]bool
}

// wants reports whether e is wanted, and whether a line begins with it.
func (c *choice) wants(e entry) (wanted, begins bool) {
	if len(c.after) > 0 {
		order := bytes.Compare(e.at, c.after)
		if c.exact && order != 0 {
			return false, false
		}
		if order >= 0 {
			c.after, c.gap = nil, order > 0 && !c.older
		}
		if order <= 0 {
			c.older = true
			return false, false
		}
	}
	if e.kind == began {
		c.instance++
		c.open = [len(streams)]bool{}
		return c.only == All, false
	}
	if c.only != All && c.instance != c.only {
		return false, false
	}
	if e.kind == note || !c.open[e.stream] {
		early := bytes.Compare(e.at, c.since) < 0
		hidden := early || c.skip > 0
		if !early && c.skip > 0 {
			c.skip--
		}
		if e.kind == note {
			return !hidden, !early
		}
		c.hidden[e.stream], begins = hidden, !early
	}
	c.open[e.stream] = e.kind == partial
	return !c.hidden[e.stream], begins
}

// view writes the entries that are wanted.
type view struct {
	choice
	w    *bufio.Writer
	raw  bool  // as entries
	text *Text // or as text, to w
}

// copy prints every entry up to r's present end and flushes.
func (v *view) copy(ctx context.Context, r *lines) error {
	err := each(ctx, r, func(line []byte, e entry) {
		wanted, _ := v.wants(e)
		if v.gap {
			v.gap = false
			v.say(tooSlow)
		}
		if wanted {
			v.print(line, e)
		}
	})
	if err != nil {
		return err
	}
	return v.w.Flush()
}

// print writes one entry; errors stay in the writer until it is flushed.
func (v *view) print(line []byte, e entry) {
	if !v.raw {
		v.text.print(e)
		return
	}
	v.w.Write(line)
	v.w.WriteByte('\n')
}

// say adds a note of this reader's own.
func (v *view) say(text string) {
	var now clock
	now.set(time.Now().UnixNano())
	e := entry{at: now.text[:], stream: stderr, kind: note, text: []byte(text)}
	v.print(bytes.TrimSuffix(appendEntry(nil, e), []byte{'\n'}), e)
}

// each calls fn for the entries up to r's present end. What is no entry (torn
// by a crash, or not ours) is passed over.
func each(ctx context.Context, r *lines, fn func(line []byte, e entry)) error {
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if e, ok := parseEntry(line); ok {
			fn(line, e)
		}
	}
}

// eachFound calls fn for all entries that were found.
func eachFound(ctx context.Context, f found, fn func(e entry)) error {
	for _, p := range f.parts {
		if err := each(ctx, newLines(p.asFound()), func(_ []byte, e entry) { fn(e) }); err != nil {
			return err
		}
	}
	return nil
}

// skipTo leaves out all but the last tail lines of those that are wanted.
func (v *view) skipTo(ctx context.Context, f found, tail int) error {
	c, total := v.choice, 0
	err := eachFound(ctx, f, func(e entry) {
		if wanted, begins := c.wants(e); wanted && begins {
			total++
		}
	})
	v.skip = max(0, total-tail)
	return err
}

// findAfter looks whether the entry after which to begin is kept.
func (v *view) findAfter(ctx context.Context, f found) error {
	return eachFound(ctx, f, func(e entry) { v.exact = v.exact || bytes.Equal(e.at, v.after) })
}

// findPrevious chooses the instance before the last one.
func (v *view) findPrevious(ctx context.Context, f found) error {
	begun, earlier := 0, false
	err := eachFound(ctx, f, func(e entry) {
		if e.kind == began {
			begun++
		} else if begun == 0 {
			earlier = true // its beginning was rotated away
		}
	})
	if err != nil {
		return err
	}
	if begun == 0 || begun == 1 && !earlier {
		return ErrNoPrevious
	}
	v.only = begun - 1
	return nil
}

// lines cuts a file that may still grow into lines.
type lines struct {
	r          io.Reader
	buf        []byte
	start, end int
}

func newLines(r io.Reader) *lines {
	return &lines{r: r, buf: make([]byte, 4*maxPiece)}
}

// next returns the next line that is complete, without its end, or io.EOF when
// there is none yet. It is valid until the next call.
func (l *lines) next() ([]byte, error) {
	for {
		if line, _, ok := bytes.Cut(l.buf[l.start:l.end], []byte{'\n'}); ok {
			l.start += len(line) + 1
			return line, nil
		}
		if l.start > 0 {
			l.end = copy(l.buf, l.buf[l.start:l.end])
			l.start = 0
		}
		if l.end == len(l.buf) {
			l.end = 0 // longer than any entry: not ours
		}
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}
