package gvisor

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"gvisor.dev/gvisor/runsc/boot"
)

// A question for memory names the containers and brings a file for the answer.
// A sentry that takes it and writes nothing has not answered, and one that does
// not know the question says so; neither holds up the caller.
func TestMemoryQuestion(t *testing.T) {
	requests := make(chan map[string]any, 10)
	socket := server(t, func(request map[string]any, fds int, w io.Writer) {
		if fds != 1 {
			t.Errorf("it came with %d descriptors", fds)
		}
		requests <- request
		io.WriteString(w, `{"success": true}`)
	})
	_, err := Sentry{Socket: socket, Timeout: patience}.Memory(context.Background(), []string{"s.app.1"})
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("nothing was written: %v", err)
	}
	request := <-requests
	arg, _ := request["arg"].(map[string]any)
	config, _ := arg["Config"].(map[string]any)
	sinks, _ := config["sinks"].([]any)
	if request["method"] != boot.ContMgrCreateTraceSession || arg["Force"] != true || len(sinks) != 1 {
		t.Errorf("it asked %v", request)
	}
	old := say(t, `{"success": false, "err": "sink \"sandboxer-memory\" not found"}`)
	if _, err := (Sentry{Socket: old, Timeout: patience}).Memory(context.Background(), nil); !errors.Is(err, ErrNotThere) || errors.Is(err, ErrNoAnswer) {
		t.Errorf("a sentry that can't tell: %v", err)
	}
	release := make(chan struct{})
	silent := server(t, func(map[string]any, int, io.Writer) { <-release })
	t.Cleanup(func() { close(release) }) // before the server's, which waits
	if _, err := (Sentry{Socket: silent, Timeout: 10 * time.Millisecond}).Memory(context.Background(), nil); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a sentry that is silent: %v", err)
	}
}
