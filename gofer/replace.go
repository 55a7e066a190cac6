package gofer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	told, tell := os.NewFile(uintptr(fds[0]), "take over"), os.NewFile(uintptr(fds[1]), "take over")
	defer told.Close()
	s := &Successor{kept: kept, mounts: len(c.Mounts), takeOver: tell}
	if s.starting, err = launch(c, kept, told); err != nil {
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
	if err == nil {
		err = s.expect(said, serve.Prepared)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Process is the prepared gofer.
func (s *Successor) Process() observed.Process { return s.process }

// TakeOver has the prepared gofer serve, once the other one is gone. ends are
// the inode numbers of the sentry's ends of the sockets, 0 where nobody knows, and
// sentry is the process that holds them. What was kept is now kept for this gofer.
func (s *Successor) TakeOver(ctx context.Context, ends []uint64, sentry observed.Process) (Kept, error) {
	if len(ends) != s.mounts {
		return Kept{}, ErrLost
	}
	said := make([]byte, s.mounts)
	for i := range said {
		said[i] = serve.Unanswered
		progress, err := serve.ReadProgress(s.kept.Journals[i])
		if errors.Is(err, serve.ErrOtherVersion) {
			err = fmt.Errorf("%w: %w", ErrLost, err)
		}
		if err != nil {
			return Kept{}, err
		}
		if !progress.Unsettled {
			continue
		}
		if ends[i] == 0 {
			return Kept{}, fmt.Errorf("%w: nobody knows the sentry's end of one", ErrLost)
		}
		answered, err := answered(ctx, s.kept.Sockets[i], ends[i], sentry)
		if err != nil {
			return Kept{}, err
		}
		if answered {
			said[i] = serve.Answered
		}
	}
	if err := s.bequeath(sentry); err != nil {
		return Kept{}, err
	}
	if _, err := s.takeOver.Write(said); err != nil {
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
			fd, err := duplicate(p, pidfd, number)
			if err != nil {
				return k, err
			}
			// A gofer has its sockets non-blocking, and needs that no more by now.
			// Go would poll such a file, and every request would wake this process.
			if err := unix.SetNonblock(fd, false); err != nil {
				unix.Close(fd)
				return k, os.NewSyscallError("fcntl", err)
			}
			*list = append(*list, os.NewFile(uintptr(fd), "kept"))
		}
	}
	return k, nil
}

// endTime is how long a process may take from the end of its files to its own.
const endTime = time.Second

// duplicate duplicates a descriptor of a process. ErrGone where that is gone.
func duplicate(p observed.Process, pidfd *os.File, number int) (int, error) {
	fd, err := unix.PidfdGetfd(int(pidfd.Fd()), number, 0)
	if err == unix.EBADF { // one that ends closes its files before it counts as ended
		ctx, cancel := context.WithTimeout(context.Background(), endTime)
		defer cancel()
		if p.Await(ctx) == nil {
			err = unix.ESRCH
		}
	}
	if err == unix.ESRCH {
		return -1, observed.ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("duplicating descriptor %d of process %d: %w", number, p.PID, err)
	}
	return fd, nil
}

// Connected says whether the sentry has its ends of all sockets open. It closes
// them when the container ends, which is what has a gofer end by itself.
func (k Kept) Connected() bool {
	var ends []unix.PollFd
	for _, s := range k.Sockets {
		ends = append(ends, unix.PollFd{Fd: int32(s.Fd()), Events: unix.POLLRDHUP})
	}
	n, err := unix.Poll(ends, 0)
	return n == 0 && err == nil
}

// Waiting says whether a whole request waits in one of the sockets, as it does
// until it has been answered, and how many had been answered before in all.
// What has to wait for the sentry itself, for it to read its answers or to say
// the rest, does not count.
func (k Kept) Waiting() (served uint64, waits bool, err error) {
	for i, s := range k.Sockets {
		progress, err := serve.ReadProgress(k.Journals[i])
		if errors.Is(err, serve.ErrOtherVersion) {
			continue
		}
		asked, inErr := queued(s, unix.TIOCINQ)
		unread, outErr := queued(s, unix.TIOCOUTQ)
		if err := errors.Join(err, inErr, outErr); err != nil {
			return 0, false, err
		}
		served, waits = served+progress.Served, waits || asked > 0 && unread == 0 && !progress.Half
	}
	return served, waits, nil
}

// EndOf is the inode number of a socket, by which it is found in the sentry.
func EndOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}
