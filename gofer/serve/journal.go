package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gvisor.dev/gvisor/pkg/lisafs"
)

// journal is what a gofer leaves to the one that takes over from it: a file in
// memory that outlives it, one per mount. It tells which object the mount's
// root is, which numbers the sentry was given for which paths (directfs asks
// for them by the whole path below the root), and whether an answer was on its
// way when the gofer ended.
//
// The file has a header and two halves. One half is in use: it is a log of
// numbers given and closed. When it is full, what is still open is written to
// the other half, and one write to the header turns over to that. Every write
// to the header is a single system call, which a kill does not tear.
type journal struct {
	file *os.File
	head header
	open map[lisafs.FDID][]string
	end  int64 // of the half in use
}

// header is the start of a journal's file.
type header struct {
	device, inode uint64 // of the mount's root; 0 before the first Mount
	half          uint64 // 0 or 1
	sending       uint64 // 1: an answer is being sent and its request not consumed
}

const (
	headerBytes = 32
	halfBytes   = 1 << 19
)

// errFull says that more numbers are open than a journal holds. What did not
// fit can't be taken over: the sentry is told EBADF for it then.
var errFull = errors.New("journal is full")

// openJournal reads what an earlier gofer has left; an empty file is new.
func openJournal(file *os.File) (*journal, error) {
	j := &journal{file: file, open: map[lisafs.FDID][]string{}}
	var b [headerBytes]byte
	n, err := file.ReadAt(b[:], 0)
	if n == 0 && err == io.EOF {
		j.end = j.start()
		return j, j.writeHeader()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	le := binary.LittleEndian
	j.head = header{le.Uint64(b[0:]), le.Uint64(b[8:]), le.Uint64(b[16:]) & 1, le.Uint64(b[24:])}
	return j, j.readLog()
}

func (j *journal) start() int64 { return headerBytes + int64(j.head.half)*halfBytes }

func (j *journal) writeHeader() error {
	var b [headerBytes]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], j.head.device)
	le.PutUint64(b[8:], j.head.inode)
	le.PutUint64(b[16:], j.head.half)
	le.PutUint64(b[24:], j.head.sending)
	_, err := j.file.WriteAt(b[:], 0)
	return err
}

// Unsettled says of a mount's journal whether its gofer ended while an answer
// was on its way. It reads one number that gofers write, nothing of what a
// sentry says.
func Unsettled(file *os.File) (bool, error) {
	var b [headerBytes]byte
	if n, err := file.ReadAt(b[:], 0); n < headerBytes {
		if err == io.EOF {
			return false, nil // it ended before it served
		}
		return false, fmt.Errorf("reading a journal: %w", err)
	}
	return binary.LittleEndian.Uint64(b[24:]) != 0, nil
}

// setSending notes that the answer of the waiting request is being sent, or
// that the request has been consumed.
func (j *journal) setSending(sending bool) error {
	j.head.sending = 0
	if sending {
		j.head.sending = 1
	}
	return j.writeHeader()
}

// setRoot notes which object the mount's root is.
func (j *journal) setRoot(device, inode uint64) error {
	j.head.device, j.head.inode = device, inode
	return j.writeHeader()
}

// An entry is its length (2 bytes, that of the path; closedMark: a number that
// was closed), the number (8), and the path, its names joined by NULs. A length
// of 0 ends the log: the root itself has no entry.
const (
	entryBytes = 10
	closedMark = 0xffff
)

func appendEntry(b []byte, id lisafs.FDID, names []string) []byte {
	path := strings.Join(names, "\x00")
	length := uint16(closedMark)
	if names != nil {
		length = uint16(len(path))
	}
	b = binary.LittleEndian.AppendUint16(b, length)
	b = binary.LittleEndian.AppendUint64(b, uint64(id))
	return append(b, path...)
}

func (j *journal) readLog() error {
	b := make([]byte, halfBytes)
	n, err := j.file.ReadAt(b, j.start())
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the journal: %w", err)
	}
	b = b[:n]
	used := int64(0)
	for len(b) >= entryBytes {
		length := int(binary.LittleEndian.Uint16(b))
		id := lisafs.FDID(binary.LittleEndian.Uint64(b[2:]))
		if length == 0 {
			break
		}
		b = b[entryBytes:]
		used += entryBytes
		if length == closedMark {
			delete(j.open, id)
			continue
		}
		if length > len(b) {
			break // the last entry was cut off: its number was never given out
		}
		j.open[id] = strings.Split(string(b[:length]), "\x00")
		b = b[length:]
		used += int64(length)
	}
	j.end = j.start() + used
	return nil
}

// given notes, before the sentry is told, that it is given id for a path.
func (j *journal) given(id lisafs.FDID, names []string) error {
	if len(strings.Join(names, "\x00")) >= closedMark {
		return errFull
	}
	j.open[id] = slices.Clone(names)
	return j.append(appendEntry(nil, id, names))
}

// closed notes that the sentry has closed id.
func (j *journal) closed(id lisafs.FDID) error {
	if _, ok := j.open[id]; !ok {
		return nil
	}
	delete(j.open, id)
	return j.append(appendEntry(nil, id, nil))
}

func (j *journal) append(entry []byte) error {
	if j.end+int64(len(entry))+entryBytes > j.start()+halfBytes {
		return j.compact()
	}
	// The end mark goes along, in case a half is used again.
	_, err := j.file.WriteAt(append(entry, make([]byte, entryBytes)...), j.end)
	j.end += int64(len(entry))
	return err
}

// compact writes what is open to the other half and turns over to it.
func (j *journal) compact() error {
	var log []byte
	for id, names := range j.open {
		log = appendEntry(log, id, names)
	}
	if len(log)+entryBytes > halfBytes {
		return errFull
	}
	j.head.half ^= 1
	j.end = j.start() + int64(len(log))
	if _, err := j.file.WriteAt(append(log, make([]byte, entryBytes)...), j.start()); err != nil {
		return err
	}
	return j.writeHeader()
}
