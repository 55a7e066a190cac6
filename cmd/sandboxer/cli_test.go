package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rogpeppe/go-internal/testscript"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/status"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sandboxer": func() {
			os.Exit(command(os.Args[1:], cli{stdout: os.Stdout, stderr: os.Stderr, runDaemon: printOptions}))
		},
	})
}

// printOptions stands in for the daemon.
func printOptions(_ context.Context, o daemonOptions) error {
	if o.StateDir == "/full" {
		return errors.New("the state directory is full")
	}
	b, err := json.Marshal(o)
	if err == nil {
		_, err = fmt.Println(string(b))
	}
	return err
}

// backend is a daemon that does what a script says.
type backend struct {
	*status.Board
	events *events.Log
	socket string
	stop   func()

	mu   sync.Mutex // guards what follows
	plan api.Plan
	held []string
}

func (b *backend) Health(context.Context) error { return nil }
func (b *backend) Sandboxes() []api.Sandbox     { return b.List() }

func (b *backend) Sandbox(name string) (api.Sandbox, error) {
	s, ok := b.Get(name)
	if !ok {
		return s, api.ErrNotFound
	}
	return s, nil
}

func (b *backend) Describe(_ context.Context, name string) (api.Description, error) {
	s, err := b.Sandbox(name)
	d := api.Description{Sandbox: s, Events: b.Events(name)}
	if s.Status.Phase != api.Invalid {
		d.Labels = map[string]string{"tier": "front", "app": "web"}
		d.Pending = []api.Action{{Sandbox: name, Container: "app", Action: "start", Reason: "it was not started yet"}}
		d.Spec = &desired.Spec{State: desired.Running, Runtime: "gvisor",
			Volumes: []desired.Volume{{Name: "conf", Files: map[string]string{"app.conf": "secret"}}},
			Containers: []desired.Container{{Name: "app", Command: []string{"/bin/app"}, Env: []desired.EnvVar{
				{Name: "TOKEN", ValueFrom: &desired.EnvSource{File: "/etc/token"}}}}}}
	}
	return d, err
}

func (b *backend) Events(sandbox string) []events.Event { return b.events.List(sandbox) }

func (b *backend) FollowEvents(ctx context.Context, sandbox string, send func(events.Event) error) error {
	return b.events.Follow(ctx, sandbox, send)
}

func (b *backend) Logs(_ context.Context, sandbox, container string, o logs.Options, w io.Writer) error {
	fmt.Fprintf(w, "%s/%s follow=%v tail=%d timestamps=%v since=%v\n", sandbox, container, o.Follow, o.Tail, o.Timestamps, !o.Since.IsZero())
	return nil
}

func (b *backend) ConfirmDeletions(context.Context) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, nil
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
	return b.plan, nil
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
	b := &backend{Board: status.NewBoard(), events: log, socket: filepath.Join(dir, "s.sock")}
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
	env.Setenv("GORACE", "atexit_sleep_ms=0") // each command is a process of its own
	return b, nil
}

// start serves until stop is called.
func (b *backend) start() error {
	srv, err := api.New(api.Config{Backend: b})
	if err != nil {
		return err
	}
	l, err := api.Listen(b.socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	b.stop = func() { cancel(); <-ended }
	return nil
}

type backendKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_GOLDEN") != "",
		Setup: func(env *testscript.Env) error {
			b, err := serve(env)
			env.Values[backendKey{}] = b
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// put FILE...: publish the sandboxes of JSON files.
			"put": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, a := range args {
					ts.Check(load(ts).put(ts.ReadFile(a)))
				}
			},
			// restart: the daemon ends, and a later one begins.
			"restart": func(ts *testscript.TestScript, _ bool, _ []string) {
				load(ts).stop()
				ts.Check(load(ts).start())
			},
			"drop": func(ts *testscript.TestScript, _ bool, args []string) { load(ts).Delete(args[0]) },
			"happen": func(ts *testscript.TestScript, _ bool, args []string) {
				var e events.Event
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &e))
				load(ts).events.Append(e)
			},
			"planned": func(ts *testscript.TestScript, _ bool, args []string) {
				var p api.Plan
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &p))
				b := load(ts)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.plan = p
			},
			"hold": func(ts *testscript.TestScript, _ bool, args []string) {
				b := load(ts)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.held = args
			},
			// exits N COMMAND...: run it and compare its exit code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				if e := (*exec.ExitError)(nil); errors.As(err, &e) {
					code = e.ExitCode()
				} else {
					ts.Check(err)
				}
				if strconv.Itoa(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			// narrow: no line of the last output is wider than a table may be.
			"narrow": func(ts *testscript.TestScript, _ bool, _ []string) {
				for l := range strings.Lines(ts.ReadFile("stdout")) {
					if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > tableWidth {
						ts.Fatalf("%d columns: %s", n, l)
					}
				}
			},
			// await TEXT FILE: until a background command has written it.
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(await(args[0], ts.MkAbs(args[1])))
			},
		},
	})
}

// await returns once a file holds text.
func await(text, file string) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(file)); err != nil {
		return err
	}
	late := time.After(20 * time.Second)
	for {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), text) {
			return nil
		}
		select {
		case <-w.Events:
		case err := <-w.Errors:
			return err
		case <-late:
			return fmt.Errorf("%s holds %q, want %q", file, b, text)
		}
	}
}

func load(ts *testscript.TestScript) *backend { return ts.Value(backendKey{}).(*backend) }

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

func TestEveryCommandExplainsItself(t *testing.T) {
	c := cli{stdout: io.Discard, stderr: io.Discard}
	for _, cmd := range c.root().Commands() {
		if cmd.Name() == "help" {
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || !strings.HasPrefix(cmd.Example, "  sandboxer "+cmd.Name()) {
			t.Errorf("%s: Short %q, Long %q, Example %q", cmd.Name(), cmd.Short, cmd.Long, cmd.Example)
		}
		for l := range strings.Lines(cmd.Long) {
			if len(l) > 81 {
				t.Errorf("%s: a line of its help is too long: %s", cmd.Name(), l)
			}
		}
		if cmd.RunE == nil {
			t.Errorf("%s does nothing", cmd.Name())
		}
	}
	if n := strings.Count(about, "\n"); n > 10 {
		t.Errorf("sandboxer alone takes %d lines", n)
	}
}
