package serve

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// newMessage lays out one lisafs message.
func newMessage(id lisafs.MID, size int, marshal func([]byte)) []byte {
	b := make([]byte, headerSize+size)
	putHeader(b, id, uint32(size))
	marshal(b[headerSize:])
	return b
}

func putHeader(b []byte, id lisafs.MID, size uint32) {
	binary.NativeEndian.PutUint32(b, size)
	binary.NativeEndian.PutUint32(b[4:], 0)
	binary.NativeEndian.PutUint16(b[4:], uint16(id))
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
// has not got yet. What does not fit can't be taken over: the sentry is told
// EBADF for it then.
func (j *journal) note(request, answer []byte) {
	if messageID(answer) != messageID(request) {
		return // an error
	}
	var entries []entry
	switch messageID(request) {
	case lisafs.Mount:
		var r lisafs.MountResp
		if _, ok := r.CheckedUnmarshal(answer[headerSize:]); ok {
			j.mounted(r.Root)
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
	if len(entries) > 0 {
		_ = j.add(entries)
	}
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
	return newMessage(lisafs.Walk, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}

func closeRequest(ids []lisafs.FDID) []byte {
	q := lisafs.CloseReq{FDs: ids}
	return newMessage(lisafs.Close, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}

// errorReply is an answer that says that a request failed.
func errorReply(errno unix.Errno) []byte {
	return newMessage(lisafs.Error, 4, func(b []byte) { binary.NativeEndian.PutUint32(b, uint32(errno)) })
}

// emptyMessage is a request or an answer that says no more than which it is.
func emptyMessage(id lisafs.MID) []byte { return newMessage(id, 0, func([]byte) {}) }
