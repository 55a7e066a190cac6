package observed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pfExiting is the kernel's flag of a task that is on its way out.
const pfExiting = 0x4

// AwaitDying waits for the end of whoever has that pid if it is dying: it was sent
// SIGKILL, or is being taken down, and looks alive until all of its threads have
// ended. An error says that ctx ended first, or that nothing can be told; waiting
// for another one, that has the pid by now, does no harm.
func AwaitDying(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid))
	defer f.Close()
	dying, err := isDying(pid)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil || !dying {
		return err
	}
	return await(ctx, f)
}

func isDying(pid int) (bool, error) {
	dir, err := openProc(procRoot, pid)
	if err != nil {
		return false, err
	}
	defer unix.Close(dir)
	// The signal is pending before the flag is set, so that is looked at first: what it
	// was taken for in between shows in the flag.
	var buf [2 * statMax]byte
	n, err := readAt(dir, "status", buf[:])
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(buf[:n]) {
		for _, set := range []string{"SigPnd:", "ShdPnd:"} {
			mask, ok := bytes.CutPrefix(line, []byte(set))
			if !ok {
				continue
			}
			pending, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
			if err != nil {
				return false, err
			}
			if pending&(1<<(unix.SIGKILL-1)) != 0 {
				return true, nil
			}
		}
	}
	if n, err = readAt(dir, "stat", buf[:]); err != nil {
		return false, err
	}
	// Its name, in parentheses, may hold anything.
	fields := bytes.Fields(buf[bytes.LastIndexByte(buf[:n], ')')+1 : n])
	if len(fields) < 7 {
		return false, errors.New("reading a process's flags: the line is too short")
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	if err != nil {
		return false, err
	}
	st := stat{state: fields[0][0]}
	return flags&pfExiting != 0 || st.ended(), nil
}
