package gvisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/runsc/boot"
)

// A sentry that was taken over answers each call with whatever it likes: each ends
// in time, and what is taken of it could be.
func TestLies(t *testing.T) {
	result := func(text string) string { return `{"success": true, "result": ` + text + `}` }
	for name, answer := range map[string]string{
		"nothing": "", "half a frame": `{"success": tr`, "no object": "[]", "null": "null", "no result": `{"success": true}`,
		"of another type": result(`"text"`), "a list": result("[]"), "a list of nothing": result("[null,null]"), "deep": result(strings.Repeat("[", 20000)),
		"too many": result("[" + strings.Repeat("{},", 300_000) + "{}]"), "negative": result("-1"), "too large": result("18446744073709551616"),
		"no number": result("NaN"), "an exponent": result("1e400"), "a status of no end": result("127"), "a status out of range": result("4294967295"),
		"a signal that is none": result("100"), "a state that is none": result("77"), "of another": `{"success": true, "result": {"other.app.1": 5}}`,
		"both": `{"success": true, "err": "x", "result": 3}`, "twice": `{"success": false, "success": true, "result": 3}`,
		"a failure without words": `{"success": false}`,
		"usage":                   result(`{"event": {"data": {"pids": {"current": 18446744073709551615}}}, "containerUsage": {"s.app.1": 18446744073709551615}}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := Sentry{Socket: say(t, answer), Timeout: time.Second}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if status, err := s.Wait(ctx, "s.app.1"); err == nil && !status.Exited() && !status.Signaled() {
				t.Errorf("it ended with %#x", status)
			} else if err == nil && status.Signaled() && status.Signal() > 64 {
				t.Errorf("it ended by signal %d", status.Signal())
			}
			if list, err := s.Processes(ctx, "s.app.1"); err == nil && len(list) > 0 {
				t.Errorf("there are %d processes", len(list))
			}
			if used, err := s.Usage(ctx, []string{"s.app.1"}); err == nil {
				for id, u := range used {
					if id != "s.app.1" || u.CPU < 0 || u.Tasks < 0 || u.MemoryBytes < 0 {
						t.Errorf("%s uses %+v", id, u)
					}
				}
			}
			if memory, err := s.Memory(ctx, []string{"s.app.1"}); err == nil && len(memory) > 1 {
				t.Errorf("memory is %v", memory)
			}
			if status, err := s.WaitExec(ctx, "s.app.1", 7); err == nil && !status.Exited() && !status.Signaled() {
				t.Errorf("a command ended with %#x", status)
			}
			if pid, err := s.Exec(ctx, "s.app.1", &specs.Process{Args: []string{"x"}}, [3]*os.File{os.Stdin, os.Stdin, os.Stdin}); err == nil && pid <= 0 {
				t.Errorf("a command is process %d", pid)
			}
			_ = s.KillTree(ctx, "s.app.1", 7)
			_, _ = s.State(ctx, "s.app.1")
			_, _ = s.Executed(ctx, "s.app.1")
			_ = s.Pause(ctx)
			if ctx.Err() != nil {
				t.Error("a call did not end")
			}
		})
	}
}

// Processes that a sentry says have started each other, or themselves, are each one.
func TestTreeOf(t *testing.T) {
	list := []control.Process{{PID: 7, PPID: 9}, {PID: 8, PPID: 7}, {PID: 9, PPID: 8}, {PID: 9, PPID: 9}, {PID: 9, PPID: 7}, {PID: 10, PPID: 11}, {PID: 0, PPID: 0}}
	if got := treeOf(7, list); !slices.Equal(got, []int{7, 8, 9}) {
		t.Errorf("%v", got)
	}
}

// What was stopped to be killed is killed also where a stop gets no answer.
func TestKillTreeOfWhoDoesNotStop(t *testing.T) {
	killed := make(chan any, 10)
	socket := server(t, func(request map[string]any, _ int, w io.Writer) {
		arg, _ := request["arg"].(map[string]any)
		switch {
		case request["method"] == boot.ContMgrProcesses:
			fmt.Fprint(w, `{"success": true, "result": [{"pid": 7, "ppid": 0}, {"pid": 8, "ppid": 7}]}`)
			return
		case arg["Signo"] == float64(unix.SIGKILL):
			killed <- arg["PID"]
		case arg["PID"] == float64(8):
			_, _ = io.Copy(io.Discard, w.(io.Reader)) // until it is given up
			return
		}
		fmt.Fprint(w, `{"success": true}`)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	if err := (Sentry{Socket: socket}).KillTree(ctx, "s.app.1", 7); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("the stop that has no answer is not told of: %v", err)
	}
	close(killed)
	var got []any
	for pid := range killed {
		got = append(got, pid)
	}
	if !slices.Equal(got, []any{7.0, 8.0}) {
		t.Errorf("killed are %v", got)
	}
}

// What a sentry says in words commands no terminal and forges no line of a log.
func TestWordsAreWords(t *testing.T) {
	said, err := json.Marshal(map[string]any{"success": false, "err": "\x1b[2Jall is well\r\nlevel=INFO msg=\"all is well\"\u202e\x00\u009b"})
	check(t, err)
	got := Sentry{Socket: say(t, string(said)), Timeout: patience}.Pause(context.Background())
	if want := "?[2Jall is well  level=INFO msg=\"all is well\"???"; got == nil || got.Error() != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Descriptors that come with an answer go nowhere.
func TestDescriptorsAreNotTaken(t *testing.T) {
	before := descriptors(t)
	socket := server(t, func(_ map[string]any, _ int, w io.Writer) {
		conn := w.(*net.UnixConn)
		fds := make([]int, 200)
		for i := range fds {
			fds[i] = 0
		}
		rights := unix.UnixRights(fds...)
		for range 100 {
			if _, _, err := conn.WriteMsgUnix([]byte(" "), rights, nil); err != nil {
				return
			}
		}
		_, _, _ = conn.WriteMsgUnix([]byte(`{"success": true}`), rights, nil)
	})
	most := 0
	for range 10 {
		if err := (Sentry{Socket: socket, Timeout: patience}).Pause(context.Background()); err != nil {
			t.Fatal(err)
		}
		most = max(most, descriptors(t))
	}
	if most > before+20 {
		t.Errorf("%d descriptors are open, and %d were", most, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(list)
}

func TestUptime(t *testing.T) {
	for _, text := range []string{"", "NaN", "Inf", "-Inf", "-1", "1e300", "1e10", "0x", "1 2"} {
		if up, err := uptimeOf(text); err == nil {
			t.Errorf("%q is %s", text, up)
		}
	}
	if up, err := uptimeOf("12.5"); err != nil || up != 12500*time.Millisecond {
		t.Errorf("%s, %v", up, err)
	}
}

// Whatever a sentry answers, nothing that could not be is taken, and nobody panics.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"success":true,"result":256}`, `{"success":false,"err":"container \"x\" not found"}`,
		`{"success":true,"result":[{"pid":1,"ppid":0,"uid":0,"threads":[1],"cmd":"w"}]}`, `{"success":true,"result":[null]}`,
		`{"success":true,"result":{"event":{"type":"stats","data":{"pids":{"current":3}}},"containerUsage":{"a":1}}}`,
		"7 (a) b) S 0 0 0 0 0 0 0 0 0 0 1 2 0 0 0 0 1 0 3 0 5 6\nargs\x00", "12.5 3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var status uint32
		if err := receive(bytes.NewReader(data), &status); err == nil {
			if end, err := endOf(status); err == nil && !end.Exited() && (!end.Signaled() || end.Signal() > 64) {
				t.Errorf("%#x is an end", status)
			}
		}
		var list json.RawMessage
		if err := receive(bytes.NewReader(data), &list); err == nil {
			if found, err := processesOf(list); err == nil && len(found) > processesMax {
				t.Errorf("%d processes", len(found))
			}
		} else if text := err.Error(); !errors.Is(err, io.EOF) && strings.ContainsAny(text, "\x1b\n\r\x00") {
			t.Errorf("it says %q", text)
		}
		var out boot.EventOut
		if err := receive(bytes.NewReader(data), &out); err == nil {
			for id, n := range out.ContainerUsage {
				if atLeastNone(n) < 0 {
					t.Errorf("%s uses %d", id, n)
				}
			}
		}
		p := Process{PID: 7}
		if err := p.parse(data, time.Unix(1e9, 0)); err == nil && (p.CPU < 0 || p.RSS < 0 || p.StartedAt.Before(time.Unix(1e9, 0))) {
			t.Errorf("%+v", p)
		}
		if up, err := uptimeOf(string(data)); err == nil && up < 0 {
			t.Errorf("up for %s", up)
		}
		if w := words(string(data)); strings.ContainsAny(w, "\x1b\n\r\x00") {
			t.Errorf("%q", w)
		}
		_ = fmt.Sprint(remoteError(string(data)))
	})
}
