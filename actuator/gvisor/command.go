package gvisor

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"
)

// WaitExec returns the wait status of a process that Exec ran, once it has
// ended. It has no deadline but ctx's.
func (s Sentry) WaitExec(ctx context.Context, id string, pid int) (unix.WaitStatus, error) {
	s.Timeout = 0
	var status unix.WaitStatus
	err := s.call(ctx, boot.ContMgrWaitPID, &boot.WaitPIDArgs{PID: int32(pid), CID: id}, nil, &status)
	return status, err
}

// KillTree kills a process of a container and all that it has started, as far
// as that can be told by who is whose parent.
func (s Sentry) KillTree(ctx context.Context, id string, pid int) error {
	var list []struct {
		PID    int `json:"pid"`
		Parent int `json:"ppid"`
	}
	err := s.call(ctx, boot.ContMgrProcesses, &id, nil, &list)
	if errors.Is(err, ErrUnknownContainer) || errors.Is(err, ErrNoProcess) {
		return nil
	}
	errs := []error{err}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		for _, p := range list {
			if p.Parent == tree[i] {
				tree = append(tree, p.PID)
			}
		}
		err := s.SignalProcess(ctx, id, tree[i], unix.SIGKILL, false)
		if !errors.Is(err, ErrNoProcess) && !errors.Is(err, ErrUnknownContainer) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
