package logs

import (
	"bytes"
	"slices"
	"time"
)

// The streams, in the order of their FIFOs.
const (
	stdout = iota
	stderr
)

var streams = [...]string{stdout: "stdout", stderr: "stderr"}

// stamp is RFC 3339 with all nine digits, so that entries sort as text.
const stamp = "2006-01-02T15:04:05.000000000Z"

// overhead is more than an entry is longer than its text.
const overhead = len(stamp) + len(" stdout F:start \n")

// kind is what an entry is, in the log its tag. The CRI's readers look at a
// tag's first letter alone.
type kind int

const (
	whole   kind = iota // a line, or its end
	partial             // the line goes on in the stream's next entry
	began               // an instance starts here; the text is its ID
	note                // what this package has to say to a reader
)

var tags = [...]string{whole: "F", partial: "P", began: "F:start", note: "F:note"}

// entry is one line of a log file.
type entry struct {
	at     []byte // in stamp's layout; no two entries of a log have the same
	stream int    // index into streams
	kind   kind
	text   []byte
}

// appendEntry appends e's line to b.
func appendEntry(b []byte, e entry) []byte {
	b = append(b, e.at...)
	b = append(b, ' ')
	b = append(b, streams[e.stream]...)
	b = append(b, ' ')
	b = append(b, tags[e.kind]...)
	b = append(b, ' ')
	b = append(b, e.text...)
	return append(b, '\n')
}

// parseEntry reads one line without its newline; the entry shares its memory.
// It reports false for what is no entry of a log.
func parseEntry(line []byte) (entry, bool) {
	at, rest, ok := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	e := entry{at: at, stream: slices.Index(streams[:], string(stream)), kind: kind(slices.Index(tags[:], string(tag))), text: text}
	return e, ok && ok2 && ok3 && isStamp(at) && e.stream >= 0 && e.kind >= 0
}

// isStamp reports whether b has the form of stamp.
func isStamp(b []byte) bool {
	if len(b) != len(stamp) {
		return false
	}
	for i := range b {
		if digit := stamp[i] >= '0' && stamp[i] <= '9'; digit && (b[i] < '0' || b[i] > '9') || !digit && b[i] != stamp[i] {
			return false
		}
	}
	return true
}

// clock gives entries their stamps.
type clock struct {
	ns   int64 // since 1970
	text [len(stamp)]byte
}

// set sets the clock, past what it showed last: entries of one nanosecond get
// different stamps. A host whose clock was put back is followed.
func (c *clock) set(ns int64) {
	if ahead := c.ns - ns; ahead >= 0 && ahead < int64(time.Second) {
		ns = c.ns + 1
	}
	c.ns = ns
	c.format()
}

func (c *clock) format() { time.Unix(0, c.ns).UTC().AppendFormat(c.text[:0], stamp) }

// tick goes on to the next nanosecond.
func (c *clock) tick() {
	c.ns++
	for i := len(c.text) - 2; c.text[i] != '.'; i-- {
		if c.text[i]++; c.text[i] <= '9' {
			return
		}
		c.text[i] = '0'
	}
	c.format() // a second is full
}
