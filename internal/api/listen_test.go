package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "s.sock")
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode() != os.ModeSocket|SocketMode {
		t.Errorf("the socket: %v, %v", st.Mode(), err)
	}
	if _, err := Listen(path, nil); err == nil || !strings.Contains(err.Error(), "another daemon answers on "+path) {
		t.Errorf("a second daemon: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestListenReplacesWhatIsDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	for _, name := range []string{path, path + bindSuffix} { // killed, and killed while binding
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
	}
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A successor that took the path keeps it.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, nil); err == nil || !strings.Contains(err.Error(), "it is not a socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	if _, err := Listen("/"+strings.Repeat("x", 120), nil); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("with a long path: %v", err)
	}
	if _, err := Listen(filepath.Join(path, "s.sock"), nil); err == nil {
		t.Error("below a file: no error")
	}
}

func TestClientSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	other := filepath.Join(dir, "other.sock")
	o, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(o) }()
	defer func() { srv.Close(); <-ended }()
	for _, c := range []struct{ socket, want string }{
		{filepath.Join(dir, "none.sock"), `start one with "sandboxer daemon"`},
		{dead, "nobody answers on " + dead},
		{other, "is no sandboxer daemon: 404 Not Found"},
	} {
		cl := NewClient(c.socket)
		if _, err := cl.List(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.socket, err)
		}
		cl.Close()
	}
	cl := NewClient(dead)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cl.List(ctx); err != context.Canceled {
		t.Errorf("after cancel: %v", err)
	}
}

// Who can write the socket's folder has nothing else changed than the socket, whatever it
// puts there meanwhile, and is replaced if it listens there and is a stranger.
func TestListenAmongOthers(t *testing.T) {
	dir := t.TempDir()
	path, temp, victim := filepath.Join(dir, "s.sock"), filepath.Join(dir, "s.sock"+bindSuffix), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Rename(temp, temp+".away"); err != nil {
		t.Fatal(err)
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "other"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, target := range []string{victim, filepath.Join(dir, "other")} {
		for what, put := range map[string]func(string, string) error{"link": os.Symlink, "hard link": os.Link} {
			if err := put(target, temp); err != nil {
				t.Fatal(err)
			}
			if _, err := place(l, temp, path, []Grant{{GID: 7}}); err == nil {
				t.Errorf("a %s to %s was placed", what, target)
			}
			if err := os.Remove(temp); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st, err := os.Lstat(victim); err != nil || st.Mode() != 0o600 {
		t.Errorf("the other file: %v, %v", st.Mode(), err)
	}

	squatter, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	asked := 0
	if _, err := ListenOver(path, nil, func(pid int) bool { asked = pid; return false }); !errors.Is(err, ErrAnswers) || asked != os.Getpid() {
		t.Errorf("over who is none: %v, of process %d", err, asked)
	}
	mine, err := ListenOver(path, nil, func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if !Placed(mine) {
		t.Error("it is not where it was placed")
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if Placed(mine) {
		t.Error("it is not noticed that something else is there")
	}
}
