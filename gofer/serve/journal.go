package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
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
//
// A gofer has the file mapped: what it has stored when it is killed is there,
// in the order in which it was stored, since the file does not go with it. All
// that has to change at once is in one word of the header, progress, which a
// kill does not tear.
type journal struct {
	file *os.File
	b    []byte // the file
	open map[lisafs.FDID]object
	end  uint64 // of what has been written to the half in use
}

// The words of the header, by their places in bytes.
const (
	atVersion    = 0
	atDevice     = 8 // of the mount's root
	atInode      = 16
	atRoot       = 24 // the root's number; 0 before the first Mount
	atGeneration = 32 // how many gofers have taken over
	atProgress   = 72
	atServed     = 80 // how many requests have been settled
	atHalf       = 88 // 1 while the rest of a request is waited for
	// Version 1 had, each in a word of its own, what is in progress now.
	atHalf1   = 40
	atEnd1    = 48
	atBefore1 = 56
	atState1  = 64
)

// progress is how far the answering of the request that waits first in the
// sentry's socket has come, and what counts of the log.
type progress struct {
	state  uint64
	half   uint64 // 0 or 1
	end    uint64 // of the half's log
	before uint64 // end before the answer that is being sent
}

// state 0: the answer is not on its way, or the request has been taken out.
const (
	stateSending = 1 << iota // its answer is being sent
	stateSent                // its answer was sent
	stateOnce                // it may have been carried out and can't be repeated
)

// A progress' word: state in bits 0 to 2, half in bit 3, end from bit 8 and
// before from bit 32 on.
const (
	halfBit   = 3
	endBit    = 8
	beforeBit = 32
	offsets   = 1<<(beforeBit-endBit) - 1
)

func (p progress) word() uint64 {
	return p.state | p.half<<halfBit | p.end<<endBit | p.before<<beforeBit
}

func progressOf(word uint64) progress {
	return progress{
		state:  word & (stateSending | stateSent | stateOnce),
		half:   word >> halfBit & 1,
		end:    min(word>>endBit&offsets, halfBytes),
		before: min(word>>beforeBit&offsets, halfBytes),
	}
}

// object is what a number stands for.
type object struct {
	names         []string // the path below the root
	device, inode uint64
}

const (
	headerBytes  = 128
	halfBytes    = 1 << 19
	logStart     = headerBytes + boundMax*boundBytes
	journalBytes = logStart + 2*halfBytes
	// journalVersion changes with the form of journals.
	journalVersion = 2
)

// ErrOtherVersion says that the last gofer was of a program whose journals have
// another form.
var ErrOtherVersion = errors.New("the last gofer's journal is of another version")

// errNumber says that a journal has numbers that no gofer gives out. The server
// would count on from them, to where it has no more and loses what it has opened.
var errNumber = errors.New("reading a journal: it has numbers that no gofer gives out")

// errFull says that more numbers are open than a journal holds.
var errFull = errors.New("journal is full")

// mapJournal makes a journal of a file, whoever writes to it still. An empty
// file is new.
func mapJournal(file *os.File) (*journal, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("mapping a journal: %w", err)
	}
	if info.Size() < journalBytes {
		if err := file.Truncate(journalBytes); err != nil {
			return nil, fmt.Errorf("mapping a journal: %w", err)
		}
	}
	b, err := unix.Mmap(int(file.Fd()), 0, journalBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a journal: %w", err)
	}
	return &journal{file: file, b: b}, nil
}

// load reads what an earlier gofer has left, which has ended.
func (j *journal) load() error {
	switch j.word(atVersion).Load() {
	case 0, journalVersion:
	case 1:
		j.word(atProgress).Store(progress1(j.b).word())
	default:
		return ErrOtherVersion
	}
	if j.root() >= scratch || j.generation() >= scratch>>generationBits-1 {
		return errNumber
	}
	j.word(atHalf).Store(0)
	j.word(atVersion).Store(journalVersion)
	return j.readLog()
}

// close lets go of the file.
func (j *journal) close() {
	_ = unix.Munmap(j.b)
	j.file.Close()
}

// progress1 is the progress that the header of a journal of version 1 tells.
func progress1(header []byte) progress {
	le := binary.LittleEndian
	return progress{
		state:  le.Uint64(header[atState1:]) & (stateSending | stateSent | stateOnce),
		half:   le.Uint64(header[atHalf1:]) & 1,
		end:    min(le.Uint64(header[atEnd1:]), halfBytes),
		before: min(le.Uint64(header[atBefore1:]), halfBytes),
	}
}

// Progress is what a mount's journal tells whoever looks at it from outside. It
// is made of numbers that gofers write, nothing of what a sentry says.
type Progress struct {
	// Unsettled: an answer is on its way, or its request is being taken out of
	// the socket.
	Unsettled bool
	// Served is how many requests have been answered.
	Served uint64
	// Half: the gofer waits for the rest of a request.
	Half bool
}

// ReadProgress reads a journal, which may have a gofer that writes to it. All
// is zero where that has not come to serve.
func ReadProgress(file *os.File) (Progress, error) {
	var b [headerBytes]byte
	if n, err := file.ReadAt(b[:], 0); n < len(b) && err != io.EOF {
		return Progress{}, fmt.Errorf("reading a journal: %w", err)
	}
	var p progress
	le := binary.LittleEndian
	switch le.Uint64(b[atVersion:]) {
	case 0:
	case 1:
		p = progress1(b[:])
	case journalVersion:
		p = progressOf(le.Uint64(b[atProgress:]))
	default:
		return Progress{}, ErrOtherVersion
	}
	return Progress{p.state&(stateSending|stateSent) != 0, le.Uint64(b[atServed:]), le.Uint64(b[atHalf:]) != 0}, nil
}

// word is one of the file's, of which all that are used are aligned.
func (j *journal) word(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&j.b[at])) }

func (j *journal) progress() progress { return progressOf(j.word(atProgress).Load()) }

func (j *journal) setProgress(p progress) { j.word(atProgress).Store(p.word()) }

func (j *journal) root() lisafs.FDID { return lisafs.FDID(j.word(atRoot).Load()) }

func (j *journal) generation() lisafs.FDID { return lisafs.FDID(j.word(atGeneration).Load()) }

func (j *journal) nextGeneration() { j.word(atGeneration).Add(1) }

// mounted notes what the mount's root is. Its number, which makes that count,
// comes last.
func (j *journal) mounted(root lisafs.Inode) {
	j.word(atDevice).Store(device(root))
	j.word(atInode).Store(root.Stat.Ino)
	j.word(atRoot).Store(uint64(root.ControlFD))
}

// half notes whether the rest of a request is waited for.
func (j *journal) half(waits bool) {
	var word uint64
	if waits {
		word = 1
	}
	j.word(atHalf).Store(word)
}

// executing notes that a request that can't be repeated is about to be carried
// out.
func (j *journal) executing() {
	p := j.progress()
	p.state = stateOnce
	j.setProgress(p)
}

// answering makes what was noted of an answer count, which is about to be
// sent.
func (j *journal) answering() {
	p := j.progress()
	p.before, p.end = p.end, j.end
	p.state |= stateSending
	j.setProgress(p)
}

// answered notes that the answer was sent.
func (j *journal) answered() {
	p := j.progress()
	p.state = stateSent
	j.setProgress(p)
}

// settled notes that the request has been taken out of the socket.
func (j *journal) settled() {
	p := j.progress()
	p.state = 0
	j.setProgress(p)
	j.word(atServed).Add(1)
}

// void takes back what was noted of an answer that was never sent. What the
// answer was to can still not be repeated.
func (j *journal) void() error {
	p := j.progress()
	p.end, p.state = p.before, p.state&stateOnce
	j.setProgress(p)
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

// log is one of the halves.
func (j *journal) log(half uint64) []byte {
	return j.b[logStart+half*halfBytes:][:halfBytes]
}

func (j *journal) readLog() error {
	p := j.progress()
	j.open, j.end = map[lisafs.FDID]object{}, p.end
	b := j.log(p.half)[:p.end]
	le := binary.LittleEndian
	for len(b) >= entryBytes {
		length := int64(le.Uint32(b))
		e := entry{id: lisafs.FDID(le.Uint64(b[8:])), given: le.Uint32(b[4:]) != 0}
		e.device, e.inode = le.Uint64(b[16:]), le.Uint64(b[24:])
		b = b[entryBytes:]
		if length > int64(len(b)) {
			return errors.New("reading a journal: an entry is cut off")
		}
		if e.given {
			if e.id >= scratch {
				return errNumber
			}
			e.names = strings.Split(string(b[:length]), "\x00")
		}
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
	copy(j.log(j.progress().half)[j.end:], log)
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
	p := j.progress()
	p.half ^= 1
	copy(j.log(p.half), log)
	j.end = uint64(len(log))
	p.end, p.before = j.end, j.end
	j.setProgress(p)
	return nil
}

// object is what a number stands for; false where that is not known.
func (j *journal) object(id lisafs.FDID) (object, bool) {
	if id == j.root() {
		return object{device: j.word(atDevice).Load(), inode: j.word(atInode).Load()}, true
	}
	o, ok := j.open[id]
	return o, ok
}
