package gvisor

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// A connection is asked for with one end of a pair of sockets. A sentry that
// does not know how says so, and one that takes the socket and is silent holds
// up nobody beyond the caller's time.
func TestDialQuestion(t *testing.T) {
	requests := make(chan map[string]any, 10)
	socket := server(t, func(request map[string]any, fds int, w io.Writer) {
		if fds != 1 {
			t.Errorf("it came with %d descriptors", fds)
		}
		requests <- request
		io.WriteString(w, `{"success": true}`)
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// The server closes what it is given.
	if _, err := (Sentry{Socket: socket, Timeout: patience}).Dial(ctx, 80); !errors.Is(err, ErrNoConnection) {
		t.Errorf("the socket is closed: %v", err)
	}
	arg, _ := (<-requests)["arg"].(map[string]any)
	config, _ := arg["Config"].(map[string]any)
	sinks, _ := config["sinks"].([]any)
	sink, _ := sinks[0].(map[string]any)
	asked, _ := sink["config"].(map[string]any)
	if ms, _ := asked["milliseconds"].(float64); asked["port"] != 80.0 || ms <= 0 || ms > float64((patience+dialMargin).Milliseconds()) {
		t.Errorf("it asked %v", asked)
	}
	old := say(t, `{"success": false, "err": "sink \"sandboxer-dial\" not found"}`)
	_, err := Sentry{Socket: old, Timeout: patience}.Dial(ctx, 80)
	if err == nil || errors.Is(err, ErrNoConnection) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a sentry that can't: %v", err)
	}
	release := make(chan struct{})
	silent := server(t, func(map[string]any, int, io.Writer) { <-release })
	t.Cleanup(func() { close(release) }) // before the server's, which waits
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := (Sentry{Socket: silent, Timeout: patience}).Dial(short, 80); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a sentry that is silent: %v", err)
	}
}
