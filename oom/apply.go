package oom

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// ErrDenied: the kernel does not let this daemon give a process that score.
var ErrDenied = errors.New("OOM score denied")

// DeniedError says which score was denied to whom. It is ErrDenied.
type DeniedError struct {
	Process observed.Process
	// Wanted is the score that was denied, and Got the one that the process
	// has instead: the nearest permitted.
	Wanted, Got int
	// Errno is what the kernel answered: EACCES or EPERM.
	Errno error
}

// Error says what is missing and what holds instead.
func (e *DeniedError) Error() string {
	if e.Got > e.Wanted {
		return fmt.Sprintf("process %d: OOM score %d denied (%v): without CAP_SYS_RESOURCE %d is the lowest permitted, and in force",
			e.Process.PID, e.Wanted, e.Errno, e.Got)
	}
	return fmt.Sprintf("process %d: OOM score %d denied (%v): it keeps %d", e.Process.PID, e.Wanted, e.Errno, e.Got)
}

// Is makes errors.Is(err, ErrDenied) true.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// Unwrap returns the kernel's answer.
func (e *DeniedError) Unwrap() error { return e.Errno }

const file = "oom_score_adj"

// Apply gives a process the score, −1000..1000. It writes only where the score
// differs, and only to the process meant: through the descriptor of a /proc
// directory whose process was proved to be that one. A process that is gone
// needs no score: nil.
//
// Lowering a score below the lowest that the process ever had given by
// somebody with CAP_SYS_RESOURCE needs that capability. Where it is lacking the
// process gets the nearest score that is permitted, and the error is a
// *DeniedError.
func Apply(p observed.Process, score int) error {
	err := apply(p, score)
	if errors.Is(err, observed.ErrGone) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrDenied) {
		return fmt.Errorf("giving process %d the OOM score %d: %w", p.PID, score, err)
	}
	return err
}

func apply(p observed.Process, score int) error {
	dir, err := p.OpenDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	at := int(dir.Fd())
	current, err := read(at)
	if err != nil || current == score {
		return err
	}
	err = write(at, score)
	if !denied(err) {
		return err
	}
	got, nearErr := nearest(at, score, current)
	if nearErr != nil {
		return errors.Join(&DeniedError{Process: p, Wanted: score, Got: current, Errno: err}, nearErr)
	}
	return &DeniedError{Process: p, Wanted: score, Got: got, Errno: err}
}

// nearest brings the score as near as permitted to the one that was denied,
// and returns it. The kernel tells nobody where its floor is, so it is found
// by halving, in at most 11 writes. Each one that is taken is nearer than the
// one before.
func nearest(at, refused, current int) (int, error) {
	for current-refused > 1 {
		try := refused + (current-refused)/2
		switch err := write(at, try); {
		case err == nil:
			current = try
		case denied(err):
			refused = try
		default:
			return current, err
		}
	}
	return current, nil
}

// Read returns the score of the process; observed.ErrGone where it is gone.
func Read(p observed.Process) (int, error) {
	dir, err := p.OpenDir()
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	score, err := read(int(dir.Fd()))
	if err != nil {
		return 0, fmt.Errorf("reading the OOM score of process %d: %w", p.PID, err)
	}
	return score, nil
}

func denied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func read(at int) (int, error) {
	fd, err := open(at, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var buf [16]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0, vanished(err)
	}
	return strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
}

func write(at, score int) error {
	fd, err := open(at, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(strconv.Itoa(score)))
	return vanished(err)
}

func open(at, flags int) (int, error) {
	fd, err := unix.Openat(at, file, flags|unix.O_CLOEXEC, 0)
	return fd, vanished(err)
}

// vanished names what a /proc directory answers when its process has gone.
func vanished(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return observed.ErrGone
	}
	return err
}
