package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// deleteTimeout bounds Delete where its context does not.
const deleteTimeout = 5 * time.Second

// Delete removes the cgroup, and those nested in it, from every hierarchy. It
// kills nothing: it waits, at most 5 s or until ctx is done, for processes to
// end, and returns an error that wraps ErrBusy and names those that don't. A
// cgroup that is not there is deleted.
func (c *Cgroup) Delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	for delay := 100 * time.Microsecond; ; delay = min(2*delay, 10*time.Millisecond) {
		err := c.remove()
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("deleting cgroup %s: %w", c.name, err)
		}
		pids, _, err := c.host.Procs(c.name)
		if err != nil {
			return err
		}
		held, err := c.hold(pids)
		if err != nil {
			return err
		}
		err = held.wait(ctx)
		held.close()
		if err == nil {
			// Nothing is in it and it is busy: the kernel is still taking an
			// ended process off it, and tells nobody when it is done.
			err = pause(ctx, delay)
		}
		if err != nil {
			return fmt.Errorf("deleting cgroup %s: processes %v are in it: %w: %w", c.name, pids, ErrBusy, err)
		}
	}
}

// remove removes all directories that let themselves be removed.
func (c *Cgroup) remove() error {
	var errs []error
	for _, top := range c.host.dirs(c.name) {
		dirs, err := subtree(top)
		if err != nil {
			errs = append(errs, err)
		}
		for _, dir := range dirs {
			if err := rmdir(dir); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
