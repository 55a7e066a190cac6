package observed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procRoot is where the kernel tells of processes.
const procRoot = "/proc"

// Identify returns the identity of the live process that has that pid now;
// ErrGone where there is none, or only a zombie. It is for a caller that knows
// by other means whom the pid belongs to: a parent, of a child not yet waited
// for.
func Identify(pid int) (Process, error) {
	dir, err := openProc(procRoot, pid)
	if err != nil {
		return Process{}, err
	}
	defer unix.Close(dir)
	st, err := readStat(dir)
	if err != nil {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	if st.ended() {
		return Process{}, fmt.Errorf("identifying process %d: %w", pid, ErrGone)
	}
	return Process{PID: pid, StartTime: st.start}, nil
}

// Liveness says whether the process lives: None for the zero Process, Gone for
// one that has ended, is a zombie, or whose pid belongs to another process. An
// error means that nobody can tell (/proc not readable, no descriptor free).
func (p Process) Liveness() (Liveness, error) { return p.liveness(procRoot) }

func (p Process) liveness(root string) (Liveness, error) {
	if p == (Process{}) {
		return None, nil
	}
	st, err := p.stat(root)
	switch {
	case errors.Is(err, ErrGone), err == nil && st.ended():
		return Gone, nil
	case err != nil:
		return None, err
	}
	return Alive, nil
}

// stat reads the stat file of the process, which may have ended; ErrGone where
// that is another's, or nobody's.
func (p Process) stat(root string) (stat, error) {
	var buf [statMax]byte
	n, err := readAt(unix.AT_FDCWD, root+"/"+strconv.Itoa(p.PID)+"/stat", buf[:])
	if err != nil {
		return stat{}, err
	}
	st, err := parseStat(buf[:n])
	if err == nil && st.start != p.StartTime {
		err = fmt.Errorf("reading the state of process %d: %w", p.PID, ErrGone)
	}
	return st, err
}

// Parent is the pid of the process that the process is a child of by now. ErrGone
// where it is gone.
func (p Process) Parent() (int, error) {
	st, err := p.stat(procRoot)
	return st.parent, err
}

// OpenDir opens the /proc directory of the process and proves that it is this
// process's. The directory stays with the process: once that has ended, every
// file in it answers ESRCH, also when the pid is given to another one. The
// caller closes it. ErrGone where the process is gone.
func (p Process) OpenDir() (*os.File, error) {
	fd, err := p.openDir(procRoot)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), procRoot+"/"+strconv.Itoa(p.PID)), nil
}

func (p Process) openDir(root string) (int, error) {
	dir, err := openProc(root, p.PID)
	if err != nil {
		return -1, err
	}
	st, err := readStat(dir)
	if err == nil && (st.start != p.StartTime || st.ended()) {
		err = ErrGone
	}
	if err != nil {
		unix.Close(dir)
		return -1, fmt.Errorf("opening process %d: %w", p.PID, err)
	}
	return dir, nil
}

// Open opens a pidfd (close-on-exec, non-blocking) that is proved to be of
// this process: the start time is compared after the opening, when the pidfd
// already pins whoever has the pid. It becomes readable when the process ends.
// The caller closes it. ErrGone where the process is gone, zombies included.
func (p Process) Open() (*os.File, error) {
	fd, err := p.open()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(p.PID)), nil
}

func (p Process) open() (int, error) {
	if p.PID <= 0 {
		return -1, fmt.Errorf("opening process %d: %w", p.PID, ErrGone)
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	if err != nil {
		return -1, fmt.Errorf("opening process %d: %w", p.PID, err)
	}
	dir, err := p.openDir(procRoot)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	unix.Close(dir)
	return fd, nil
}

// Signal sends a signal to this process and to no other; ErrGone where it is
// gone.
func (p Process) Signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// Await waits for the end of the process. An error says that ctx ended first,
// or that nothing can be told.
func (p Process) Await(ctx context.Context) error {
	f, err := p.Open()
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return await(ctx, f)
}

// await waits for the end of the process that a pidfd is of.
func await(ctx context.Context, f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })
	defer stop()
	err = conn.Read(func(fd uintptr) bool { return readable(int32(fd)) })
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Stopped says whether the process is stopped by a signal, so that it answers
// nobody. ErrGone where it is gone.
func (p Process) Stopped() (bool, error) {
	st, err := p.stat(procRoot)
	return err == nil && st.state == 'T', err
}

// Stall is what keeps a process that lives from answering, as far as the kernel
// can tell.
type Stall struct {
	// Stopped: by a signal, or by who traces it. Frozen: its cgroup is.
	Stopped bool `json:"stopped,omitempty"`
	Frozen  bool `json:"frozen,omitempty"`
	// Ran is how long its threads have had a processor, Waited for how long they
	// have waited for one, each since it began.
	Ran    time.Duration `json:"ran,omitempty"`
	Waited time.Duration `json:"waited,omitempty"`
}

// stall tells it of a process; ErrGone where it is gone.
func (p Process) stall(root string) (s Stall, err error) {
	dir, err := p.openDir(root)
	if err != nil {
		return s, err
	}
	defer unix.Close(dir)
	st, err := readStat(dir)
	if err != nil {
		return s, err
	}
	s.Stopped = st.state == 'T' || st.state == 't'
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d/task", dir))
	if err != nil {
		return s, err
	}
	for _, t := range tasks {
		// A kernel without these figures tells nothing of waiting.
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/task/%s/schedstat", dir, t.Name()))
		if fields := strings.Fields(string(b)); err == nil && len(fields) >= 2 {
			ran, _ := strconv.ParseInt(fields[0], 10, 64)
			waited, _ := strconv.ParseInt(fields[1], 10, 64)
			s.Ran += time.Duration(ran)
			s.Waited += time.Duration(waited)
		}
	}
	return s, nil
}

// openProc opens the directory of whoever has that pid.
func openProc(root string, pid int) (int, error) {
	path := root + "/" + strconv.Itoa(pid)
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
			return -1, fmt.Errorf("opening process %d: %w", pid, ErrGone)
		case err != nil:
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	state  byte
	parent int
	start  uint64
}

// ended says whether nothing of the process runs any more.
func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// statMax is more than is needed of such a file, in bytes.
const statMax = 1024

// readStat reads the stat file of the process behind the directory.
func readStat(dir int) (stat, error) {
	var buf [statMax]byte
	n, err := readAt(dir, "stat", buf[:])
	if err != nil {
		return stat{}, err
	}
	return parseStat(buf[:n])
}

// The fields of /proc/PID/stat that follow the command, counted from 0.
const (
	statState  = 0
	statParent = 1
	statStart  = 19
)

// parseStat looks behind the last parenthesis: the command may itself contain
// spaces and parentheses.
func parseStat(data []byte) (stat, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("no command in %q", data)
	}
	var st stat
	i := 0
	for field := range bytes.FieldsSeq(data[end+1:]) {
		switch i {
		case statState:
			st.state = field[0]
		case statParent:
			parent, err := strconv.Atoi(string(field))
			if err != nil {
				return stat{}, fmt.Errorf("parent: %w", err)
			}
			st.parent = parent
		case statStart:
			start, err := strconv.ParseUint(string(field), 10, 64)
			if err != nil {
				return stat{}, fmt.Errorf("start time: %w", err)
			}
			st.start = start
			return st, nil
		}
		i++
	}
	return stat{}, fmt.Errorf("%d fields after the command in %q", i, data)
}

// readAt reads a small file of a process; ErrGone where the process is gone.
func readAt(dir int, name string, buf []byte) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		var n int
		if n, err = unix.Read(fd, buf); err == nil {
			return n, nil
		}
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		err = ErrGone
	}
	return 0, fmt.Errorf("reading %s: %w", name, err)
}
