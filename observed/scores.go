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
	gofers := map[Process]string{}
	for _, c := range sb.Containers {
		gofers[c.Gofer] = c.Name
	}
	for _, pid := range pids {
		p, value, err := readScore(l.c.ProcRoot, pid)
		if errors.Is(err, ErrGone) {
			continue // ended since the cgroup was read
		}
		if err != nil {
			return fmt.Errorf("reading the score of process %d: %w", pid, err)
		}
		sb.CgroupProcs++
		sb.Scores = append(sb.Scores, Score{Process: p, Container: gofers[p], Value: value})
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

// readScore reads identity and score of one and the same process.
func readScore(root string, pid int) (Process, int, error) {
	dir, err := openProc(root, pid)
	if err != nil {
		return Process{}, 0, err
	}
	defer unix.Close(dir)
	st, err := readStat(dir)
	if err != nil {
		return Process{}, 0, err
	}
	if st.ended() {
		return Process{}, 0, ErrGone
	}
	var buf [16]byte
	n, err := readAt(dir, "oom_score_adj", buf[:])
	if err != nil {
		return Process{}, 0, err
	}
	value, err := strconv.Atoi(string(bytes.TrimSpace(buf[:n])))
	if err != nil {
		return Process{}, 0, fmt.Errorf("oom_score_adj: %w", err)
	}
	return Process{PID: pid, StartTime: st.start}, value, nil
}
