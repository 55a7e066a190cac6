package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// bare is runsc as it is.
type bare struct {
	b      *bench
	exe    string
	root   string // --root
	flags  []string
	log    *os.File
	reaper *observed.Reaper
	tree   tree
	live   map[string]bool // what delete has not removed yet
}

// run runs one runsc command. Its output goes to a file, which a sentry that
// inherits it does not keep anybody waiting with, as it would with a pipe.
func (r *bare) run(ctx context.Context, args ...string) error { return r.runTo(ctx, r.log, args...) }

// runTo is run with another file as standard output, which a container that is
// created inherits.
func (r *bare) runTo(ctx context.Context, out *os.File, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	flags := append([]string{"--root", r.root, "--network", "none", "--platform", "systrap"}, r.flags...)
	cmd := exec.CommandContext(ctx, r.exe, append(flags, args...)...)
	cmd.Stdout, cmd.Stderr = out, r.log
	if err := r.reaper.Start(cmd); err != nil {
		return err
	}
	if err := r.reaper.Wait(cmd); err != nil {
		return fmt.Errorf("runsc %v: %w; it said: %s", args, err, tail(r.log.Name()))
	}
	return nil
}

// start creates and starts a container; times are the caller's business.
func (r *bare) start(ctx context.Context, name, bundle string) error {
	r.live[name] = true
	if err := r.run(ctx, "create", "--bundle", bundle, name); err != nil {
		return err
	}
	return r.run(ctx, "start", name)
}

// bundle writes a container's bundle with a cgroup of its own.
func (r *bare) bundle(name string) (string, error) {
	return r.b.bundle(name, "idle", filepath.Join(r.tree.name, name))
}

// up makes a container of a fresh bundle and returns how long it took until
// its command ran.
func (r *bare) up(ctx context.Context, name string) (time.Duration, error) {
	return r.work(ctx, name, "idle")
}

// work is up with another command for the probe.
func (r *bare) work(ctx context.Context, name, command string) (time.Duration, error) {
	dir, err := r.b.bundle(name, command, filepath.Join(r.tree.name, name))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.start(ctx, name, dir); err != nil {
		return 0, err
	}
	ran, err := r.b.marks.wait(ctx, name)
	return ran.Sub(began), err
}

// down removes a container and returns how long it took until nothing was
// left of it.
func (r *bare) down(ctx context.Context, name string) (time.Duration, error) {
	l := leftovers{cgroups: r.tree.below(name), in: []string{r.root}, name: name}
	var err error
	if l.pids, err = r.tree.pids(name); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.run(ctx, "delete", "--force", name); err != nil {
		return 0, err
	}
	ended, err := l.gone(ctx)
	delete(r.live, name)
	return ended.Sub(began), err
}

// kinds are the processes of all containers. Stubs show as others, too.
func (r *bare) kinds() (kinds, error) {
	pids, err := r.tree.pids("")
	if err != nil {
		return kinds{}, err
	}
	return classify(pids...)
}

// clear removes all containers that are left.
func (r *bare) clear(ctx context.Context) error {
	for name := range r.live {
		if _, err := r.down(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// unmount takes away what runsc leaves mounted in its root: an empty network
// namespace that all containers without a network share.
func (r *bare) unmount() error {
	path := filepath.Join(r.root, "null-netns")
	switch err := unix.Unmount(path, unix.MNT_DETACH); err {
	case nil, unix.ENOENT, unix.EINVAL: // EINVAL: nothing is mounted there
		return nil
	default:
		return fmt.Errorf("unmounting %s: %w", path, err)
	}
}

// tail is the end of a file of messages.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}
