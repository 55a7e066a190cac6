package sentry

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
	"gvisor.dev/gvisor/pkg/sentry/socket/netstack"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// DialSink names what connects to a TCP port inside the sandbox, on its
// loopback interface: a sink, in gVisor's words, of a trace session that traces
// nothing. Its configuration holds the numbers "port" and "milliseconds", which
// is how long all may take. The socket that came along gets one line, empty or
// why there is no connection, and is then carried to the port and back.
//
// gVisor's own port forwarding knows no sandbox without a network. Where it
// does connect, it holds the lock of the whole sandbox until the application
// accepts, or for minutes where it does not.
const DialSink = "sandboxer-dial"

// dial is the sink's constructor.
func (m *meter) dial(config map[string]any, to *fd.FD) (seccheck.Sink, error) {
	if to == nil {
		return nil, errors.New("no socket to connect")
	}
	k := m.kernel.Load()
	if k == nil {
		return nil, errors.New("no task was ever made")
	}
	stack, ok := k.RootNetworkNamespace().Stack().(*netstack.Stack)
	if !ok {
		return nil, errors.New("the sandbox has no network stack of its own")
	}
	port, _ := config["port"].(float64)
	limit, _ := config["milliseconds"].(float64)
	address := tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: uint16(port)}
	go func() {
		defer to.Close()
		deadline := time.Now().Add(time.Duration(limit) * time.Millisecond)
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		conn, err := gonet.DialContextTCP(ctx, stack.Stack, address, ipv4.ProtocolNumber)
		if err != nil {
			_, _ = io.WriteString(to, err.Error()+"\n") // to somebody who may have gone
			return
		}
		_ = conn.SetDeadline(deadline) // fails on closed ones only
		carry(conn, to)
	}()
	return sink{}, nil
}

// carry ends when the other end of to is closed, or with the connection's
// deadline.
func carry(conn *gonet.TCPConn, to *fd.FD) {
	back := make(chan struct{})
	go func() {
		defer close(back)
		if _, err := io.WriteString(to, "\n"); err == nil {
			_, _ = io.Copy(to, conn)
		}
		_ = unix.Shutdown(to.FD(), unix.SHUT_WR) // it may be closed by now
	}()
	_, _ = io.Copy(conn, to)
	conn.Close()
	<-back
}
