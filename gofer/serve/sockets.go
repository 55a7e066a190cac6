package serve

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

// sockets are the host's unix sockets in one mount, as far as its container may
// use them. The relay answers itself what is asked about them, and fsgofer is
// never asked: a listening socket must outlive the server, fsgofer goes by
// paths where there are descriptors, and it waits where it must not.
type sockets struct {
	path     string // of the directory with this process's descriptors
	readOnly bool
	// bound are those that the container has bound, by the sentry's numbers.
	// The sentry has each of them, too, to see when somebody connects.
	bound map[lisafs.FDID]int
	next  lisafs.FDID // how many numbers this gofer has given out
}

// FDPath is where a gofer finds its own descriptors, from its working directory.
const FDPath = "fd"

// boundNumbers is the first of the numbers of bound sockets.
const boundNumbers = lisafs.FDID(1) << 63

// inherit takes what an earlier gofer's container had bound out of sockets that
// are given by their inode numbers. What is not there was closed.
func (r *relay) inherit(given map[uint64]int) error {
	all, err := BoundSockets(r.journal.file)
	if err != nil || r.sockets == nil {
		return err
	}
	for _, b := range all {
		fd, ok := given[b.Inode]
		if !ok {
			r.journal.unbound(b.ID)
			continue
		}
		r.sockets.bound[b.ID] = fd
	}
	return nil
}

// executeSocket has a request answered that is about sockets; false: it is not.
func (r *relay) executeSocket() bool {
	var err error
	payload := r.request[headerSize:]
	switch messageID(r.request) {
	case lisafs.ConnectWithCreds:
		err = r.connectSocket(payload)
	case lisafs.BindAt:
		err = r.bindSocket(payload)
	case lisafs.Listen:
		err = r.listenSocket(payload)
	case lisafs.Accept:
		err = r.acceptSocket(payload)
	case lisafs.Close:
		for _, id := range closedNumbers(r.request) {
			r.closeSocket(id)
		}
		return false // the server closes what else there is
	default:
		return false
	}
	if err != nil {
		closeAll(r.fds)
		r.fds, r.reply = nil, errorReply(lisafs.ExtractErrno(err))
	}
	return true
}

// fd is the path of one of this process's descriptors.
func (s *sockets) fd(fd int) string { return s.path + "/" + strconv.Itoa(fd) }

// newSocket makes a socket that never waits.
func newSocket(kind uint32) (int, error) {
	switch kind {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	default:
		return -1, unix.EPROTOTYPE
	}
	fd, err := unix.Socket(unix.AF_UNIX, int(kind), 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	return fd, err
}

// backlogTime is how long a peer may take to accept others before it refuses.
// The mount has to wait meanwhile.
const backlogTime = 100 * time.Millisecond

// connectSocket connects to the socket that a number stands for, wherever it is
// by now, as the container's user.
func (r *relay) connectSocket(payload []byte) error {
	var q lisafs.ConnectWithCredsReq
	if _, ok := q.CheckedUnmarshal(payload); !ok {
		return unix.EIO
	}
	file, ok := hostFD(r.connection, q.FD)
	if !ok {
		return unix.EBADF
	}
	sock, err := newSocket(q.SockType)
	if err != nil {
		return err
	}
	r.fds = []int{sock}
	to := &unix.SockaddrUnix{Name: r.sockets.fd(file)}
	for since := time.Now(); ; time.Sleep(time.Millisecond) {
		err = as(int(q.UID), int(q.GID), func() error { return unix.Connect(sock, to) })
		if err != unix.EAGAIN || time.Since(since) > backlogTime {
			break
		}
	}
	r.reply = emptyMessage(lisafs.ConnectWithCreds)
	return err
}

// as makes a call with a user's and a group's rights and name. A thread that
// can't come back from them takes the whole gofer along.
func as(uid, gid int, call func() error) error {
	if uid == 0 && gid == 0 {
		return call()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETREGID, 0, uintptr(gid), 0); errno != 0 {
		return unix.EPERM
	}
	defer restore(unix.SYS_SETREGID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETREUID, 0, uintptr(uid), 0); errno != 0 {
		return unix.EPERM
	}
	defer restore(unix.SYS_SETREUID)
	return call()
}

func restore(call uintptr) {
	if _, _, errno := unix.RawSyscall(call, 0, 0, 0); errno != 0 {
		os.Exit(1)
	}
}

// bindSocket makes a socket in the directory that a number stands for, wherever
// that is by now.
func (r *relay) bindSocket(payload []byte) error {
	var q lisafs.BindAtReq
	if _, ok := q.CheckedUnmarshal(payload); !ok {
		return unix.EIO
	}
	name := string(q.Name)
	if r.sockets.readOnly {
		return unix.EROFS
	}
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return unix.EINVAL
	}
	dir, ok := hostFD(r.connection, q.DirFD)
	if !ok {
		return unix.EBADF
	}
	sock, err := newSocket(uint32(q.SockType))
	if err != nil {
		return err
	}
	s := r.sockets
	s.next++
	id := boundNumbers | r.journal.generation()<<generationBits | s.next
	s.bound[id] = sock
	inode, err := inodeOf(sock)
	if err == nil {
		err = r.journal.bound(id, inode)
	}
	if err == nil {
		err = r.bindTo(id, dir, q)
	}
	if err != nil {
		r.closeSocket(id)
	}
	return err
}

// bindTo binds the socket with number id and answers with that number and one
// for its file. Where that fails with the file made, the file stays: nothing
// may be removed here.
func (r *relay) bindTo(id lisafs.FDID, dir int, q lisafs.BindAtReq) error {
	sock, name := r.sockets.bound[id], string(q.Name)
	// The mode must be set before: the file gets it when it is made.
	if err := unix.Fchmod(sock, uint32(q.Mode)&0o7777); err != nil {
		return err
	}
	if err := unix.Bind(sock, &unix.SockaddrUnix{Name: r.sockets.fd(dir) + "/" + name}); err != nil {
		return err
	}
	file, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	if err := unix.Fchownat(file, "", int(int32(q.UID)), int(int32(q.GID)), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	w := r.walkTo(q.DirFD, []string{name})
	if len(w) != 1 {
		return unix.ENOENT
	}
	copied, err := unix.Dup(sock)
	if err != nil {
		return err
	}
	r.fds = []int{copied}
	resp := lisafs.BindAtResp{Child: w[0], BoundSocketFD: id}
	r.reply = newMessage(lisafs.BindAt, resp.SizeBytes(), func(b []byte) { resp.MarshalUnsafe(b) })
	return nil
}

func (r *relay) listenSocket(payload []byte) error {
	var q lisafs.ListenReq
	if _, ok := q.CheckedUnmarshal(payload); !ok {
		return unix.EIO
	}
	sock, ok := r.sockets.bound[q.FD]
	if !ok {
		return unix.EBADF
	}
	r.reply = emptyMessage(lisafs.Listen)
	return unix.Listen(sock, int(q.Backlog))
}

// acceptSocket answers EAGAIN where nobody has connected: the sentry waits by
// itself then.
func (r *relay) acceptSocket(payload []byte) error {
	var q lisafs.AcceptReq
	if _, ok := q.CheckedUnmarshal(payload); !ok {
		return unix.EIO
	}
	sock, ok := r.sockets.bound[q.FD]
	if !ok {
		return unix.EBADF
	}
	fd, _, err := unix.Accept4(sock, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	r.fds = []int{fd}
	// Whom the peer is bound to is not the container's business.
	var resp lisafs.AcceptResp
	r.reply = newMessage(lisafs.Accept, resp.SizeBytes(), func(b []byte) { resp.MarshalBytes(b) })
	return nil
}

// closeSocket closes a bound socket.
func (r *relay) closeSocket(id lisafs.FDID) {
	if sock, ok := r.sockets.bound[id]; ok {
		delete(r.sockets.bound, id)
		r.journal.unbound(id)
		unix.Close(sock)
	}
}

// inodeOf is the inode number of an open file. gVisor's filter for gofers lets
// statx through and no fstat.
func inodeOf(fd int) (uint64, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO, &st)
	return st.Ino, err
}
