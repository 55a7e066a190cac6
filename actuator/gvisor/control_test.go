package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/specutils"
)

func itoa(n int) string { return strconv.Itoa(n) }

func say(t *testing.T, text string) string {
	t.Helper()
	return server(t, func(_ map[string]any, _ int, w io.Writer) { io.WriteString(w, text) })
}

// What a sentry says has a meaning that callers can act upon.
func TestErrorsByMeaning(t *testing.T) {
	failed := func(text string) string {
		b, err := json.Marshal(map[string]any{"success": false, "err": text})
		check(t, err)
		return string(b)
	}
	for _, c := range []struct {
		said string
		want error
	}{
		{failed(`container "s.app.1" not found`), ErrUnknownContainer},
		{failed(`container "s.app.1" not started`), ErrNoProcess},
		{failed(`signaling process in container "s.app.1" PID 0: no such process with PID 0`), ErrNoProcess},
		{failed("no such process"), ErrNoProcess},
		{"", ErrNoAnswer}, // it died
		{"{", ErrNoAnswer},
		{"nonsense", ErrNoAnswer},
	} {
		err := Sentry{Socket: say(t, c.said), Timeout: patience}.Signal(context.Background(), "s.app.1", unix.SIGTERM, false)
		if !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.said, err, c.want)
		}
	}
	err := Sentry{Socket: say(t, failed("all is lost")), Timeout: patience}.Pause(context.Background())
	if err == nil || err.Error() != "all is lost" {
		t.Errorf("%v, want the sentry's words", err)
	}
	for _, id := range []string{ErrUnknownContainer.Error(), "x"} {
		if err := (Sentry{Socket: say(t, failed(`container "`+id+`" not found`)), Timeout: patience}).Destroy(context.Background(), id); err != nil {
			t.Errorf("destroying what is not known: %v", err)
		}
	}
	if err := (Sentry{Socket: "/no/such/socket", Timeout: patience}).Pause(context.Background()); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody listens: %v", err)
	}
}

// Every call ends when its time is over, and says that; so does one whose
// caller has lost interest, the wait without a time-out too.
func TestDeadlines(t *testing.T) {
	release := make(chan struct{})
	socket := server(t, func(map[string]any, int, io.Writer) { <-release })
	t.Cleanup(func() { close(release) }) // before the server's, which waits
	silent := Sentry{Socket: socket, Timeout: 10 * time.Millisecond}
	if err := silent.Pause(context.Background()); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a sentry that is silent: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := silent.Wait(ctx, "s"); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is given up: %v", err)
	}
}

// Wait outlasts the time-out of other calls.
func TestWaitHasNoDeadline(t *testing.T) {
	const timeout = 20 * time.Millisecond
	socket := server(t, func(_ map[string]any, _ int, w io.Writer) {
		<-time.After(3 * timeout)
		io.WriteString(w, `{"success": true, "result": 768}`)
	})
	status, err := Sentry{Socket: socket, Timeout: timeout}.Wait(context.Background(), "s")
	if err != nil || status.ExitStatus() != 3 {
		t.Errorf("status %v, %v", status, err)
	}
}

// A sentry runs what nobody trusts: it can neither fill the daemon's memory
// nor its records.
func TestEndlessAnswer(t *testing.T) {
	socket := server(t, func(_ map[string]any, _ int, w io.Writer) {
		io.WriteString(w, `{"success": false, "err": "`)
		for i := 0; i < 1000; i++ { // far over the bound
			if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
				return // it was hung up on
			}
		}
		t.Error("all of an endless answer was taken")
	})
	if err := (Sentry{Socket: socket, Timeout: patience}).Pause(context.Background()); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	long := strings.Repeat("ä", answerMax/4)
	err := Sentry{Socket: say(t, `{"success": false, "err": "`+long+`"}`), Timeout: patience}.Pause(context.Background())
	if err == nil || len(err.Error()) > 2*errorMax {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// A start hands over the specification, and the descriptors in the order that
// the sentry takes them in.
func TestStartContainer(t *testing.T) {
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	type call struct {
		request map[string]any
		fds     int
	}
	calls := make(chan call, 2)
	socket := server(t, func(request map[string]any, fds int, w io.Writer) {
		calls <- call{request, fds}
		io.WriteString(w, `{"success": true}`)
	})
	args := Start{
		ID: "s.app.1", Spec: &specs.Spec{Hostname: strings.Repeat("h", 300<<10), Process: &specs.Process{}}, // more than a socket's buffer
		Stdio: [3]*os.File{null, null, null}, Filestores: []*os.File{null}, Gofer: []*os.File{null, null},
		Mounts: []specutils.GoferMountConf{{Lower: specutils.Lisafs, Upper: specutils.AnonOverlay}, {Lower: specutils.Lisafs, Upper: specutils.NoOverlay}},
	}
	check(t, Sentry{Socket: socket, Timeout: patience}.StartContainer(context.Background(), args))
	if c := <-calls; c.request["method"] != boot.ContMgrCreateSubcontainer || c.fds != 0 {
		t.Errorf("first call %v with %d descriptors", c.request["method"], c.fds)
	}
	c := <-calls
	arg, _ := c.request["arg"].(map[string]any)
	if c.request["method"] != boot.ContMgrStartSubcontainer || c.fds != 6 || arg["CID"] != "s.app.1" || arg["NumGoferFilestoreFDs"] != 1.0 {
		t.Errorf("second call %v with %d descriptors, %v", c.request["method"], c.fds, arg["CID"])
	}
	// A terminal is one descriptor, and comes with the first call.
	args.Spec.Process.Terminal = true
	check(t, Sentry{Socket: socket, Timeout: patience}.StartContainer(context.Background(), args))
	if first, second := <-calls, <-calls; first.fds != 1 || second.fds != 3 {
		t.Errorf("with a terminal the calls have %d and %d descriptors", first.fds, second.fds)
	}
}

// What a sentry says of a failed checkpoint is told without its insides.
func TestCheckpointFails(t *testing.T) {
	for said, want := range map[string]string{
		"error serializing object &wire.Map{Keys:[]wire.Object{(*wire.String)(0x1)}: no space left on device:\ngoroutine 74 [running]:\nx": "no space left on device",
		"gofer.dentry(\"/a\").prepareSaveDead: only deleted dentries: got pipe":                                                            "gofer.dentry(\"/a\").prepareSaveDead: only deleted dentries: got pipe",
	} {
		answer, err := json.Marshal(map[string]any{"success": false, "err": said})
		check(t, err)
		err = Sentry{Socket: say(t, string(answer)), Timeout: patience}.Checkpoint(context.Background(), t.TempDir())
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A checkpoint outlasts the time-out of other calls, gets three files, which
// nobody else may read, and leaves the sandbox to itself.
func TestCheckpointCall(t *testing.T) {
	const timeout = 20 * time.Millisecond
	dir := t.TempDir()
	socket := server(t, func(request map[string]any, fds int, w io.Writer) {
		arg, _ := request["arg"].(map[string]any)
		if request["method"] != boot.ContMgrCheckpoint || fds != 3 || arg["Resume"] != true || arg["have_pages_file"] != true {
			t.Errorf("asked for %v with %d files", request, fds)
		}
		<-time.After(3 * timeout)
		io.WriteString(w, `{"success": true}`)
	})
	check(t, Sentry{Socket: socket, Timeout: timeout}.Checkpoint(context.Background(), dir))
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files", len(entries))
	}
}

// Restored waits until the sandbox takes containers, and tells what went wrong.
func TestRestored(t *testing.T) {
	ok, failed := `{"success": true}`, func(text string) string { return `{"success": false, "err": "` + text + `"}` }
	for _, c := range []struct {
		answers []string
		want    string
	}{
		{[]string{failed("sandbox is not being restored, cannot wait for restore: state=started")}, ""},
		{[]string{ok}, ""},
		{[]string{failed("failed to load kernel: x")}, "failed to load kernel: x"},
	} {
		var asked atomic.Int32
		socket := server(t, func(request map[string]any, _ int, w io.Writer) {
			io.WriteString(w, c.answers[asked.Add(1)-1])
		})
		err := Sentry{Socket: socket, Timeout: patience}.Restored(context.Background())
		n := int(asked.Load())
		if n != len(c.answers) || c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%v: %v after %d answers", c.answers, err, n)
		}
	}
}

// Executed names what exec started, not what the container did.
func TestExecuted(t *testing.T) {
	socket := say(t, `{"success": true, "result": [{"pid": 2, "ppid": 0, "cmd": "app"}, {"pid": 9, "ppid": 2, "cmd": "child"},
		{"pid": 16, "ppid": 0, "cmd": "sh"}, {"pid": 17, "ppid": 16, "cmd": "ls"}, {"pid": 20, "ppid": 0, "cmd": "top"}]}`)
	got, err := Sentry{Socket: socket, Timeout: patience}.Executed(context.Background(), "s.app.1")
	if err != nil || strings.Join(got, " ") != "sh top" {
		t.Errorf("%q, %v", got, err)
	}
}
