package logs

import (
	"bufio"
	"bytes"
	"io"
)

// Text turns a log's entries into what the container wrote.
type Text struct {
	out        [len(streams)]*bufio.Writer // may be one and the same
	timestamps bool
	last       []byte // the stamp of the latest entry that is no note
	stream     int    // of the latest entry
	// mid says which streams are within a line.
	mid   [len(streams)]bool
	begun []byte // an entry that is not complete
}

// NewText writes what comes from the container's stdout to out and what comes
// from its stderr to err, with timestamps in front of each line if asked for.
func NewText(out, err io.Writer, timestamps bool) *Text {
	return &Text{out: [...]*bufio.Writer{bufio.NewWriterSize(out, 2*maxPiece), bufio.NewWriterSize(err, 2*maxPiece)}, timestamps: timestamps}
}

// Resume returns the Options.After that goes on where the entries broke off, and
// forgets the part of one that is not complete.
func (t *Text) Resume() string {
	t.begun = t.begun[:0]
	return string(t.last)
}

// Write takes entries, as Options.Entries gives them, in pieces of any size, and
// passes on what is complete.
func (t *Text) Write(p []byte) (int, error) {
	for rest := p; ; {
		line, after, ok := bytes.Cut(rest, []byte{'\n'})
		if len(t.begun) > 0 || !ok {
			t.begun = append(t.begun, line...)
			line = t.begun
		}
		if !ok {
			return len(p), t.flush()
		}
		if e, ok := parseEntry(line); ok {
			if e.kind != note { // which may be the reader's, with its own time
				t.last = append(t.last[:0], e.at...)
			}
			t.print(e)
		}
		t.begun, rest = t.begun[:0], after
	}
}

func (t *Text) flush() error {
	for _, w := range t.out {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// print writes one entry; errors stay in the writer until it is flushed.
func (t *Text) print(e entry) {
	shared := t.out[stdout] == t.out[stderr]
	if e.stream != t.stream && !shared {
		t.out[t.stream].Flush() // so that a terminal shows both in their order
	}
	switch {
	case e.kind == began:
		for i := range t.mid {
			t.endLine(i)
		}
		return
	case e.kind == note, t.timestamps && e.stream != t.stream && shared:
		t.endLine(stderr)
		if shared {
			t.endLine(stdout)
		}
	}
	t.stream = e.stream
	w := t.out[e.stream]
	if t.timestamps && !t.mid[e.stream] {
		w.Write(e.at)
		w.WriteByte(' ')
	}
	if e.kind == note {
		w.WriteString("[sandboxer] ")
	}
	w.Write(e.text)
	if t.mid[e.stream] = e.kind == partial; !t.mid[e.stream] {
		w.WriteByte('\n')
	}
}

// endLine ends a line that the stream has left open.
func (t *Text) endLine(stream int) {
	if !t.mid[stream] {
		return
	}
	t.out[stream].WriteByte('\n')
	t.mid[stream] = false
	if t.out[stdout] == t.out[stderr] {
		t.mid = [len(streams)]bool{}
	}
}
