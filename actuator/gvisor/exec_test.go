package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"
)

// A further process gets what its container's record says, and three files.
func TestExec(t *testing.T) {
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	var call map[string]any
	var files int
	socket := server(t, func(c map[string]any, n int, w io.Writer) {
		call, files = c, n
		io.WriteString(w, `{"success": true, "result": 9}`)
	})
	p := &specs.Process{
		Args: []string{"ls", "-l"}, Env: []string{"A=b"}, Cwd: "/x", NoNewPrivileges: true, Terminal: true,
		User:         specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
		Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL", "CAP_NET_RAW"}, Permitted: []string{"CAP_NET_RAW"}},
	}
	pid, err := Sentry{Socket: socket, Timeout: patience}.Exec(context.Background(), "s.app.1", p, [3]*os.File{null, null, null})
	check(t, err)
	if pid != 9 || files != 3 || call["method"] != "containerManager.ExecuteAsync" {
		t.Errorf("pid %d of %v with %d files", pid, call["method"], files)
	}
	got, err := json.Marshal(call["arg"])
	check(t, err)
	var arg struct {
		Argv, Envv       []string
		WD               string `json:"wd"`
		KUID, KGID       int
		ExtraKGIDs       []int
		NoNewPrivileges  bool
		StdioIsPty       bool
		GuestFDs         []int
		ContainerID      string
		Capabilities     struct{ BoundingCaps, PermittedCaps, EffectiveCaps uint64 }
		PIDNamespace     any
		WorkingDirectory any
	}
	check(t, json.Unmarshal(got, &arg))
	want := `{"Argv":["ls","-l"],"Envv":["A=b"],"wd":"/x","KUID":1,"KGID":2,"ExtraKGIDs":[3],"NoNewPrivileges":true,` +
		`"StdioIsPty":true,"GuestFDs":[0,1,2],"ContainerID":"s.app.1",` +
		`"Capabilities":{"BoundingCaps":8224,"PermittedCaps":8192,"EffectiveCaps":0},"PIDNamespace":null,"WorkingDirectory":null}`
	if got, err := json.Marshal(arg); err != nil || string(got) != want {
		t.Errorf("the sentry was asked for\n%s, want\n%s", got, want)
	}
}

// A sentry that does not answer is not sent a command, which it would run once
// it does.
func TestExecOfASilentSentry(t *testing.T) {
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	release := make(chan struct{})
	asked := make(chan any, 10)
	socket := server(t, func(c map[string]any, _ int, _ io.Writer) {
		asked <- c["method"]
		<-release
	})
	p := &specs.Process{Args: []string{"ls"}, Capabilities: &specs.LinuxCapabilities{}}
	if _, err := (Sentry{Socket: socket, Timeout: 50 * time.Millisecond}).Exec(context.Background(), "s.app.1", p, [3]*os.File{null, null, null}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a command in a silent sandbox: %v", err)
	}
	close(release)
	if _, err := (Sentry{Socket: socket, Timeout: patience}).State(context.Background(), "s.app.1"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err) // the server serves one after the other: it is done with the first
	}
	for range 2 {
		if method := <-asked; method != boot.ContMgrContainerRuntimeState {
			t.Errorf("it was asked for %v", method)
		}
	}
}

// The answer to AwaitExec comes to whoever holds what it returned.
func TestAwaitExec(t *testing.T) {
	release := make(chan struct{})
	socket := server(t, func(c map[string]any, _ int, w io.Writer) {
		<-release
		io.WriteString(w, `{"success": true, "result": 256}`)
	})
	f, err := Sentry{Socket: socket, Timeout: time.Second}.AwaitExec(context.Background(), "s.app.1", 9)
	check(t, err)
	defer f.Close()
	close(release)
	var answer struct {
		Success bool
		Result  unix.WaitStatus
	}
	check(t, json.NewDecoder(f).Decode(&answer))
	if !answer.Success || answer.Result.ExitStatus() != 1 {
		t.Errorf("%+v", answer)
	}
}

// A sentry's queue is short. Who finds it full waits, and not for ever.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	check(t, unix.Listen(fd, 0))
	first, err := dial(context.Background(), path) // fills it
	check(t, err)
	defer first.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*dialPause)
	defer cancel()
	if _, err := dial(ctx, path); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a queue that stays full: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := dial(context.Background(), path)
		if err == nil {
			err = conn.Close()
		}
		done <- err
	}()
	for range 2 {
		taken, _, err := unix.Accept(fd)
		check(t, err)
		unix.Close(taken)
	}
	check(t, <-done)
}
