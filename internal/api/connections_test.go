package api

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Connections that ask for nothing are bounded, by user: they take nothing from
// others, and who was in time is served.
func TestConnectionsAreBounded(t *testing.T) {
	s, err := New(Config{Backend: &fake{}, Access: []Grant{{1, Read}, {2, Read}}})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "sbxapi")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path, s.cfg.Access)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-ended }()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	fill := func(user, n int) {
		t.Helper()
		for range n {
			open = append(open, connectAs(t, user, path))
		}
		if one := connectAs(t, user, path); !refused(one) {
			t.Errorf("user %d has more than %d connections", user, n)
		}
	}
	serves := func(user int) {
		t.Helper()
		c := connectAs(t, user, path)
		defer c.Close()
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
			t.Error(err)
		}
		if b := make([]byte, 15); err == nil {
			if _, err := io.ReadFull(c, b); err != nil {
				t.Errorf("user %d gets no answer: %v", user, err)
			}
		}
	}
	fill(4711, maxConnectionsOther)
	serves(4712)
	serves(0)
	for user := 4713; user < 4716; user++ {
		fill(user, maxConnectionsOther)
	}
	if !refused(connectAs(t, 4717, path)) {
		t.Errorf("others have more than %d connections", maxConnectionsOthers)
	}
	serves(0)
	fill(0, maxConnections)
	for _, c := range open {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		c := connectAs(t, 4711, path)
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n") // it may have been closed
		_, err := io.ReadFull(c, make([]byte, 15))
		c.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what was closed gave no room: %v", err)
		}
	}
}

// refused says whether the server closes a connection that asks for nothing, long
// before it does so with all of those.
func refused(c net.Conn) bool {
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// connectAs connects as another user.
func connectAs(t *testing.T, user int, path string) net.Conn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(user int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	become(user)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	become(0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
