package observed

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// processes counts what is in the sandbox's cgroup and reads its scores.
func (l *Looker) processes(sb *Sandbox) error {
	path := l.cgroupPath(*sb)
	if path == "" {
		return nil
	}
	pids, exists, err := l.c.CgroupProcs(path)
	if err != nil {
		return err
	}
	sb.CgroupExists = exists
	helpers := map[int]string{}
	for _, c := range sb.Containers {
		if c.GoferRun.Lives() {
			helpers[c.Gofer.PID] = c.Name
		}
		if c.KeeperRun == Alive {
			helpers[c.Keeper.PID] = c.Name
		}
	}
	for _, pid := range pids {
		value, err := readScore(l.c.ProcRoot, pid)
		if errors.Is(err, ErrGone) {
			continue // ended since the cgroup was read
		}
		if err != nil {
			return fmt.Errorf("reading the score of process %d: %w", pid, err)
		}
		sb.CgroupProcs++
		sb.Scores = append(sb.Scores, Score{PID: pid, Container: helpers[pid], Value: value})
	}
	return nil
}

func (l *Looker) cgroupPath(sb Sandbox) string {
	if sb.Record != nil && sb.Record.Cgroup != "" {
		return sb.Record.Cgroup
	}
	if l.c.CgroupPath != nil {
		return l.c.CgroupPath(sb.Name)
	}
	return ""
}

// readScore reads the score of a process of the cgroup. Should its pid have
// been given away since the cgroup was read, a stranger's score is reported
// until the next look: whoever writes scores proves identities.
func readScore(root string, pid int) (int, error) {
	fd, err := unix.Open(root+"/"+strconv.Itoa(pid)+"/oom_score_adj", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var buf [16]byte
	n, err := unix.Read(fd, buf[:])
	if errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
}
