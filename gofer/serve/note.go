package serve

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// A note is the daemon's, in the first journal of a gofer and beyond all that
// gofers use: it lasts as long as whoever holds the journal, and no path leads
// there. A gofer could change it: it is believed as far as it is signed.
const (
	atNote  = journalBytes
	noteMax = 1 << 20
)

// WriteNote replaces a journal's note. Who is killed meanwhile leaves a torn one.
func WriteNote(file *os.File, note []byte) error {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(note)), uint64(len(note)))
	if _, err := file.WriteAt(append(b, note...), atNote); err != nil {
		return fmt.Errorf("writing a note: %w", err)
	}
	return nil
}

// ReadNote reads a journal's note; empty: it has none.
func ReadNote(file *os.File) ([]byte, error) {
	var size [8]byte
	if n, err := file.ReadAt(size[:], atNote); err == io.EOF && n < len(size) {
		return nil, nil
	} else if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading a note: %w", err)
	}
	note := make([]byte, min(binary.LittleEndian.Uint64(size[:]), noteMax))
	n, err := file.ReadAt(note, atNote+int64(len(size)))
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading a note: %w", err)
	}
	return note[:n], nil
}
