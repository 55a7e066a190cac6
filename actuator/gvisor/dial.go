package gvisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/internal/sentry"
)

// ErrNoConnection says that the sentry answers and nobody in the sandbox has
// taken the connection.
var ErrNoConnection = errors.New("no connection")

// A connection lasts dialTime at most where ctx has no deadline. The sentry
// gives one up dialMargin after its time, when nobody here has.
const (
	dialTime   = time.Minute
	dialMargin = time.Second
)

// Dial connects to a TCP port of a sandbox with a network stack of its own, on
// its loopback interface. The connection lasts no longer than ctx.
func (s Sentry) Dial(ctx context.Context, port int) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "connection"), os.NewFile(uintptr(pair[1]), "connection")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialTime)
	}
	config := map[string]any{"port": port, "milliseconds": (time.Until(deadline) + dialMargin).Milliseconds()}
	if err := s.sink(ctx, sentry.DialSink, config, theirs); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting to port %d: %w", port, err)
	}
	theirs.Close() // else nobody would see that the sentry has closed its own
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	line, err := readLine(conn)
	switch {
	case err != nil:
		err = fmt.Errorf("%w to port %d: %w", ErrNoConnection, port, errors.Join(context.Cause(ctx), err))
	case line != "":
		err = fmt.Errorf("%w to port %d: %s", ErrNoConnection, port, line)
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// readLine reads byte by byte: what follows the line is another's to read.
func readLine(conn net.Conn) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < errorMax; {
		if _, err := conn.Read(b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			break
		}
		line.WriteByte(b[0])
	}
	return strings.ToValidUTF8(line.String(), ""), nil
}
