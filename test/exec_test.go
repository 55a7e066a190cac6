package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// session is a command of the client that runs while the test goes on.
type session struct {
	w     *world
	cmd   *exec.Cmd
	in    io.WriteCloser // nil where it has a terminal
	lines chan string    // what it writes to stdout
}

// session starts a command of the client, with pipes.
func (w *world) session(args ...string) *session {
	w.t.Helper()
	s := &session{w: w, cmd: w.program(args...)}
	s.cmd.Env = append(os.Environ(), "SANDBOXER_SOCKET="+w.socket)
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	// These are the test's, and not read by the command's Wait: they can be
	// read when the client has gone and what it ran has not.
	r, out, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	s.cmd.Stdout = out
	if s.cmd.Stderr, err = os.CreateTemp(w.dir, "stderr-"); err != nil {
		w.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	out.Close()
	s.read(r)
	w.t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait(); r.Close() })
	return s
}

// read has lines follow what comes.
func (s *session) read(r io.Reader) {
	s.lines = make(chan string, 10000)
	go func() {
		for sc := bufio.NewScanner(r); sc.Scan(); {
			s.lines <- strings.TrimSuffix(sc.Text(), "\r")
		}
		close(s.lines)
	}()
}

// expect reads to a line that is, or ends in, text. What a terminal echoes
// comes before it.
func (s *session) expect(text string) {
	s.w.t.Helper()
	var seen []string
	for timeout := time.After(patience); ; {
		select {
		case line, ok := <-s.lines:
			if seen = append(seen, line); strings.HasSuffix(line, text) && ok {
				return
			}
			if !ok {
				s.w.t.Fatalf("%v: %q did not come before the end, but %q\n%s", s.cmd.Args, text, seen, s.complaints())
			}
		case <-timeout:
			s.w.t.Fatalf("%v: %q did not come, but %q", s.cmd.Args, text, seen)
		}
	}
}

// complaints is what it wrote to stderr.
func (s *session) complaints() string {
	if s.in == nil {
		return "" // it is among the lines
	}
	b, _ := os.ReadFile(s.cmd.Stderr.(*os.File).Name())
	return string(b)
}

// ends waits for the client's end with a code.
func (s *session) ends(code int) {
	s.w.t.Helper()
	stop := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer stop.Stop()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.w.t.Errorf("%v ended with %d, not %d: %s", s.cmd.Args, got, code, s.complaints())
	}
}

func (s *session) signal(sig syscall.Signal) {
	s.w.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.w.t.Fatal(err)
	}
}

// heard makes sure that the client knows that the command runs. Its output does
// not show that: it does not come through the daemon.
func (s *session) heard() {
	s.w.t.Helper()
	s.signal(syscall.SIGUSR1)
	s.expect("got user defined signal 1")
}

// A command in a container has what the container has, unless told otherwise,
// and its exit code is the client's.
func TestExec(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep", "env: [{name: FROM, value: manifest}]",
		"securityContext: {runAsUser: 7, runAsGroup: 8}", "workingDir: /proc")+"\n- "+box("other", "sleep"))
	w.running("web")
	for _, c := range []struct {
		args string
		code int
		out  string
	}{
		{"web/app -- /w print hello world", 0, "hello world\n"},
		{"web -c app -- /w exit 7", 7, ""},
		{"web/app /w raise 9", 128 + 9, ""},
		{"web/app -- /w raise 15", 128 + 15, ""},
		{"web/app -- /w id then pwd", 0, "uid 7 gid 8 groups\npwd /proc\n"},
		{"web/other -- /w id then pwd", 0, "uid 0 gid 0 groups\npwd /\n"},
		{"web/app --user 1 --cwd /sys -- /w id then pwd", 0, "uid 1 gid 0 groups\npwd /sys\n"},
		{"web/app --user 1:2 -- /w id", 0, "uid 1 gid 2 groups\n"},
		{"web/app -- /w copy", 0, ""}, // without -i there is nothing to read
		{"web/app -i -- /w terminal", 0, "terminal: none\n"},
	} {
		if r := w.run(append([]string{"exec"}, strings.Fields(c.args)...)...); r.code != c.code || r.out != c.out {
			t.Errorf("exec %s: %+v", c.args, r)
		}
	}
	env := w.ok("exec", "web/app", "-e", "FROM=command", "--env", "MORE=a=b", "--", "/w", "env")
	for _, want := range []string{"env FROM=command\n", "env MORE=a=b\n", "env HOSTNAME=web\n", "env PATH="} {
		if !strings.Contains(env, want) {
			t.Errorf("%q is not in the environment:\n%s", want, env)
		}
	}
	if strings.Contains(env, "FROM=manifest") {
		t.Errorf("a variable is there twice:\n%s", env)
	}
	r := w.run("exec", "web/app", "--", "/w", "print", "out", "then", "complain", "err")
	if r.out != "out\n" || r.err != "err\n" {
		t.Errorf("two streams: %+v", r)
	}
	for args, want := range map[string]string{
		"web -- /w":      "several containers",
		"web/none -- /w": `no container "none"`,
		"nobody -- /w":   `no sandbox "nobody"`,
	} {
		if r := w.run(append([]string{"exec"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("exec %s: %+v", args, r)
		}
	}
	// As a shell ends, and with the command's own flags left to it.
	for args, want := range map[string]int{"web/app -- /nothing": 127, "web/app nothing": 127, "web/app -- /proc/self/status": 126, "web/app /w exit 7": 7} {
		if r := w.run(append([]string{"exec"}, strings.Fields(args)...)...); r.code != want {
			t.Errorf("exec %s: %+v, want %d", args, r, want)
		}
	}
	if r := w.run("exec", "web/app", "--env", "MORE=x", "/w", "print", "-d", "--tty"); r.out != "-d\n" && r.out != "-d --tty\n" {
		t.Errorf("flags of the command's own: %+v", r)
	}
	for _, args := range []string{"web", "web/app --user root -- /w", "web/app --env X -- /w", "web/app --cwd x -- /w"} {
		if r := w.run(append([]string{"exec"}, strings.Fields(args)...)...); r.code != 2 {
			t.Errorf("exec %s: %+v", args, r)
		}
	}
}

// Where no command can be run, the message says which state is in the way.
func TestExecInTheWrongState(t *testing.T) {
	w := start(t)
	w.declare("frozen", app("sleep", "state: Paused"))
	w.declare("ready", app("sleep", "state: Created"))
	w.declare("off", app("sleep", "state: Stopped"))
	w.declare("done", app("exit 3", "restartPolicy: Never"))
	w.wait("frozen", "paused", phase("Paused"))
	w.wait("ready", "created", phase("Created"))
	w.wait("off", "stopped", phase("Stopped"))
	w.wait("done", "over", phase("Failed"))
	for name, want := range map[string]string{
		"frozen": "is paused: declare it Running",
		"ready":  "is created",
		"off":    "is stopped",
		"done":   "is stopped (Error, exit code 3)",
	} {
		if r := w.run("exec", name, "--", "/w", "print", "x"); r.code != 1 || !strings.Contains(r.err, want) || r.out != "" {
			t.Errorf("in %s: %+v", name, r)
		}
	}
	// What is paused under a command goes on with it.
	w.declare("frozen", app("sleep"))
	w.running("frozen")
	s := w.session("exec", "-i", "frozen", "--", "/w", "copy")
	fmt.Fprintln(s.in, "one")
	s.expect("one")
	w.declare("frozen", app("sleep", "state: Paused"))
	w.wait("frozen", "paused", phase("Paused"))
	fmt.Fprintln(s.in, "two")
	s.in.Close()
	w.declare("frozen", app("sleep"))
	s.expect("two")
	s.ends(0)
}

// The command has the caller's files to itself: what the caller and others do
// with them before and after is as it would be with any program.
func TestExecFiles(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	file := filepath.Join(w.dir, "file")
	shell := func(script string) string {
		cmd := exec.Command("sh", "-c", strings.NewReplacer("EXEC", sandboxer+" exec", "FILE", file).Replace(script))
		if r := w.command(cmd); r.code != 0 || r.err != "" {
			t.Errorf("%s: %+v", script, r)
		} else {
			return r.out
		}
		return ""
	}
	// A regular file goes on where it stood.
	shell("{ echo a; EXEC web -- /w print b then complain c; echo d; } >FILE 2>&1")
	if got := shell("cat FILE"); got != "a\nb\nc\nd\n" {
		t.Errorf("the file holds %q", got)
	}
	if got := shell("{ read x; EXEC -i web -- /w copy; } <FILE"); got != "b\nc\nd\n" {
		t.Errorf("from the file came %q", got)
	}
	// A pipe's other users can go on to wait for it, and what the command does
	// not read is left.
	if got := shell("{ echo a; sleep 0.2; echo b; } | { EXEC -i web -- /w print x; cat; }"); got != "x\na\nb\n" {
		t.Errorf("from the pipe came %q", got)
	}
	if got := shell("EXEC web -- /w flood 20000 | { sleep 0.2; cat; } | tail -n 1"); got != "line 20000\n" {
		t.Errorf("the last line is %q", got)
	}
	// An application that knows nothing of non-blocking files gets none.
	for _, script := range []string{"echo | EXEC -i web -- /w waits", "EXEC -i web -- /w waits <FILE >FILE.out; cat FILE.out"} {
		if got := shell(script); got != "waits true true true\n" {
			t.Errorf("%s: %q", script, got)
		}
	}
	// What the command leaves behind holds up nobody.
	shell("EXEC web -- /w leave then print x >FILE 2>&1 && [ $(cat FILE) = x ]")
	// More than any pipe holds, both ways.
	if got := shell("head -c 3000000 /dev/zero | EXEC -i web -- /w copy | wc -c"); strings.TrimSpace(got) != "3000000" {
		t.Errorf("%s bytes came back", got)
	}
	shell("head -c 3000000 /dev/zero >FILE; EXEC -i web -- /w copy <FILE >FILE.copy; cmp FILE FILE.copy")
}

// Signals reach the command; so does the client's death.
func TestExecSignals(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	s := w.session("exec", "web", "--", "/w", "signals")
	s.expect("waiting")
	s.signal(syscall.SIGUSR1)
	s.expect("got user defined signal 1")
	s.signal(syscall.SIGINT)
	s.expect("got interrupt")
	s.signal(syscall.SIGTERM)
	s.expect("got terminated")
	s.signal(syscall.SIGKILL)
	s.expect("got hangup")
	s.ends(-1)

	s = w.session("exec", "web", "--", "/w", "print", "on", "then", "sleep")
	s.expect("on")
	s.signal(syscall.SIGTERM)
	s.expect("ended by terminated")
	s.ends(0)
	// What is typed for a command is no kill of the container, nor is it told as one.
	for _, word := range []string{"Asked", "Signalled", "Killed", "kill", "SIG"} {
		if out := w.ok("events", "web"); strings.Contains(out, word) {
			t.Errorf("the events tell of signals that were the command's:\n%s", out)
		}
	}

	// A command ends with its container, and says so.
	s = w.session("exec", "web", "--", "/w", "signals")
	s.expect("waiting")
	w.declare("web", app("print anew then sleep"))
	s.ends(128 + 9)
	// And with its sandbox.
	w.said("web", "anew")
	w.running("web")
	s = w.session("exec", "web", "--", "/w", "signals")
	s.expect("waiting")
	w.undeclare("web")
	s.ends(128 + 9)
}

// A command goes on while the daemon is restarted, and its exit code is known.
func TestExecOverARestart(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	kept := w.session("exec", "-i", "web", "--", "/w", "hear", "then", "copy", "then", "exit", "5")
	over := w.session("exec", "-i", "web", "--", "/w", "hear", "then", "copy", "then", "exit", "6")
	for _, s := range []*session{kept, over} {
		fmt.Fprintln(s.in, "before")
		s.expect("before")
		s.heard()
	}
	w.kill()
	fmt.Fprintln(kept.in, "without")
	kept.expect("without")
	over.in.Close()
	over.ends(6)
	w.start()
	w.running("web")
	fmt.Fprintln(kept.in, "after")
	kept.expect("after")
	kept.in.Close()
	kept.ends(5)
	// The new daemon passes signals on to what the old one had started.
	s := w.session("exec", "web", "--", "/w", "signals")
	s.expect("waiting")
	s.heard()
	w.restart()
	s.signal(syscall.SIGUSR2)
	s.expect("got user defined signal 2")
	w.stop() // ends nothing either
	w.start()
	s.signal(syscall.SIGUSR1)
	s.expect("got user defined signal 1")
}

// A hundred commands at once, each with its own output and code.
func TestExecMany(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			r := w.in(t).run("exec", "web", "--", "/w", "print", fmt.Sprint("this is ", i), "then", "exit", fmt.Sprint(i))
			if r.code != i || r.out != fmt.Sprintf("this is %d\n", i) {
				t.Errorf("command %d: %+v", i, r)
			}
		})
	}
	all.Wait()
}
