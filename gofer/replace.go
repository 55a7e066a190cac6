package gofer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// ErrLost says that what a replacement needs is not there any more.
var ErrLost = errors.New("the gofer's sockets are lost")

// Successor is a gofer that is prepared to take over from another one.
type Successor struct {
	*starting
	mounts   int
	kept     Kept
	takeOver *os.File
}

// Prepare starts a gofer that can take over what is kept, and returns when it
// has done all that can be done while the other one serves. kept is the
// caller's until TakeOver succeeds.
func Prepare(ctx context.Context, c Config, kept Kept) (_ *Successor, err error) {
	if len(kept.Sockets) != len(c.Mounts) || len(kept.Journals) != len(c.Mounts) {
		return nil, ErrLost
	}
	kept.Generation++
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	s := &Successor{kept: kept, mounts: len(c.Mounts), takeOver: tell}
	if s.starting, err = launch(c, serve.Config{TakeOverFD: firstFD + 2*len(c.Mounts)}, kept, told); err != nil {
		tell.Close()
		return nil, err
	}
	said, err := s.read(ctx, func() (string, error) {
		b := make([]byte, 4096)
		n, err := s.status.Read(b)
		if err == io.EOF {
			err = nil
		}
		return string(b[:n]), err
	})
	if err == nil && said != serve.Prepared {
		err = s.refusal(said)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Process is the prepared gofer.
func (s *Successor) Process() observed.Process { return s.process }

// Generation is how many gofers were before this one.
func (s *Successor) Generation() int { return s.kept.Generation }

// TakeOver has the prepared gofer serve, once the other one is gone. ends are
// the inode numbers of the sentry's ends of the sockets, and sentry is the
// process that holds them. What was kept is now kept for this gofer.
func (s *Successor) TakeOver(ctx context.Context, ends []uint64, sentry observed.Process) (Kept, error) {
	if len(ends) != s.mounts {
		return Kept{}, ErrLost
	}
	settled := make([]byte, s.mounts)
	for i := range settled {
		settled[i] = serve.Settled
		unsettled, err := serve.Unsettled(s.kept.Journals[i])
		if err != nil {
			return Kept{}, err
		}
		if !unsettled {
			continue
		}
		waiting, err := awaitsAnswer(ctx, s.kept.Sockets[i], ends[i], sentry)
		if err != nil {
			return Kept{}, err
		}
		if waiting {
			settled[i] = serve.Waiting
		}
	}
	if _, err := s.takeOver.Write(settled); err != nil {
		return Kept{}, fmt.Errorf("the gofer of %s: %w", s.id, err)
	}
	return s.kept, s.ready(ctx)
}

// Close lets go of the gofer, and ends it where it has not come to serve.
func (s *Successor) Close() {
	s.takeOver.Close()
	s.close()
}

// Take duplicates what a running gofer, or keeper, has, as its starter would
// have kept it. ErrGone where the process is gone.
func Take(p observed.Process, mounts []serve.Mount) (k Kept, err error) {
	pidfd, err := p.Open()
	if err != nil {
		return Kept{}, err
	}
	defer pidfd.Close()
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	for _, m := range mounts {
		for list, number := range map[*[]*os.File]int{&k.Sockets: m.SocketFD, &k.Journals: m.JournalFD} {
			fd, err := unix.PidfdGetfd(int(pidfd.Fd()), number, 0)
			if err == unix.ESRCH {
				return k, observed.ErrGone
			}
			if err != nil {
				return k, fmt.Errorf("duplicating descriptor %d of process %d: %w", number, p.PID, err)
			}
			*list = append(*list, os.NewFile(uintptr(fd), "kept"))
		}
	}
	return k, nil
}

// drainTime is how long an answer that a gofer has sent may lie unread: the
// sentry reads within microseconds.
const drainTime = 5 * time.Second

// awaitsAnswer says whether the sentry waits for an answer on a socket, which
// tells a request that was answered and not taken out of the socket any more
// from one that was not answered. A sentry asks on a socket only once the last
// answer has come, so it waits exactly while one of its threads polls its end
// for input, or is about to.
func awaitsAnswer(ctx context.Context, kept *os.File, end uint64, sentry observed.Process) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	// First whatever has been sent must have been read.
	for unread(kept) {
		if err := rest(ctx); err != nil {
			return false, fmt.Errorf("the sentry does not read: %w", err)
		}
	}
	// Nobody answers it any more, so a thread that is on its way to the poll
	// gets there, and one that is there stays. No thread there for a number of
	// looks: none is on its way.
	for range looks {
		waiting, err := polls(sentry, end)
		if waiting || err != nil {
			return waiting, err
		}
		if err := rest(ctx); err != nil {
			return false, err
		}
	}
	return false, nil
}

// looks is how often, a millisecond apart, a thread is looked for that needs
// a few microseconds to show.
const looks = 20

func rest(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unread says whether the peer has not read all that was sent.
func unread(f *os.File) bool {
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCOUTQ)
	return err == nil && n > 0
}

// EndOf is the inode number of a socket, by which it is found in the sentry.
func EndOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}

// polls says whether a thread of p polls a descriptor of the socket for input.
func polls(p observed.Process, inode uint64) (bool, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return false, err
	}
	defer dir.Close()
	proc := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
	fds, err := descriptors(proc, inode)
	if err != nil || len(fds) == 0 {
		return false, err
	}
	tasks, err := os.ReadDir(proc + "/task")
	if err != nil {
		return false, err
	}
	for _, t := range tasks {
		b, err := os.ReadFile(proc + "/task/" + t.Name() + "/syscall")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return false, err
		}
		var number, array, count uint64
		if n, _ := fmt.Sscanf(string(b), "%d 0x%x 0x%x", &number, &array, &count); n < 3 || number != unix.SYS_PPOLL || count == 0 || count > maxPoll {
			continue
		}
		if polled(p.PID, array, count, fds) {
			return true, nil
		}
	}
	return false, nil
}

// maxPoll is more descriptors than gVisor polls at once.
const maxPoll = 64

// polled reads a thread's poll set and says whether one of fds is waited for
// with input in it.
func polled(pid int, array, count uint64, fds map[int32]bool) bool {
	const size = 8 // of struct pollfd: fd, events, revents
	buf := make([]byte, count*size)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	remote := []unix.RemoteIovec{{Base: uintptr(array), Len: len(buf)}}
	if n, err := unix.ProcessVMReadv(pid, local, remote, 0); err != nil || n != len(buf) {
		return false
	}
	for b := buf; len(b) >= size; b = b[size:] {
		fd := int32(binary.NativeEndian.Uint32(b))
		if events := binary.NativeEndian.Uint16(b[4:]); fds[fd] && events&unix.POLLIN != 0 {
			return true
		}
	}
	return false
}

// descriptors are the numbers under which the process behind proc has the
// socket open.
func descriptors(proc string, inode uint64) (map[int32]bool, error) {
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return nil, err
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	fds := map[int32]bool{}
	for _, e := range entries {
		if link, err := os.Readlink(proc + "/fd/" + e.Name()); err == nil && link == want {
			if n, err := strconv.ParseInt(e.Name(), 10, 32); err == nil {
				fds[int32(n)] = true
			}
		}
	}
	return fds, nil
}
