package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Backend whose answers a test sets.
type fake struct {
	sandboxes []Sandbox
	changes   chan Change
	events    []events.Event
	logs      func(ctx context.Context, w io.Writer) error
	planned   []string
	restarted string
	opts      logs.Options
	kills     chan KillRequest
	processes map[string][]Process
	exec      func(r ExecRequest, stdio [3]*os.File) (ExecStarted, *os.File, error)
	attach    func() (Attachment, error)
	err       error
	refreshed atomic.Value // the name
	watched   atomic.Value // string
	unready   func() error
	hang      chan struct{} // what Plan waits for
}

func (f *fake) Health(context.Context) error {
	if f.unready != nil {
		return f.unready()
	}
	return nil
}

func (f *fake) Refresh(_ context.Context, name string) error {
	f.refreshed.Store(name)
	return nil
}

func (f *fake) Sandboxes() []Sandbox { return f.sandboxes }

func (f *fake) Sandbox(name string) (Sandbox, error) {
	for _, s := range f.sandboxes {
		if s.Name == name {
			return s, nil
		}
	}
	return Sandbox{}, fmt.Errorf("looking for %s: %w", name, ErrNotFound)
}

func (f *fake) Watch(ctx context.Context, name string, send func(Change) error) error {
	f.watched.Store(name)
	for _, s := range f.sandboxes {
		if name != "" && s.Name != name {
			continue
		}
		if err := send(Change{Sandbox: s}); err != nil {
			return err
		}
	}
	for {
		select {
		case c, ok := <-f.changes:
			if !ok {
				return errors.New("the watch broke")
			}
			if err := send(c); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) Describe(_ context.Context, name string) (Description, error) {
	s, err := f.Sandbox(name)
	return Description{Sandbox: s, Events: f.events}, err
}

func (f *fake) Events(sandbox string) []events.Event { return f.events }

func (f *fake) FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error {
	for _, e := range f.events {
		if err := send(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) Logs(ctx context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	f.opts = o
	if f.logs != nil {
		return f.logs(ctx, w)
	}
	_, err := fmt.Fprintf(w, "%s/%s\n", sandbox, container)
	return err
}

func (f *fake) Restart(_ context.Context, sandbox string, containers []string, gofers bool) (time.Time, error) {
	f.restarted = fmt.Sprint(sandbox, containers, gofers)
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), f.err
}

func (f *fake) Exec(_ context.Context, _, _ string, r ExecRequest, stdio [3]*os.File) (ExecStarted, *os.File, error) {
	return f.exec(r, stdio)
}

func (f *fake) Attach(string, string) (Attachment, error) { return f.attach() }

func (f *fake) Processes(context.Context, string) (map[string][]Process, error) {
	return f.processes, f.err
}

func (f *fake) Stats(_ context.Context, sandbox string) (Stats, error) {
	return Stats{Sandbox: sandbox, CPUSeconds: 1.5}, f.err
}

func (f *fake) Kill(_ context.Context, _, _ string, r KillRequest) error {
	f.kills <- r
	return f.err
}

func (f *fake) Checkpoint(_ context.Context, sandbox, path string) (Checkpoint, error) {
	return Checkpoint{Sandbox: sandbox, Path: path, Bytes: 42}, f.err
}

func (f *fake) ConfirmDeletions(_ context.Context, names []string) (Confirmation, error) {
	return Confirmation{NotHeld: names}, f.err
}

func (f *fake) DebugState(context.Context) DebugState {
	return DebugState{PID: 42, Loop: DebugLoop{Queue: []string{"web"}}}
}

func (f *fake) RecentLog() []byte { return []byte("the daemon's last words\n") }

func (f *fake) Plan(_ context.Context, paths []string) (Plan, error) {
	if f.hang != nil {
		<-f.hang
		return Plan{}, f.err
	}
	f.planned = paths
	return Plan{}, f.err
}

// box is a sandbox with the given containers.
func box(name string, containers ...string) Sandbox {
	s := Sandbox{Name: name, Source: name + ".yaml", DesiredState: "Running", Status: Status{Phase: Running,
		Conditions: []Condition{}, Containers: []Container{}}}
	for _, c := range containers {
		s.Status.Containers = append(s.Status.Containers, Container{Name: c, ID: name + "." + c + ".1", State: "running"})
	}
	return s
}

// serve runs a server until the test ends, or until stop is called.
func serve(t *testing.T, f *fake) (c *Client, stop func()) {
	t.Helper()
	s, err := New(Config{Backend: f, Version: Version{Version: "v1.2.3"}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	c = NewClient(path)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		c.Close()
	})
	t.Cleanup(stop)
	return c, stop
}

// dial is a bare connection to a client's daemon.
func dial(t *testing.T, c *Client) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}
