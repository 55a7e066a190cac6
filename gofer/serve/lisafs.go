package serve

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// appendMessage lays out one lisafs message.
func appendMessage(b []byte, id lisafs.MID, size int, marshal func([]byte)) []byte {
	b = binary.NativeEndian.AppendUint32(b[:0], uint32(size))
	b = binary.NativeEndian.AppendUint16(b, uint16(id))
	b = append(b, 0, 0)
	b = append(b, make([]byte, size)...)
	marshal(b[headerSize:])
	return b
}

func messageID(b []byte) lisafs.MID { return lisafs.MID(binary.NativeEndian.Uint16(b[4:])) }

// repeatable says whether a request can be carried out twice with the same
// outcome. A connection that nobody has got is closed again, as its peer must
// expect of any.
func repeatable(request []byte) bool {
	switch messageID(request) {
	case lisafs.OpenCreateAt, lisafs.MkdirAt, lisafs.MknodAt, lisafs.SymlinkAt, lisafs.LinkAt,
		lisafs.UnlinkAt, lisafs.RenameAt, lisafs.RenameAt2, lisafs.FSetXattr, lisafs.FRemoveXattr, lisafs.BindAt:
		return false
	}
	return true
}

// note keeps the journal true to one request and its answer, which the sentry
// has not got yet.
func (j *journal) note(request, answer []byte) error {
	if messageID(answer) != messageID(request) {
		return nil // an error
	}
	var entries []entry
	switch messageID(request) {
	case lisafs.Mount:
		var r lisafs.MountResp
		if _, ok := r.CheckedUnmarshal(answer[headerSize:]); ok {
			j.head.Root, j.head.Device, j.head.Inode = r.Root.ControlFD, device(r.Root), r.Root.Stat.Ino
		}
	case lisafs.Walk:
		entries = j.walked(request, answer)
	case lisafs.BindAt:
		var q lisafs.BindAtReq
		var r lisafs.BindAtResp
		_, asked := q.CheckedUnmarshal(request[headerSize:])
		if _, ok := r.CheckedUnmarshal(answer[headerSize:]); ok && asked {
			entries = j.below(q.DirFD, []string{string(q.Name)}, []lisafs.Inode{r.Child})
		}
	case lisafs.Close:
		for _, id := range closedNumbers(request) {
			if _, ok := j.open[id]; ok {
				entries = append(entries, entry{id: id})
			}
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if err := j.add(entries); !errors.Is(err, errFull) {
		return err
	}
	return nil
}

func (j *journal) walked(request, answer []byte) []entry {
	var q lisafs.WalkReq
	var r lisafs.WalkResp
	if _, ok := q.CheckedUnmarshal(request[headerSize:]); !ok {
		return nil
	}
	if _, ok := r.CheckedUnmarshal(answer[headerSize:]); !ok {
		return nil
	}
	return j.below(q.DirFD, q.Path, r.Inodes)
}

// below are the entries for objects that were found one below the other.
func (j *journal) below(dir lisafs.FDID, names []string, inodes []lisafs.Inode) []entry {
	from, ok := j.object(dir)
	if !ok || len(inodes) > len(names) {
		return nil
	}
	var entries []entry
	for i, inode := range inodes {
		path := slices.Concat(from.names, names[:i+1])
		entries = append(entries, entry{inode.ControlFD, true, object{path, device(inode), inode.Stat.Ino}})
	}
	return entries
}

func closedNumbers(request []byte) []lisafs.FDID {
	var r lisafs.CloseReq
	if _, ok := r.CheckedUnmarshal(request[headerSize:]); !ok {
		return nil
	}
	return r.FDs
}

func device(i lisafs.Inode) uint64 {
	return uint64(i.Stat.DevMajor)<<32 | uint64(i.Stat.DevMinor)
}

func walkRequest(dir lisafs.FDID, names []string) []byte {
	q := lisafs.WalkReq{DirFD: dir, Path: lisafs.StringArray(names)}
	return appendMessage(nil, lisafs.Walk, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}

func closeRequest(ids []lisafs.FDID) []byte {
	q := lisafs.CloseReq{FDs: ids}
	return appendMessage(nil, lisafs.Close, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}

// errorReply is an answer that says that a request failed.
func errorReply(errno unix.Errno) []byte {
	return appendMessage(nil, lisafs.Error, 4, func(b []byte) { binary.NativeEndian.PutUint32(b, uint32(errno)) })
}

// emptyMessage is a request or an answer that says no more than which it is.
func emptyMessage(id lisafs.MID) []byte { return appendMessage(nil, id, 0, func([]byte) {}) }
