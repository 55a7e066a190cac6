package serve

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// served are the requests that a mount may be asked for: what a sentry asks for
// that works on the host's descriptors by itself, and no more. gVisor's filter
// for gofers kills a process that does more for it, so all else is refused
// before it comes to a system call.
func served() map[lisafs.MID]lisafs.RPCHandler {
	return map[lisafs.MID]lisafs.RPCHandler{
		lisafs.Mount:        lisafs.MountHandler,
		lisafs.FStat:        lisafs.FStatHandler,
		lisafs.SetStat:      setStat,
		lisafs.Walk:         lisafs.WalkHandler,
		lisafs.OpenAt:       lisafs.OpenAtHandler,
		lisafs.Close:        lisafs.CloseHandler,
		lisafs.FSync:        lisafs.FSyncHandler,
		lisafs.PRead:        lisafs.PReadHandler,
		lisafs.PWrite:       lisafs.PWriteHandler,
		lisafs.FGetXattr:    onPaths(lisafs.FGetXattrHandler),
		lisafs.FSetXattr:    onPaths(lisafs.FSetXattrHandler),
		lisafs.FListXattr:   onPaths(lisafs.FListXattrHandler),
		lisafs.FRemoveXattr: onPaths(lisafs.FRemoveXattrHandler),
		// Where the host's sockets are not let through these say so.
		lisafs.BindAt:           lisafs.BindAtHandler,
		lisafs.ConnectWithCreds: lisafs.ConnectWithCredsHandler,
	}
}

// setStat changes mode and owner; for size and times a sentry has descriptors.
func setStat(c *lisafs.Connection, comm lisafs.Communicator, size uint32) (uint32, error) {
	var q lisafs.SetStatReq
	if _, ok := q.CheckedUnmarshal(comm.PayloadBuf(size)); !ok {
		return 0, unix.EIO
	}
	if q.Mask&^(unix.STATX_MODE|unix.STATX_UID|unix.STATX_GID) != 0 {
		return 0, unix.EOPNOTSUPP
	}
	return lisafs.SetStatHandler(c, comm, size)
}

// onPaths keeps a request about extended attributes to links and sockets, of
// which no descriptor has any. All those begin with the number of the object.
func onPaths(handler lisafs.RPCHandler) lisafs.RPCHandler {
	return func(c *lisafs.Connection, comm lisafs.Communicator, size uint32) (uint32, error) {
		var id lisafs.FDID
		if int(size) < id.SizeBytes() {
			return 0, unix.EIO
		}
		id.UnmarshalUnsafe(comm.PayloadBuf(size))
		if fd, ok := controlFD(c, id); ok && !fd.IsSymlink() && !fd.IsSocket() {
			return 0, unix.EOPNOTSUPP
		}
		return handler(c, comm, size)
	}
}

// message is the lisafs.Communicator of a handler that is called in place: the
// request's payload is in its buffer first, and the answer's then.
type message struct {
	buf []byte // with room for the header
	fds []int
}

func (m *message) PayloadBuf(size uint32) []byte {
	n := headerSize + int(size)
	if n > cap(m.buf) {
		m.buf = append(m.buf[:cap(m.buf)], make([]byte, n-cap(m.buf))...)
	}
	m.buf = m.buf[:n]
	return m.buf[headerSize:]
}

// SndRcvMessage is for clients.
func (m *message) SndRcvMessage(lisafs.MID, uint32, uint8) (lisafs.MID, uint32, error) {
	return lisafs.Error, 0, unix.EOPNOTSUPP
}

// DonateFD takes a descriptor that is to go to the sentry. One of a path only
// can't be non-blocking, and does not block.
func (m *message) DonateFD(fd int) {
	_ = unix.SetNonblock(fd, true)
	m.TrackFD(fd)
}

func (m *message) TrackFD(fd int) { m.fds = append(m.fds, fd) }

func (m *message) ReleaseFDs() []int {
	fds := m.fds
	m.fds = nil
	return fds
}

func (m *message) String() string { return "relay" }

// ask has a request carried out, the sentry's or one of our own. The answer,
// which may be an error, stays until the next is asked for; the caller closes
// the descriptors.
func (r *relay) ask(request []byte) (answer []byte, fds []int) {
	id := messageID(request)
	handler := r.handlers[id]
	if handler == nil {
		return errorReply(unix.EOPNOTSUPP), nil
	}
	m := &r.message
	// What fails half-way has put descriptors aside. A handler that panics has
	// let go of its locks.
	defer func() {
		if recover() != nil {
			answer, fds = errorReply(unix.EREMOTEIO), nil
		}
		closeAll(m.ReleaseFDs())
	}()
	payload := request[headerSize:]
	copy(m.PayloadBuf(uint32(len(payload))), payload)
	n, err := handler(r.connection, m, uint32(len(payload)))
	switch {
	case err != nil:
		return errorReply(lisafs.ExtractErrno(err)), nil
	case n > lisafs.MaxMessageSize():
		return errorReply(unix.EIO), nil
	}
	m.PayloadBuf(n)
	putHeader(m.buf, id, n)
	return m.buf, m.ReleaseFDs()
}
