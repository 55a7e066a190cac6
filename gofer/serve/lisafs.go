package serve

import (
	"encoding/binary"

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

// note keeps the journal true to one request and its answer, which the sentry
// has not got yet.
func (j *journal) note(request, answer []byte) error {
	if messageID(answer) != messageID(request) {
		return nil // an error
	}
	switch messageID(request) {
	case lisafs.Mount:
		var r lisafs.MountResp
		if _, ok := r.CheckedUnmarshal(answer[headerSize:]); ok {
			return j.setRoot(device(r.Root), r.Root.Stat.Ino)
		}
	case lisafs.Walk:
		return j.noteWalk(request, answer)
	case lisafs.Close:
		var r lisafs.CloseReq
		if _, ok := r.CheckedUnmarshal(request[headerSize:]); !ok {
			return nil
		}
		for _, id := range r.FDs {
			if err := j.closed(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *journal) noteWalk(request, answer []byte) error {
	var q lisafs.WalkReq
	var r lisafs.WalkResp
	if _, ok := q.CheckedUnmarshal(request[headerSize:]); !ok {
		return nil
	}
	if _, ok := r.CheckedUnmarshal(answer[headerSize:]); !ok {
		return nil
	}
	from, known := j.open[q.DirFD]
	if !known && q.DirFD != rootID {
		return nil
	}
	names := append([]string(nil), from...)
	for i, inode := range r.Inodes {
		names = append(names, q.Path[i])
		if err := j.given(inode.ControlFD, names); err != nil {
			return err
		}
	}
	return nil
}

func device(i lisafs.Inode) uint64 {
	return uint64(i.Stat.DevMajor)<<32 | uint64(i.Stat.DevMinor)
}

func mountRequest() []byte {
	return appendMessage(nil, lisafs.Mount, 0, func([]byte) {})
}

func walkRequest(dir lisafs.FDID, names []string) []byte {
	q := lisafs.WalkReq{DirFD: dir, Path: lisafs.StringArray(names)}
	return appendMessage(nil, lisafs.Walk, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}

func closeRequest(ids []lisafs.FDID) []byte {
	q := lisafs.CloseReq{FDs: ids}
	return appendMessage(nil, lisafs.Close, q.SizeBytes(), func(b []byte) { q.MarshalBytes(b) })
}
