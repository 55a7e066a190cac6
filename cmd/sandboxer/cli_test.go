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
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rogpeppe/go-internal/testscript"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
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
			// down: the daemon ends, and up: a later one begins.
			"down": func(ts *testscript.TestScript, _ bool, _ []string) { load(ts).stop() },
			"up":   func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(load(ts).start()) },
			// vanish NAME: as drop, but the moment before the next watch begins.
			"vanish": func(ts *testscript.TestScript, _ bool, args []string) {
				b := load(ts)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.late = args[0]
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
			// interrupts N COMMAND...: send it SIGINT once the daemon was asked, and
			// compare its exit code.
			"interrupts": func(ts *testscript.TestScript, _ bool, args []string) {
				program, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], args[1]))
				ts.Check(err)
				cmd := exec.Command(program, args[2:]...)
				cmd.Env = []string{"SANDBOXER_SOCKET=" + ts.Getenv("SANDBOXER_SOCKET")}
				var said strings.Builder
				cmd.Stderr = &said
				ts.Check(cmd.Start())
				asked := await("asked", load(ts).asked)
				ts.Check(cmd.Process.Signal(os.Interrupt))
				_ = cmd.Wait() // its code says it
				ts.Check(asked)
				if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[0] || !strings.Contains(said.String(), "SIGINT came before the command was started") {
					ts.Fatalf("exit code %s, want %s: %s", code, args[0], said.String())
				}
			},
			// narrow: no line of the last output is wider than a table may be.
			"narrow": func(ts *testscript.TestScript, _ bool, _ []string) {
				for l := range strings.Lines(ts.ReadFile("stdout")) {
					if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > 80 {
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

func TestEveryCommandExplainsItself(t *testing.T) {
	c := cli{stdout: io.Discard, stderr: io.Discard}
	for _, cmd := range below(c.root()) {
		if cmd.Name() == "help" {
			continue
		}
		if cmd.Short == "" || cmd.Long == "" || !strings.HasPrefix(cmd.Example, "  "+cmd.CommandPath()) {
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
