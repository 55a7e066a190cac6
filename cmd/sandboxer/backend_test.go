package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/status"
)

// backend is a daemon that does what a script says.
type backend struct {
	*status.Board
	events *events.Log
	socket string
	asked  string // the file
	stop   func()
	began  time.Time

	mu   sync.Mutex // guards what follows
	plan api.Plan
	held []string
	late string // goes the moment before the next watch begins
}

func (b *backend) Health(context.Context) error          { return nil }
func (b *backend) Refresh(context.Context, string) error { return nil }

func (b *backend) Sandboxes() []api.Sandbox { return b.List() }

func (b *backend) Sandbox(name string) (api.Sandbox, error) {
	s, ok := b.Get(name)
	if !ok {
		return s, api.ErrNotFound
	}
	return s, nil
}

func (b *backend) Watch(ctx context.Context, name string, send func(api.Change) error) error {
	b.mu.Lock()
	late := b.late
	b.late = ""
	b.mu.Unlock()
	if late != "" {
		b.Delete(late)
	}
	return b.Board.Watch(ctx, name, send)
}

func (b *backend) Describe(_ context.Context, name string) (api.Description, error) {
	if name == "deaf" {
		return api.Description{}, errors.New("nobody knows")
	}
	s, err := b.Sandbox(name)
	d := api.Description{Sandbox: s, Events: b.Events(name)}
	if s.Status.Phase != api.Invalid {
		d.Labels = map[string]string{"tier": "front", "app": "web"}
		d.Notes = []string{"spec.containers[0].resources.limits.cpu: is not in force as long as another container has none"}
		d.Pending = []api.Action{{Sandbox: name, Container: "app", Action: "start", Reason: "first start of container \"app\""}}
		d.Spec = &desired.Spec{State: desired.Running, Runtime: "gvisor",
			Volumes: []desired.Volume{{Name: "conf", Files: map[string]string{"app.conf": "secret"}}},
			Containers: []desired.Container{{Name: "app", Command: []string{"/bin/app"}, Env: []desired.EnvVar{
				{Name: "MODE", Value: "prod"}, {Name: "TOKEN", ValueFrom: &desired.EnvSource{File: "/etc/token"}}}}}}
	}
	if name == "vault" {
		d.Spec.Containers[0].Env = append(d.Spec.Containers[0].Env, desired.EnvVar{Name: "PASSWORD", Value: "hunter2hunter2"})
	}
	return d, err
}

func (b *backend) Events(sandbox string) []events.Event { return b.events.List(sandbox) }

func (b *backend) FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error {
	return b.events.Follow(ctx, sandbox, send)
}

func (b *backend) Logs(_ context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	const time = "2026-01-02T15:04:05.00000000"
	switch {
	case o.Previous && container == "b":
		return logs.ErrNoPrevious
	case sandbox == "cut" && o.After == "": // the daemon ends while somebody follows
		fmt.Fprint(w, time+"1Z stdout F first\n"+time+"2Z stdout F sec")
		return errors.New("the daemon ends")
	}
	fmt.Fprintf(w, time+"3Z stdout F %s/%s follow=%v tail=%d previous=%v since=%v after=%s\n"+time+"4Z stderr F complaint\n",
		sandbox, container, o.Follow, o.Tail, o.Previous, !o.Since.IsZero(), o.After)
	return nil
}

// Restart is refused for ill, and never over for slow. The clock is set back while
// the others are restarted.
func (b *backend) Restart(_ context.Context, sandbox string, _ []string, gofers bool) (time.Time, error) {
	s, ok := b.Get(sandbox)
	switch {
	case sandbox == "ill" || !ok:
		return time.Time{}, &api.Error{Code: 409, Message: "nothing is declared"}
	case sandbox == "slow":
		return time.Now(), nil
	}
	s.Status.Containers = slices.Clone(s.Status.Containers)
	for i := range s.Status.Containers {
		c := &s.Status.Containers[i]
		began := &c.StartedAt
		if gofers {
			began = &c.GoferSince
		}
		*began = new((*began).Add(-time.Hour))
	}
	b.Set(s)
	return time.Now(), nil
}

// Exec needs a real sandbox: the system tests have it. In slow nothing is ever
// started, and a file says that it was asked.
func (b *backend) Exec(ctx context.Context, sandbox, _ string, _ api.ExecRequest, _ [3]*os.File) (api.ExecStarted, *os.File, error) {
	if sandbox == "slow" {
		if err := os.WriteFile(b.asked, []byte("asked"), 0o600); err != nil {
			return api.ExecStarted{}, nil, err
		}
		<-ctx.Done()
	}
	return api.ExecStarted{}, nil, &api.Error{Code: 409, Message: "nothing runs here"}
}

// Attach does too.
func (b *backend) Attach(string, string) (api.Attachment, error) {
	return api.Attachment{}, &api.Error{Code: 409, Message: "nothing runs here"}
}

func (b *backend) Processes(context.Context, string) (map[string][]api.Process, error) {
	return map[string][]api.Process{
		"app": {
			{Container: "app", PID: 2, UID: 1000, Threads: 6, CPUSeconds: 7321.5, MemoryBytes: 15_700_000, StartedAt: time.Now().Add(-26 * time.Hour),
				Command: []string{"/bin/app", "--port", "80"}},
			{Container: "app", PID: 31, PPID: 2, Threads: 1, CPUSeconds: 0.25, MemoryBytes: 512, StartedAt: time.Now().Add(-90 * time.Second),
				Command: []string{"sh", "-c", "echo \x1b[2J; " + strings.Repeat("long ", 30)}},
		},
		"side": {{Container: "side", PID: 3, StartedAt: time.Now(), Command: []string{"[gone]"}}},
	}, nil
}

// Stats fails for ill, and hangs for slow. All else uses half a CPU, and of the one container that runs a quarter.
func (b *backend) Stats(ctx context.Context, sandbox string) (api.Stats, error) {
	if sandbox == "slow" {
		<-ctx.Done()
	}
	s, err := b.Sandbox(sandbox)
	if err == nil && s.Status.SandboxPID == 0 {
		err = &api.Error{Code: 409, Message: sandbox + " does not run"}
	}
	if sandbox == "ill" {
		err = errors.New("no such cgroup")
	}
	if err != nil {
		return api.Stats{}, err
	}
	used := 4000 + time.Since(b.began).Seconds()
	return api.Stats{Sandbox: sandbox, Time: time.Now(), CPUSeconds: used / 2, MemoryBytes: 15_700_000, MemoryPeakBytes: 1 << 30, PIDs: 31,
		ReadBytes: 4096, WrittenBytes: 3 << 20, Containers: []api.ContainerStats{
			{Name: "app", ID: sandbox + ".app.1", CPUSeconds: used / 4, MemoryBytes: 300_000, MemoryLimitBytes: 64 << 20, PIDs: 6}}}, nil
}

// Kill makes an event of a signal, which only containers that run take.
func (b *backend) Kill(_ context.Context, sandbox, container string, r api.KillRequest) error {
	s, err := b.Sandbox(sandbox)
	if err != nil {
		return err
	}
	for _, c := range s.Status.Containers {
		if c.Name == container && c.State != "running" {
			return &api.Error{Code: 409, Message: container + " does not run"}
		}
	}
	b.events.Append(events.Event{Sandbox: sandbox, Container: container, Message: fmt.Sprintf("%+v", r)})
	return nil
}

func (b *backend) Checkpoint(_ context.Context, sandbox, path string) (api.Checkpoint, error) {
	if sandbox != "web" {
		return api.Checkpoint{}, fmt.Errorf("sandbox %q: it does not run", sandbox)
	}
	return api.Checkpoint{Sandbox: sandbox, Path: path, Bytes: 42}, nil
}

func (b *backend) ConfirmDeletions(_ context.Context, names []string) (done api.Confirmation, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(names) == 0 {
		return api.Confirmation{Confirmed: b.held}, nil
	}
	for _, name := range names {
		if slices.Contains(b.held, name) {
			done.Confirmed = append(done.Confirmed, name)
		} else {
			done.NotHeld = append(done.NotHeld, name)
		}
	}
	return done, nil
}

// DebugState is of one sandbox that is being made; what it says has a value of vault's.
func (b *backend) DebugState(context.Context) api.DebugState {
	dir, data := filepath.Dir(b.socket), filepath.Join(filepath.Dir(b.asked), "data")
	return api.DebugState{PID: 42, Settings: api.DebugSettings{StateDir: dir, DataDir: data, ConfigFile: dir + "/config.yaml"}, Mounts: []string{"36 35 0:1 / /run rw - tmpfs t rw"},
		Loop: api.DebugLoop{Workers: 16, Queue: []string{"web"}}, Sandboxes: []api.DebugSandbox{{Name: "web", Phase: "acting", LookError: "it said hunter2hunter2"}},
		Missing: []string{"background"}}
}

func (b *backend) RecentLog() []byte {
	return []byte("level=INFO msg=ready\nlevel=INFO msg=hunter2hunter2\n")
}

func (b *backend) Plan(_ context.Context, paths []string) (api.Plan, error) {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return api.Plan{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
	}
	if len(paths) == 0 {
		return api.Plan{}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.plan
	p.Problems = slices.Clone(p.Problems)
	for i := range p.Problems {
		p.Problems[i] = strings.ReplaceAll(p.Problems[i], "PATH", paths[0])
	}
	return p, nil
}

// serve runs the daemon of one script and returns what changes it.
func serve(env *testscript.Env) (*backend, error) {
	log, err := events.Open(events.Config{Dir: filepath.Join(env.WorkDir, ".data")})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "s") // short enough for a socket's path
	if err != nil {
		return nil, err
	}
	b := &backend{Board: status.NewBoard(), events: log, socket: filepath.Join(dir, "s.sock"), asked: filepath.Join(env.WorkDir, "asked"), began: time.Now()}
	if err := b.start(); err != nil {
		return nil, err
	}
	env.Defer(func() {
		b.stop()
		log.Close()
		os.RemoveAll(dir)
	})
	env.Setenv("SANDBOXER_SOCKET", b.socket)
	env.Setenv("TZ", "UTC")
	env.Setenv("COLUMNS", "80")
	env.Setenv("GORACE", "atexit_sleep_ms=0") // each command is a process of its own
	return b, nil
}

// start serves until stop is called.
func (b *backend) start() error {
	srv, err := api.New(api.Config{Backend: b})
	if err != nil {
		return err
	}
	l, err := api.Listen(b.socket, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	b.stop = func() { cancel(); <-ended }
	return nil
}

// put publishes a sandbox; AGO(5m) in it becomes that time.
func (b *backend) put(text string) error {
	for {
		before, rest, ok := strings.Cut(text, "AGO(")
		if !ok {
			break
		}
		d, rest, _ := strings.Cut(rest, ")")
		ago, err := time.ParseDuration(d)
		if err != nil {
			return err
		}
		text = before + time.Now().Add(-ago).UTC().Format(time.RFC3339Nano) + rest
	}
	var s api.Sandbox
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	b.Set(s)
	return nil
}
