package logs

import (
	"bytes"
	"errors"
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
const overhead = len(stamp) + len(" stdout F \n")

// entry is one line of a log file.
type entry struct {
	at      time.Time
	stream  int  // index into streams
	partial bool // the line goes on in the stream's next entry
	text    []byte
}

// appendEntry appends e's line to b.
func appendEntry(b []byte, e entry) []byte {
	b = e.at.UTC().AppendFormat(b, stamp)
	b = append(b, ' ')
	b = append(b, streams[e.stream]...)
	if e.partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, e.text...)
	return append(b, '\n')
}

var errNoEntry = errors.New("not a log entry")

// parseEntry reads one line without its newline; the entry shares its memory.
func parseEntry(line []byte) (entry, error) {
	when, rest, ok := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !ok3 || len(tag) != 1 {
		return entry{}, errNoEntry
	}
	e := entry{stream: slices.Index(streams[:], string(stream)), partial: tag[0] == 'P', text: text}
	if e.stream < 0 || (tag[0] != 'P' && tag[0] != 'F') {
		return entry{}, errNoEntry
	}
	var err error
	if e.at, err = time.Parse(time.RFC3339Nano, string(when)); err != nil {
		return entry{}, errNoEntry
	}
	return e, nil
}
