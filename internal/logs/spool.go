package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spool is what makes a daemon that is killed lose and double nothing. Reading
// a pipe and writing a log are two steps, and a process that dies between them
// takes with it what it has read. So text is moved by the kernel, with
// splice(2), from the pipe to the end of a file: every byte is in one of the
// two at any moment. Another file, the head, says how much of the text is in
// the log, and how long the log is then. A later daemon cuts the log to that
// length and goes on with the rest of the text.
//
// Beside what is being carried, the text is a line whose end did not come yet.
//
// The files are in the state directory, in memory as a rule.
type spool struct {
	path string // of the head; the texts' have a suffix
	boot string // of the host: what an earlier one has left says nothing
	file *os.File
	text [len(streams)]text
}

// text is what was taken of one stream. What is between done and end is not in
// the log yet.
type text struct {
	file      *os.File
	done, end int64
}

// head is what is true of the log, and of the texts, once their first bytes up
// to done are in it.
type head struct {
	log  int64 // its length, or unknown
	at   int64 // the time of the next entry, in nanoseconds since 1970
	lost Loss  // what it does not say yet
}

// unknown is the length of a log that is not open.
const unknown = -1

const (
	headSize  = 256
	headMagic = "sandboxer spool 1\n"
	// spoolSize is how long a text gets before its beginning is removed.
	spoolSize = 8 * batch
)

var errNoSpool = errors.New("the spool can't be written")

func (s *spool) textPath(stream int) string { return s.path + "." + streams[stream] }

// save writes the head, in one piece. limit is where the text of a stream ends
// although its file may be longer; unknown: at the file's end.
func (s *spool) save(h head, limit [len(streams)]int64) (err error) {
	if s.file == nil {
		if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
	}
	var buf [headSize]byte
	b := append(buf[:0], headMagic...)
	b = append(b, s.boot...)
	b = append(b, '\n')
	for _, n := range [...]int64{h.log, h.at, int64(h.lost.Lines), int64(h.lost.Bytes),
		s.text[stdout].done, limit[stdout], s.text[stderr].done, limit[stderr]} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	copy(buf[len(b):], h.lost.Why)
	_, err = s.file.WriteAt(buf[:], 0)
	return err
}

// take moves what is in a pipe to the text, and reads into b what is not in the
// log yet: n bytes, of which taken are new. The head was saved before.
// errNoSpool says that nothing was moved.
func (s *spool) take(stream, pipe int, b []byte) (n, taken int, err error) {
	t := &s.text[stream]
	if t.file == nil {
		if t.file, err = os.OpenFile(s.textPath(stream), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return 0, 0, errNoSpool
		}
	}
	off, room := t.end, len(b)-s.held(stream)
	for {
		moved, err := unix.Splice(pipe, nil, int(t.file.Fd()), &off, room, unix.SPLICE_F_NONBLOCK)
		if err == nil {
			taken = int(moved)
			break
		}
		if err != unix.EINTR {
			return 0, 0, errNoSpool
		}
	}
	t.end += int64(taken)
	n, err = s.read(stream, b)
	return n, taken, err
}

// read reads what is not in the log yet.
func (s *spool) read(stream int, b []byte) (n int, err error) {
	t := &s.text[stream]
	held := s.held(stream)
	if held == 0 {
		return 0, nil
	}
	if held > len(b) {
		return 0, fmt.Errorf("the spool holds %d bytes, more than it may", held)
	}
	return io.ReadFull(io.NewSectionReader(t.file, t.done, int64(held)), b[:held])
}

// trim gives back the room of what is in the log; held is the rest of the text.
func (s *spool) trim(stream int, held []byte, h head) {
	t := &s.text[stream]
	switch {
	case t.end == 0:
		return
	case len(held) == 0:
		if t.file.Truncate(0) == nil {
			t.done, t.end = 0, 0
		}
		return
	case t.end < spoolSize:
		return
	}
	// The rest goes to the front, where it counts from the head's saving on.
	if _, err := t.file.WriteAt(held, 0); err != nil {
		return
	}
	limit := [...]int64{unknown, unknown}
	limit[stream] = int64(len(held))
	was := *t
	t.done, t.end = 0, int64(len(held))
	if s.save(h, limit) != nil || t.file.Truncate(t.end) != nil {
		*t = was
	}
}

// load opens what an earlier daemon has left. A spool that is not there, or of
// another boot, holds nothing.
func (s *spool) load() (h head, err error) {
	h.log = unknown
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0); errors.Is(err, os.ErrNotExist) {
		return h, nil
	} else if err != nil {
		return h, err
	}
	var buf [headSize]byte
	if _, err := io.ReadFull(s.file, buf[:]); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return h, err
	}
	b, ok := bytes.CutPrefix(buf[:], []byte(headMagic+s.boot+"\n"))
	if !ok {
		return h, s.file.Truncate(0)
	}
	var n [8]int64
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	h = head{log: n[0], at: n[1], lost: Loss{Lines: uint64(n[2]), Bytes: uint64(n[3]),
		Why: string(bytes.TrimRight(b[8*len(n):], "\x00"))}}
	for i := range s.text {
		if err := s.loadText(i, n[4+2*i], n[5+2*i]); err != nil {
			return h, err
		}
	}
	return h, nil
}

func (s *spool) loadText(stream int, done, limit int64) error {
	f, err := os.OpenFile(s.textPath(stream), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil && limit != unknown && limit < st.Size() {
		err = f.Truncate(limit)
	} else {
		limit = st.Size()
	}
	if err != nil {
		f.Close()
		return err
	}
	s.text[stream] = text{f, min(done, limit), limit}
	return nil
}

// held is how much text of a stream is not in the log.
func (s *spool) held(stream int) int { return int(s.text[stream].end - s.text[stream].done) }

// close gives up the files, and removes them if told that they say nothing.
func (s *spool) close(remove bool) {
	if s.file != nil {
		s.file.Close()
	}
	for i, t := range s.text {
		if t.file != nil {
			t.file.Close()
		}
		if remove {
			_ = os.Remove(s.textPath(i)) // what is left says nothing
		}
	}
	if remove {
		_ = os.Remove(s.path)
	}
	*s = spool{path: s.path, boot: s.boot}
}
