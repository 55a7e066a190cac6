package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asked is what a sentry is asked.
type asked struct {
	method string // without what it is a method of
	files  []*os.File
	conn   *net.UnixConn
}

// takeOver has one answer in the place of a sandbox's sentry, which goes on.
func (w *world) takeOver(name string, said func(asked) string) {
	w.t.Helper()
	dir, err := os.Open(filepath.Join(w.state, "sandboxes", name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer dir.Close()
	socket := "runsc-" + name + ".sock"
	if err := os.Remove(filepath.Join(dir.Name(), socket)); err != nil {
		w.t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socket)})
	if err != nil {
		w.t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // it is the sandbox's
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go answer(conn, said)
			}
		}
	}()
}

// answer reads a question, answers it, and hangs on until nobody wants to know any
// more, unless that was an answer.
func answer(conn *net.UnixConn, said func(asked) string) {
	defer conn.Close()
	q := asked{conn: conn}
	defer func() {
		for _, f := range q.files {
			f.Close()
		}
	}()
	var request struct{ Method string }
	var text []byte
	buf, oob := make([]byte, 32<<10), make([]byte, 4096)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		text = append(text, buf[:n]...)
		messages, _ := syscall.ParseSocketControlMessage(oob[:oobn])
		for _, m := range messages {
			fds, _ := syscall.ParseUnixRights(&m)
			for _, fd := range fds {
				_ = syscall.SetNonblock(fd, true)
				q.files = append(q.files, os.NewFile(uintptr(fd), "given"))
			}
		}
		if json.Unmarshal(text, &request) == nil {
			break
		}
	}
	_, q.method, _ = strings.Cut(request.Method, ".")
	says := said(q)
	if _, err := conn.Write([]byte(says)); err == nil && !json.Valid([]byte(says)) {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// yes is an answer.
func yes(result string) string { return `{"success": true, "result": ` + result + `}` }

// no is one, with what commands terminals and forges lines.
var no = string(must(json.Marshal(map[string]any{"success": false, "err": hostile})))

const hostile = "\x1b]0;mine\a\x1b[2J\r\nlevel=INFO msg=\"all is well\"\u202e\u009b2J\x00"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// flood writes until nobody reads any more, or so much.
func flood(to interface{ Write([]byte) (int, error) }) {
	chunk := []byte(strings.Repeat("a\x1b[2J", 10<<10))
	for range 4000 { // 200 MB
		if _, err := to.Write(chunk); err != nil {
			return
		}
	}
}

// A sentry that was taken over answers whatever it likes, and the daemon and its
// clients go on: each question has its end, nothing that is printed commands a
// terminal, no process of the host's is taken for one of the sandbox's, and no other
// sandbox is the worse for it.
func TestSentryTakenOver(t *testing.T) {
	if resyncOnly {
		t.Skip("a lie is the same whatever it is asked by, and 15 that flood take the processors from all other tests")
	}
	w := start(t)
	canary := exec.Command("sleep", "3600")
	if err := canary.Start(); err != nil {
		t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() { died <- canary.Wait() }()
	t.Cleanup(func() { _ = canary.Process.Kill() })
	pid := strconv.Itoa(canary.Process.Pid)

	// What a lie says but to who waits for the container's end, who is left to wait
	// unless the lie is about that.
	steady := func(say func(asked) string) func(asked) string {
		return func(q asked) string {
			if q.method == "Wait" {
				return ""
			}
			return say(q)
		}
	}
	// Processes that start each other, and what they are called.
	cycle := `[{"pid":` + pid + `,"ppid":2,"cmd":` + string(must(json.Marshal(hostile))) + `,"threads":[1]},{"pid":2,"ppid":` + pid + `},{"pid":-7,"ppid":-7},{"pid":1,"ppid":1}]`
	believable := func(q asked) string {
		switch q.method {
		case "Processes":
			return yes(cycle)
		case "ExecuteAsync":
			return yes(pid)
		case "WaitPID":
			return yes("127") // stopped: no end
		case "Event":
			return yes(`{"event": {"data": {"pids": {"current": 18446744073709551615}}}, "containerUsage": {"other.app.1": 18446744073709551615}}`)
		case "Cat":
			fmt.Fprintf(q.files[0], "%s (%s) S 0 0 0 0 0 0 0 0 0 0 1 2 0 0 0 0 1 0 3 0 5 6\n%s\x00%s\x00", pid, "\x1b[2J", hostile, hostile)
		case "CreateTraceSession":
			for _, f := range q.files {
				fmt.Fprint(f, `{"other.app.1": -1, "app": {"bytes": 18446744073709551615}, "x": NaN}`)
			}
		}
		return yes("null")
	}
	lies := map[string]func(asked) string{
		"silence": steady(func(asked) string { return "" }),
		"closing": steady(func(q asked) string { q.conn.Close(); return "" }),
		"half":    steady(func(asked) string { return `{"success": tr` }),
		"endless": steady(func(q asked) string { fmt.Fprint(q.conn, `{"success": true, "result": "`); flood(q.conn); return "" }),
		"pouring": steady(func(q asked) string {
			for _, f := range q.files {
				if info, err := f.Stat(); err == nil && info.Mode().Type() == os.ModeNamedPipe && q.method != "ExecuteAsync" { // what a command writes is its own
					flood(f)
				}
			}
			return yes("7")
		}),
		"slow": steady(func(q asked) string {
			for range 10_000 {
				if _, err := q.conn.Write([]byte(" ")); err != nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			return ""
		}),
		"no":         steady(func(asked) string { return no }),
		"yes":        steady(func(asked) string { return yes("null") }),
		"believable": steady(believable),
		"far": steady(func(q asked) string {
			if q.method == "ExecuteAsync" {
				return yes("-" + pid)
			}
			return yes("[" + strings.Repeat("{},", 300_000) + "{}]")
		}),
		"files": steady(func(q asked) string {
			stdin := syscall.UnixRights(make([]int, 200)...)
			for range 100 {
				if _, _, err := q.conn.WriteMsgUnix([]byte(" "), stdin, nil); err != nil {
					break
				}
			}
			return believable(q)
		}),
		"unknown":  func(asked) string { return `{"success": false, "err": "container \"other.app.1\" not found"}` },
		"no-end":   func(asked) string { return yes("4294967295") },
		"ends":     func(asked) string { return yes("9") },
		"ends-bad": func(asked) string { return yes("1e400") },
	}
	w.declare("other", app("print on then sleep"))
	other := w.running("other")
	for name := range lies {
		w.declare(name, "terminationGracePeriodSeconds: 1\n"+
			"containers:\n- "+box("app", "print said then sleep", "readinessProbe: {periodSeconds: 1, timeoutSeconds: 1, exec: {command: [/w, print, ready]}}"))
	}
	for name := range lies {
		w.running(name)
		w.said(name, "said")
	}
	for name, say := range lies {
		w.takeOver(name, say)
	}
	w.restart() // who waits for containers' ends asks anew
	daemon := w.daemon

	t.Run("lies", func(t *testing.T) {
		for name := range lies {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := w.in(t)
				for _, args := range [][]string{{"get", name}, {"get", name, "-o", "json"}, {"describe", name}, {"describe", name, "-o", "json"},
					{"ps", name}, {"ps", name, "-o", "json"}, {"stats", name}, {"stats", name, "-o", "json"}, {"exec", name, "--", "/w", "print", "x"},
					{"logs", name}, {"events", name}, {"kill", name, "--signal", "USR1"}, {"checkpoint", name, "--image-path", filepath.Join(w.dir, "image-"+name)},
					{"wait", name, "--for", "Stopped", "--timeout", "1s"}, {"events", name, "-o", "json"}} {
					r := w.run(args...)                   // which is bounded
					isJSON := args[len(args)-1] == "json" // which has what is not ASCII as it is
					said := []string{r.out, r.err}
					if args[0] == "logs" {
						said = said[1:] // a container's output is printed as it was written
					}
					for _, text := range said {
						if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) && !(isJSON && r >= 0x80) }); at >= 0 {
							t.Errorf("%v printed %q", args, text[max(0, at-40):min(len(text), at+40)])
						}
					}
				}
			})
		}
	})

	if w.daemon != daemon || !w.alive() {
		t.Fatalf("the daemon has ended")
	}
	if used := statusValue(t, daemon.cmd.Process.Pid, "VmHWM"); used > 200<<10 {
		t.Errorf("the daemon has used %d MiB", used>>10)
	}
	if now := w.running("other"); now.Status.SandboxPID != other.Status.SandboxPID || now.box("app").RestartCount != 0 {
		t.Errorf("another sandbox was replaced: %+v", now)
	}
	w.within(10*time.Second, "a command in another sandbox", func() {
		if out := w.ok("exec", "other", "--", "/w", "print", "x"); out != "x\n" {
			t.Errorf("it said %q", out)
		}
	})
	for name := range lies {
		w.undeclare(name)
	}
	for name := range lies {
		w.gone(name)
	}
	select {
	case err := <-died:
		t.Errorf("a process of the host's was ended: %v", err)
	default:
	}
}

// statusValue is a number in a process's status.
func statusValue(t *testing.T, pid int, name string) (n int) {
	t.Helper()
	_, after, _ := strings.Cut(statusFile(pid), name+":")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
