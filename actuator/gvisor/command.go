package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/runsc/boot"
)

// WaitExec returns the wait status of a process that Exec ran, once it has
// ended. It has no deadline but ctx's.
func (s Sentry) WaitExec(ctx context.Context, id string, pid int) (unix.WaitStatus, error) {
	s.Timeout = 0
	var status uint32
	if err := s.call(ctx, boot.ContMgrWaitPID, &boot.WaitPIDArgs{PID: int32(pid), CID: id}, nil, &status); err != nil {
		return 0, err
	}
	return endOf(status)
}

// killRounds bounds how often a tree is looked at that goes on growing.
const killRounds = 20

// KillTree kills a process of a container and all that it has started, as far
// as that can be told by who is whose parent. They are stopped before: what is
// started while they are listed, and whose parent is killed then, is nobody's
// child any more. What is stopped must not stay so, so that half of the time is
// left to kill it.
func (s Sentry) KillTree(ctx context.Context, id string, pid int) error {
	stopping, cancel := ctx, context.CancelFunc(func() {})
	if until, ok := ctx.Deadline(); ok {
		stopping, cancel = context.WithTimeout(ctx, time.Until(until)/2)
	}
	defer cancel()
	tree, err := s.stopTree(stopping, id, pid)
	errs := []error{err}
	for _, pid := range tree {
		err := s.signalTree(ctx, id, pid, unix.SIGKILL)
		if errs = append(errs, err); errors.Is(err, ErrNoAnswer) {
			break // nor will it for the others
		}
	}
	return errors.Join(errs...)
}

// stopTree stops a process and all that it has started, and returns them, also
// with an error. A stop takes effect later than it is sent, so that one list
// without a new process is not enough.
func (s Sentry) stopTree(ctx context.Context, id string, pid int) (tree []int, _ error) {
	var errs []error
	known := map[int]bool{}
	for round, same := 0, 0; same < 2 && round < killRounds; round++ {
		list, err := s.listed(ctx, id)
		if errors.Is(err, ErrUnknownContainer) || errors.Is(err, ErrNoProcess) {
			return nil, nil
		}
		errs = append(errs, err)
		same++
		for _, pid := range treeOf(pid, list) {
			if known[pid] {
				continue
			}
			known[pid], same = true, 0
			tree = append(tree, pid)
			err := s.signalTree(ctx, id, pid, unix.SIGSTOP)
			if errs = append(errs, err); errors.Is(err, ErrNoAnswer) {
				return tree, errors.Join(errs...)
			}
		}
		if err != nil {
			break
		}
	}
	return tree, errors.Join(errs...)
}

// listed are a container's processes.
func (s Sentry) listed(ctx context.Context, id string) ([]control.Process, error) {
	var answer json.RawMessage
	if err := s.call(ctx, boot.ContMgrProcesses, &id, nil, &answer); err != nil {
		return nil, err
	}
	return processesOf(answer)
}

// signalTree sends a signal to one that may have ended.
func (s Sentry) signalTree(ctx context.Context, id string, pid int, sig unix.Signal) error {
	err := s.SignalProcess(ctx, id, pid, sig, false)
	if errors.Is(err, ErrNoProcess) || errors.Is(err, ErrUnknownContainer) {
		return nil
	}
	return err
}

// treeOf is a process and all that it has started, each once, whatever a sentry
// says of who is whose parent.
func treeOf(pid int, list []control.Process) []int {
	children := map[int][]int{}
	for _, p := range list {
		children[int(p.PPID)] = append(children[int(p.PPID)], int(p.PID))
	}
	tree, known := []int{pid}, map[int]bool{pid: true}
	for i := 0; i < len(tree); i++ {
		for _, child := range children[tree[i]] {
			if !known[child] {
				known[child] = true
				tree = append(tree, child)
			}
		}
	}
	return tree
}
