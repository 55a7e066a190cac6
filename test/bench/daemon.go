package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/api"
	"sandboxer/observed"
)

// ours is a daemon with directories of its own.
type ours struct {
	b         *bench
	cmd       *exec.Cmd
	reaper    *observed.Reaper
	client    *api.Client
	ended     chan struct{} // closed when the daemon has ended
	err       error         // why, then
	log       *os.File      // closed
	manifests string
	state     string
	data      string
	tree      tree
}

// startDaemon starts a daemon of its own directories and returns when it
// answers.
func startDaemon(ctx context.Context, b *bench, reaper *observed.Reaper) (_ *ours, err error) {
	b.daemons++
	id := strconv.Itoa(b.daemons)
	o := &ours{
		b: b, reaper: reaper,
		manifests: filepath.Join(b.work, "manifests"+id),
		state:     filepath.Join(b.run, "state"+id),
		data:      filepath.Join(b.work, "data"+id),
	}
	if o.tree, err = newTree(fmt.Sprintf("/sandboxer-bench-%d.%s", os.Getpid(), id)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(o.manifests, 0o755); err != nil {
		return nil, err
	}
	if o.log, err = os.Create(filepath.Join(b.work, "daemon"+id+".log")); err != nil {
		return nil, err
	}
	o.log.Close()
	o.client = api.NewClient(filepath.Join(o.state, "sandboxer.sock"))
	if err := o.launch(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// launch starts the daemon, for the first time or after crash, and returns when
// it answers.
func (o *ours) launch(ctx context.Context) error {
	log, err := os.OpenFile(o.log.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(o.b.sandboxer, "daemon", "--manifests", o.manifests, "--state-dir", o.state,
		"--data-dir", o.data, "--settle", "0s", "--deletion-guard", "1", "--cgroup-parent", o.tree.name)
	cmd.Stdout, cmd.Stderr = log, log
	// The terminal's Ctrl-C is for the benchmark, which ends its daemons.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := o.reaper.Start(cmd); err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	ended := make(chan struct{})
	o.cmd, o.ended = cmd, ended
	go func() {
		o.err = o.reaper.Wait(cmd)
		close(ended)
	}()
	if err := o.answers(ctx); err != nil {
		return errors.Join(err, o.stop(ctx))
	}
	return nil
}

// crash kills the daemon, and nothing that it has started.
func (o *ours) crash() error {
	if err := o.cmd.Process.Kill(); err != nil {
		return err
	}
	<-o.ended
	return nil
}

// answers returns when the daemon does.
func (o *ours) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for {
		conn, err := net.Dial("unix", filepath.Join(o.state, "sandboxer.sock"))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-o.ended:
			return fmt.Errorf("the daemon ended: %w; it said: %s", o.err, tail(o.log.Name()))
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %w; it said: %s", context.Cause(ctx), tail(o.log.Name()))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// manifest writes the manifest of a sandbox under a name that does not count
// yet; declare makes it count.
func (o *ours) manifest(name, command string) error {
	dir, err := o.b.bundle(name, command, "")
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: sandboxer/v1
kind: Sandbox
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 10
  containers:
  - {name: app, bundle: %q}
`, name, dir)
	return os.WriteFile(o.hidden(name), []byte(text), 0o644)
}

func (o *ours) hidden(name string) string { return filepath.Join(o.manifests, "."+name+".tmp") }
func (o *ours) shown(name string) string  { return filepath.Join(o.manifests, name+".yaml") }

func (o *ours) declare(name string) error { return os.Rename(o.hidden(name), o.shown(name)) }

// up declares a sandbox and returns how long it took until its command ran.
func (o *ours) up(ctx context.Context, name string) (time.Duration, error) {
	return o.work(ctx, name, "idle")
}

// work is up with another command for the probe.
func (o *ours) work(ctx context.Context, name, command string) (time.Duration, error) {
	if err := o.manifest(name, command); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := o.declare(name); err != nil {
		return 0, err
	}
	ran, err := o.ran(ctx, name)
	return ran.Sub(began), err
}

// ran waits for a mark, and says what the daemon said where there is none.
func (o *ours) ran(ctx context.Context, mark string) (time.Time, error) {
	at, err := o.b.marks.wait(ctx, mark)
	if err != nil {
		err = fmt.Errorf("%w; the daemon said: %s", err, tail(o.log.Name()))
	}
	return at, err
}

// down removes a manifest and returns how long it took until nothing was left
// of its sandbox.
func (o *ours) down(ctx context.Context, name string) (time.Duration, error) {
	l := leftovers{cgroups: o.tree.below(name), in: []string{o.state, o.data}, name: name}
	for _, dir := range []string{o.state, o.data} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if e.IsDir() {
				l.in = append(l.in, filepath.Join(dir, e.Name()))
			}
		}
	}
	var err error
	if l.pids, err = o.tree.pids(name); err != nil {
		return 0, err
	}
	if err := o.enclosed(); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := os.Remove(o.shown(name)); err != nil {
		return 0, err
	}
	ended, err := l.gone(ctx)
	return ended.Sub(began), err
}

// stop removes every sandbox, ends the daemon and clears what is left.
func (o *ours) stop(ctx context.Context) error {
	defer o.client.Close()
	shown, err := filepath.Glob(o.shown("*"))
	for _, path := range shown {
		err = errors.Join(err, os.Remove(path))
	}
	none, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	select {
	case <-o.ended:
	default:
		// Without a name, whatever is there is left.
		_, left := leftovers{in: []string{filepath.Join(o.state, "sandboxes")}}.gone(none)
		err = errors.Join(err, left)
		_ = unix.Kill(o.cmd.Process.Pid, unix.SIGTERM)
	}
	select {
	case <-o.ended:
		err = errors.Join(err, o.err)
	case <-none.Done():
		_ = unix.Kill(o.cmd.Process.Pid, unix.SIGKILL)
		<-o.ended
		err = errors.Join(err, fmt.Errorf("the daemon did not end on SIGTERM; it said: %s", tail(o.log.Name())))
	}
	return errors.Join(err, o.tree.remove(none))
}
