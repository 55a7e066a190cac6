package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"gvisor.dev/gvisor/pkg/lisafs"
)

// journal is what a gofer leaves to the one that takes over from it: a file in
// memory that outlives it, one per mount. It tells which object the mount's
// root is, which numbers the sentry was given for which objects (directfs asks
// for them by the whole path below the root), how far the answering of a
// request had come, and which sockets the container has bound.
//
// The file has a header, the table of bound sockets (bound.go) and two halves.
// One half is in use: it is a log of numbers given and closed. What is beyond
// the end that the header tells does not count. When the half is full, what is
// still open is written to the other half, and the header turns over to that.
// The header is written by a single system call within one page, which a kill
// does not tear.
type journal struct {
	file *os.File
	head header
	open map[lisafs.FDID]object
	end  uint64 // of what has been written to the half in use
}

// header is the start of a journal's file.
type header struct {
	Version       uint64
	Device, Inode uint64      // of the mount's root
	Root          lisafs.FDID // the root's number; 0 before the first Mount
	Generation    uint64      // how many gofers have taken over
	Half          uint64      // 0 or 1
	End           uint64      // of the half's log
	Before        uint64      // End before the answer that is being sent
	State         uint64
}

// How far the answering of the request that waits first in the sentry's socket
// has come. 0: its answer is not on its way, or it has been taken out.
const (
	stateSending = 1 << iota // its answer is being sent
	stateSent                // its answer was sent
	stateOnce                // it may have been carried out and can't be repeated
)

// object is what a number stands for.
type object struct {
	names         []string // the path below the root
	device, inode uint64
}

const (
	headerBytes = 128
	halfBytes   = 1 << 19
	// journalVersion changes with the form of journals.
	journalVersion = 1
)

// ErrOtherVersion says that the last gofer was of a program whose journals have
// another form.
var ErrOtherVersion = errors.New("the last gofer's journal is of another version")

// errFull says that more numbers are open than a journal holds. What did not
// fit can't be taken over: the sentry is told EBADF for it then.
var errFull = errors.New("journal is full")

// openJournal reads what an earlier gofer has left; an empty file is new.
func openJournal(file *os.File) (*journal, error) {
	j := &journal{file: file}
	head, err := readHeader(file)
	if err == io.EOF {
		j.open = map[lisafs.FDID]object{}
		j.head.Version = journalVersion
		return j, j.writeHeader()
	}
	if err != nil {
		return nil, err
	}
	j.head = head
	return j, j.readLog()
}

func readHeader(file *os.File) (h header, err error) {
	var b [headerBytes]byte
	if n, err := file.ReadAt(b[:], 0); n < len(b) {
		if err != io.EOF {
			err = fmt.Errorf("reading a journal: %w", err)
		}
		return h, err
	}
	_, err = binary.Decode(b[:], binary.LittleEndian, &h)
	if err == nil && h.Version != journalVersion {
		err = ErrOtherVersion
	}
	h.Half &= 1
	h.End = min(h.End, halfBytes)
	return h, err
}

func (j *journal) writeHeader() error {
	b := make([]byte, headerBytes)
	_, err := binary.Encode(b, binary.LittleEndian, j.head)
	if err == nil {
		_, err = j.file.WriteAt(b, 0)
	}
	return err
}

// start is where in the file the half in use begins.
func (j *journal) start() int64 {
	return headerBytes + boundMax*boundBytes + int64(j.head.Half)*halfBytes
}

// Unsettled says of a mount's journal whether its gofer ended while an answer
// was on its way or its request was being taken out of the socket. It reads
// numbers that gofers write, nothing of what a sentry says.
func Unsettled(file *os.File) (bool, error) {
	h, err := readHeader(file)
	if err == io.EOF {
		return false, nil // it ended before it served
	}
	return h.State&(stateSending|stateSent) != 0, err
}

// executing notes that a request that can't be repeated is about to be carried
// out.
func (j *journal) executing() error {
	j.head.State = stateOnce
	return j.writeHeader()
}

// answering makes what was noted of an answer count, which is about to be
// sent.
func (j *journal) answering() error {
	j.head.Before, j.head.End = j.head.End, j.end
	j.head.State |= stateSending
	return j.writeHeader()
}

// answered notes that the answer was sent.
func (j *journal) answered() error {
	j.head.State = stateSent
	return j.writeHeader()
}

// settled notes that the request has been taken out of the socket.
func (j *journal) settled() error {
	j.head.State = 0
	return j.writeHeader()
}

// void takes back what was noted of an answer that was never sent. What the
// answer was to can still not be repeated.
func (j *journal) void() error {
	j.head.End, j.end = j.head.Before, j.head.Before
	j.head.State &= stateOnce
	if err := j.writeHeader(); err != nil {
		return err
	}
	return j.readLog()
}

// An entry is the length of the path (4 bytes), 1 for a number given or 0 for
// one closed (4), the number, device and inode (8 each), and the path, its
// names joined by NULs.
const entryBytes = 32

type entry struct {
	id    lisafs.FDID
	given bool
	object
}

func appendEntry(b []byte, e entry) []byte {
	path := strings.Join(e.names, "\x00")
	given := uint32(0)
	if e.given {
		given = 1
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(path)))
	b = le.AppendUint32(b, given)
	b = le.AppendUint64(b, uint64(e.id))
	b = le.AppendUint64(b, e.device)
	b = le.AppendUint64(b, e.inode)
	return append(b, path...)
}

func (j *journal) readLog() error {
	j.open = map[lisafs.FDID]object{}
	j.end = j.head.End
	b := make([]byte, j.end)
	if _, err := j.file.ReadAt(b, j.start()); err != nil && err != io.EOF {
		return fmt.Errorf("reading a journal: %w", err)
	}
	le := binary.LittleEndian
	for len(b) >= entryBytes {
		length := int64(le.Uint32(b))
		e := entry{id: lisafs.FDID(le.Uint64(b[8:])), given: le.Uint32(b[4:]) != 0}
		e.device, e.inode = le.Uint64(b[16:]), le.Uint64(b[24:])
		b = b[entryBytes:]
		if length > int64(len(b)) {
			return errors.New("reading a journal: an entry is cut off")
		}
		e.names = strings.Split(string(b[:length]), "\x00")
		b = b[length:]
		j.apply(e)
	}
	return nil
}

func (j *journal) apply(e entry) {
	if e.given {
		j.open[e.id] = e.object
	} else {
		delete(j.open, e.id)
	}
}

// add writes entries that count from answering on.
func (j *journal) add(entries []entry) error {
	var log []byte
	for _, e := range entries {
		log = appendEntry(log, e)
	}
	size := uint64(len(log))
	if j.end+size > halfBytes {
		if err := j.compact(); err != nil {
			return err
		}
		if j.end+size > halfBytes {
			return errFull
		}
	}
	if _, err := j.file.WriteAt(log, j.start()+int64(j.end)); err != nil {
		return err
	}
	j.end += size
	for _, e := range entries {
		j.apply(e)
	}
	return nil
}

// compact writes what is open to the other half and turns over to it.
func (j *journal) compact() error {
	var log []byte
	for id, o := range j.open {
		log = appendEntry(log, entry{id, true, o})
	}
	if len(log) > halfBytes {
		return errFull
	}
	next := journal{head: header{Half: j.head.Half ^ 1}}
	if _, err := j.file.WriteAt(log, next.start()); err != nil {
		return err
	}
	j.head.Half, j.end = next.head.Half, uint64(len(log))
	j.head.End, j.head.Before = j.end, j.end
	return j.writeHeader()
}

// object is what a number stands for; false where that is not known.
func (j *journal) object(id lisafs.FDID) (object, bool) {
	if id == j.head.Root {
		return object{device: j.head.Device, inode: j.head.Inode}, true
	}
	o, ok := j.open[id]
	return o, ok
}
