package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// boundMax is how many sockets a container may have bound in one volume.
const boundMax = 1024

// boundBytes is the size of an entry of a journal's table of bound sockets:
// the number that the sentry has and the socket's inode number. It is written
// by a single system call within one page.
const boundBytes = 16

// Bound is a socket of the host that the container has bound.
type Bound struct {
	// ID is the number that the sentry knows it by.
	ID lisafs.FDID
	// Inode is the socket's own inode number, as /proc/PID/fd shows it.
	Inode uint64
}

// BoundSockets lists the sockets that a mount's journal tells of. It reads
// numbers that gofers write, nothing of what a sentry says.
func BoundSockets(file *os.File) ([]Bound, error) {
	b := make([]byte, boundMax*boundBytes)
	n, err := file.ReadAt(b, headerBytes)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading a journal: %w", err)
	}
	var all []Bound
	for b = b[:n]; len(b) >= boundBytes; b = b[boundBytes:] {
		s := Bound{ID: lisafs.FDID(binary.LittleEndian.Uint64(b)), Inode: binary.LittleEndian.Uint64(b[8:])}
		if s.ID != lisafs.InvalidFDID {
			all = append(all, s)
		}
	}
	return all, nil
}

// bound notes that the sentry is given id for a socket.
func (j *journal) bound(id lisafs.FDID, inode uint64) error {
	err := j.setBound(lisafs.InvalidFDID, id, inode)
	if errors.Is(err, errNoEntry) {
		return unix.EMFILE
	}
	return err
}

// unbound notes that the sentry has closed id.
func (j *journal) unbound(id lisafs.FDID) error { return j.setBound(id, lisafs.InvalidFDID, 0) }

var errNoEntry = errors.New("no such entry")

// setBound replaces the entry of a number.
func (j *journal) setBound(old, id lisafs.FDID, inode uint64) error {
	table := make([]byte, boundMax*boundBytes)
	if _, err := j.file.ReadAt(table, headerBytes); err != nil && err != io.EOF {
		return err
	}
	for at := 0; at < len(table); at += boundBytes {
		if lisafs.FDID(binary.LittleEndian.Uint64(table[at:])) != old {
			continue
		}
		b := binary.LittleEndian.AppendUint64(nil, uint64(id))
		b = binary.LittleEndian.AppendUint64(b, inode)
		_, err := j.file.WriteAt(b, headerBytes+int64(at))
		return err
	}
	return errNoEntry
}
