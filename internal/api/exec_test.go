package api

import (
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// command is a fake command: it copies its stdin to its stdout and ends with a
// status when told so.
type command struct {
	f      *fake
	end    *os.File // takes an ExecEnd
	asked  ExecRequest
	copied chan error
}

func newCommand(t *testing.T) *command {
	c := &command{copied: make(chan error, 1)}
	exit, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.end = end
	t.Cleanup(func() { end.Close() })
	c.f = &fake{sandboxes: []Sandbox{box("web", "app")}, kills: make(chan KillRequest, 1)}
	c.f.exec = func(r ExecRequest, stdio [3]*os.File) (ExecStarted, *os.File, error) {
		c.asked = r
		// As a sentry does, it takes the files before the call returns.
		in, err := unix.Dup(int(stdio[0].Fd()))
		out, err2 := unix.Dup(int(stdio[1].Fd()))
		if err := errors.Join(err, err2); err != nil {
			return ExecStarted{}, nil, err
		}
		go func() {
			r, w := os.NewFile(uintptr(in), "in"), os.NewFile(uintptr(out), "out")
			_, err := io.Copy(w, r)
			c.copied <- errors.Join(err, r.Close(), w.Close())
		}()
		return ExecStarted{ContainerID: "web.app.1", PID: 7}, exit, nil
	}
	return c
}

// pair is a pipe that the test cleans up.
func pair(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestExec(t *testing.T) {
	cmd := newCommand(t)
	c, _ := serve(t, cmd.f)
	inR, inW := pair(t)
	outR, outW := pair(t)
	req := ExecRequest{Command: []string{"cat"}, Env: []string{"A=b"}, WorkingDir: "/x", User: &ExecUser{UID: 1, GID: 2}}
	s, err := c.Exec(t.Context(), "web", "", req, []*os.File{inR, outW, outW})
	if err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	if want := (ExecStarted{"web.app.1", 7}); s.ExecStarted != want || !reflect.DeepEqual(cmd.asked, req) {
		t.Errorf("started %+v of %+v", s.ExecStarted, cmd.asked)
	}
	_, _ = io.WriteString(inW, "there and back")
	inW.Close()
	// The daemon keeps nothing of what it passed on: else this would not end.
	if b, err := io.ReadAll(outR); err != nil || string(b) != "there and back" {
		t.Errorf("%q came back, %v", b, err)
	}
	if err := <-cmd.copied; err != nil {
		t.Error(err)
	}
	_, _ = io.WriteString(cmd.end, `{"success":true,"err":"","result":1792}`)
	if status, err := s.Wait(); err != nil || status.ExitStatus() != 7 {
		t.Errorf("it ended with %v, %v", status, err)
	}
	s.Close()
	select {
	case k := <-cmd.f.kills:
		t.Errorf("a command that was waited for was signalled: %+v", k)
	case <-time.After(50 * time.Millisecond): // nothing comes
	}
}

// Whoever hangs up has the command get SIGHUP, and the daemon's end is not
// that.
func TestExecHangUp(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		cmd := newCommand(t)
		c, stop := serve(t, cmd.f)
		inR, _ := pair(t)
		_, outW := pair(t)
		stdio := []*os.File{inR, outW, outW}
		if terminal {
			stdio = stdio[:1]
		}
		s, err := c.Exec(t.Context(), "web", "app", ExecRequest{Command: []string{"x"}, Terminal: terminal}, stdio)
		if err != nil {
			t.Fatal(err)
		}
		s.conn.Close()
		want := KillRequest{Signal: "SIGHUP", PID: 7, ContainerID: "web.app.1", Foreground: terminal}
		if got := <-cmd.f.kills; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		s.exit.Close()
		inR.Close()
		stop()
	}

	cmd := newCommand(t)
	c, stop := serve(t, cmd.f)
	inR, inW := pair(t)
	_, outW := pair(t)
	s, err := c.Exec(t.Context(), "web", "app", ExecRequest{Command: []string{"x"}}, []*os.File{inR, outW, outW})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if len(cmd.f.kills) > 0 {
		t.Errorf("the daemon's end signalled a command")
	}
	_, _ = io.WriteString(cmd.end, `{"success":true,"result":9}`)
	if status, err := s.Wait(); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("without the daemon: %v, %v", status, err)
	}
	s.Close()
	inW.Close()
}

func TestExecRefused(t *testing.T) {
	conflict := &Error{Code: 409, Message: "it does not run"}
	cmd := newCommand(t)
	cmd.f.exec = func(ExecRequest, [3]*os.File) (ExecStarted, *os.File, error) { return ExecStarted{}, nil, conflict }
	c, _ := serve(t, cmd.f)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	three := []*os.File{null, null, null}
	for _, x := range []struct {
		sandbox string
		req     ExecRequest
		stdio   []*os.File
		want    error
	}{
		{"web", ExecRequest{Command: []string{"x"}}, three, conflict},
		{"none", ExecRequest{Command: []string{"x"}}, three, ErrNotFound},
		{"web", ExecRequest{}, three, ErrInvalid},
		{"web", ExecRequest{Command: []string{"x"}}, three[:1], ErrInvalid},
		{"web", ExecRequest{Command: []string{"x"}, Terminal: true}, three, ErrInvalid},
	} {
		_, err := c.Exec(t.Context(), x.sandbox, "", x.req, x.stdio)
		var e *Error
		if !errors.Is(err, x.want) && !(errors.As(err, &e) && *e == *conflict && x.want == conflict) {
			t.Errorf("%+v of %s: %v, want %v", x.req, x.sandbox, err, x.want)
		}
	}
	if code, body := request(t, cmd.f, "POST", "/v1/sandboxes/web/exec", `{"command":["x"]}`); code != 426 || !strings.Contains(body, ExecProtocol) {
		t.Errorf("without an upgrade: %d %s", code, body)
	}
}

// A sandbox that ends takes the command with it, and nobody waits for ever.
func TestExecEnds(t *testing.T) {
	for said, want := range map[string]string{
		"":                                     ErrSandboxEnded.Error(),
		`{"success":tr`:                        ErrSandboxEnded.Error(),
		`{"success":false,"err":"who knows"}`:  "who knows",
		`{"success":true,"result":127}`:        "nothing ends with the wait status 0x7f",
		`{"success":true,"result":4294967295}`: "nothing ends with the wait status 0xffffffff",
		`{"success":false,"err":"` + strings.Repeat("x", 60<<10): ErrSandboxEnded.Error(),
		strings.Repeat(" ", exitMax) + `{"success":true}`:        "how it ended is said in more than 65536 bytes",
	} {
		r, w := pair(t)
		go func() {
			_, _ = io.Copy(w, strings.NewReader(said))
			w.Close()
		}()
		if _, err := (&Session{exit: r}).Wait(); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", said, err, want)
		}
	}
}

func TestKill(t *testing.T) {
	f := &fake{sandboxes: []Sandbox{box("web", "app")}, kills: make(chan KillRequest, 1)}
	c, _ := serve(t, f)
	want := KillRequest{Signal: "TERM", All: true}
	if err := c.Kill(context.Background(), "web", "", want); err != nil {
		t.Fatal(err)
	}
	if got := <-f.kills; got != want {
		t.Errorf("%+v", got)
	}
	if err := c.Kill(context.Background(), "none", "", want); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
