package logs

import (
	"bufio"
	"bytes"
	"context"
	"io"
)

// view turns entries into what a reader asked for.
type view struct {
	o    Options
	w    *bufio.Writer
	skip int // lines that Tail still leaves out
	// open says which streams are within a line, hidden whether it is left out.
	open, hidden [len(streams)]bool
	// last is the stream printed last, mid whether within a line.
	last int
	mid  bool
}

// copy prints every entry up to r's present end and flushes.
func (v *view) copy(ctx context.Context, r *lines) error {
	if err := each(ctx, r, v.print); err != nil {
		return err
	}
	return v.w.Flush()
}

// each calls fn for the entries up to r's present end. What is no entry (torn
// by a crash, or not ours) is passed over.
func each(ctx context.Context, r *lines, fn func(entry)) error {
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
		if e, err := parseEntry(line); err == nil {
			fn(e)
		}
	}
}

// count returns how many lines the parts hold.
func (v *view) count(ctx context.Context, parts ...part) (total int, err error) {
	var open [len(streams)]bool
	for _, p := range parts {
		err = each(ctx, newLines(p.asFound()), func(e entry) {
			if !open[e.stream] && !e.at.Before(v.o.Since) {
				total++
			}
			open[e.stream] = e.partial
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// print writes one entry; errors stay in the writer until it is flushed.
func (v *view) print(e entry) {
	if !v.open[e.stream] { // a line begins
		early := e.at.Before(v.o.Since)
		v.hidden[e.stream] = early || v.skip > 0
		if !early && v.skip > 0 {
			v.skip--
		}
	}
	v.open[e.stream] = e.partial
	if v.hidden[e.stream] {
		return
	}
	if v.o.Timestamps && (!v.mid || v.last != e.stream) {
		if v.mid {
			v.w.WriteByte('\n')
		}
		v.w.WriteString(e.at.UTC().Format(stamp))
		v.w.WriteByte(' ')
	}
	v.w.Write(e.text)
	if !e.partial {
		v.w.WriteByte('\n')
	}
	v.last, v.mid = e.stream, e.partial
}

// say prints a line of our own.
func (v *view) say(line string) {
	if v.mid {
		v.w.WriteByte('\n')
	}
	v.mid = false
	v.w.WriteString(line)
}

// lines cuts a file that may still grow into lines.
type lines struct {
	r          io.Reader
	buf        []byte
	start, end int
}

func newLines(r io.Reader) *lines {
	return &lines{r: r, buf: make([]byte, 2*maxPiece)}
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
