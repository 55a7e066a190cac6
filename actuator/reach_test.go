package actuator

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/reconcile"
)

// The loopback interface of a sandbox without a network can be reached. A port
// on which nobody listens says so at once, and an application that is silent, or
// takes no more connections, holds up nobody else.
func TestDial(t *testing.T) {
	r := newRig(t)
	d := reconcile.Declare(sandbox("dial", app(t, "serve", "80", "then", "deaf", "81", "then", "print", "ready", "then", "sleep")))
	r.run(d)
	r.awaitOutput("dial", "app", "ready")
	sentry := gvisor.Sentry{Socket: r.record("dial").ControlSocket, Timeout: patience}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := sentry.Dial(ctx, 82); !errors.Is(err, gvisor.ErrNoConnection) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	for range 10 {
		conn, err := sentry.Dial(ctx, 80)
		check(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		check(t, err)
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 OK\r\n") {
			t.Fatalf("it answered %q, %v", b, err)
		}
		conn.Close()
	}
	var taken []net.Conn
	for len(taken) < 100 {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		conn, err := sentry.Dial(short, 81)
		if errors.Is(err, gvisor.ErrNoConnection) && errors.Is(err, context.DeadlineExceeded) {
			break
		}
		check(t, err)
		taken = append(taken, conn)
	}
	if len(taken) == 0 || len(taken) == 100 {
		t.Errorf("it took %d connections", len(taken))
	}
	if _, err := io.ReadAll(taken[0]); err == nil {
		t.Error("what is silent has answered")
	}
	for _, conn := range taken {
		conn.Close()
	}
	if err := sentry.Signal(ctx, "dial.app.1", 0, false); err != nil {
		t.Errorf("the sandbox: %v", err)
	}
}
