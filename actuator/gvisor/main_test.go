package gvisor

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/sentry"
)

// The test binary is also a sentry, and what gVisor makes a sentry in.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case sentry.Arg0:
		os.Exit(pretend())
	case referenceArg0:
		os.Exit(reference(os.Args[1] == "host"))
	}
	os.Exit(m.Run())
}

const patience = 30 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server listens like a sentry. Each connection is answered by answer, which
// is given the request and the number of descriptors that came along; the
// connection is closed after it.
func server(t *testing.T, answer func(request map[string]any, fds int, w io.Writer)) string {
	t.Helper()
	// Longer than a socket address may be, as a state directory may lead to.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 25))
	check(t, os.MkdirAll(dir, 0o700))
	open, err := os.Open(dir)
	check(t, err)
	defer open.Close()
	l, err := net.Listen("unix", "/proc/self/fd/"+itoa(int(open.Fd()))+"/s")
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(t, conn.(*net.UnixConn), answer)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return filepath.Join(dir, "s")
}

func serve(t *testing.T, conn *net.UnixConn, answer func(map[string]any, int, io.Writer)) {
	defer conn.Close()
	buf, oob := make([]byte, 1<<20), make([]byte, 1024)
	var request map[string]any
	fds, total := 0, 0
	for request == nil {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf[total:], oob)
		if err != nil || n == 0 {
			return
		}
		total += n
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Error(err)
		}
		for _, m := range messages {
			received, err := unix.ParseUnixRights(&m)
			if err != nil {
				t.Error(err)
			}
			for _, fd := range received {
				unix.Close(fd)
			}
			fds += len(received)
		}
		if err := json.Unmarshal(buf[:total], &request); err != nil {
			var partial *json.SyntaxError
			if !errors.As(err, &partial) {
				t.Error(err)
			}
			request = nil
		}
	}
	answer(request, fds, conn)
}
