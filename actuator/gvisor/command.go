package gvisor

import (
	"context"
	"encoding/json"
	"errors"

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

// KillTree kills a process of a container and all that it has started, as far
// as that can be told by who is whose parent.
func (s Sentry) KillTree(ctx context.Context, id string, pid int) error {
	var answer json.RawMessage
	err := s.call(ctx, boot.ContMgrProcesses, &id, nil, &answer)
	if errors.Is(err, ErrUnknownContainer) || errors.Is(err, ErrNoProcess) {
		return nil
	}
	var list []control.Process
	if err == nil {
		list, err = processesOf(answer)
	}
	errs := []error{err}
	for _, pid := range treeOf(pid, list) {
		err := s.SignalProcess(ctx, id, pid, unix.SIGKILL, false)
		if errors.Is(err, ErrNoAnswer) {
			return errors.Join(append(errs, err)...) // nor will it for the others
		}
		if !errors.Is(err, ErrNoProcess) && !errors.Is(err, ErrUnknownContainer) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
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
