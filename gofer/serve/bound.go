package serve

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// boundMax is how many sockets a container may have bound in one volume.
const boundMax = 1024

// boundBytes is the size of an entry of a journal's table of bound sockets:
// the number that the sentry has and the socket's inode number.
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
	at := j.boundEntry(lisafs.InvalidFDID)
	if at < 0 {
		return unix.EMFILE
	}
	j.word(at + 8).Store(inode)
	j.word(at).Store(uint64(id)) // from here on it counts
	return nil
}

// unbound notes that the sentry has closed id.
func (j *journal) unbound(id lisafs.FDID) {
	if at := j.boundEntry(id); at >= 0 {
		j.word(at).Store(uint64(lisafs.InvalidFDID))
	}
}

// boundEntry is where in the file the entry of a number is; -1: nowhere.
func (j *journal) boundEntry(id lisafs.FDID) int {
	for i := range boundMax {
		if at := headerBytes + i*boundBytes; lisafs.FDID(j.word(at).Load()) == id {
			return at
		}
	}
	return -1
}
