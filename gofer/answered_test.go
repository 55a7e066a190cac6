package gofer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/unet"

	"sandboxer/gofer/serve"
	"sandboxer/observed"
)

// asEnv has the test program be something else.
const asEnv = "SANDBOXER_GOFER_TEST_AS"

// beSentry is a process that asks on descriptor 3 as a sentry would, whenever
// it is told to, and says what it does. Told "late" it takes its time between
// asking and waiting.
func beSentry() int {
	if err := unix.SetNonblock(3, true); err != nil {
		return 1
	}
	socket, err := unet.NewSocket(3)
	if err != nil {
		return 1
	}
	for told := bufio.NewScanner(os.Stdin); told.Scan(); {
		if _, err := socket.Write(make([]byte, 8)); err != nil {
			return 1
		}
		fmt.Println("asked")
		for since := time.Now(); told.Text() == "late" && time.Since(since) < 300*time.Millisecond; {
		}
		answer := make([]byte, 8)
		if n, err := socket.Read(answer); n != len(answer) || err != nil {
			return 1
		}
		fmt.Println("has the answer")
	}
	return 0
}

// sentry is such a process, and the gofer's end of its socket.
type sentry struct {
	t       *testing.T
	process observed.Process
	kept    *os.File
	end     uint64
	stdin   io.Writer
	stdout  *bufio.Reader
}

func startSentry(t *testing.T) *sentry {
	t.Helper()
	end, kept, err := serve.SocketPair()
	check(t, err)
	s := &sentry{t: t, kept: kept}
	s.end, err = EndOf(end)
	check(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asEnv+"=sentry")
	cmd.ExtraFiles = []*os.File{end}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	end.Close()
	s.stdin, s.stdout = stdin, bufio.NewReader(stdout)
	s.process, err = observed.Identify(cmd.Process.Pid)
	check(t, err)
	t.Cleanup(func() {
		kept.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	return s
}

func (s *sentry) says(want string) {
	s.t.Helper()
	if line, err := s.stdout.ReadString('\n'); strings.TrimSpace(line) != want {
		s.t.Fatalf("the sentry says %q, %v, want %q", line, err, want)
	}
}

func (s *sentry) ask(how string) {
	s.t.Helper()
	_, err := fmt.Fprintln(s.stdin, how)
	check(s.t, err)
	s.says("asked")
}

func (s *sentry) answer() {
	s.t.Helper()
	_, err := s.kept.Write(make([]byte, 8))
	check(s.t, err)
}

func (s *sentry) is(what string, want bool) {
	s.t.Helper()
	if got, err := answered(context.Background(), s.kept, s.end, s.process); got != want || err != nil {
		s.t.Errorf("%s: answered %v, %v, want %v", what, got, err, want)
	}
}

// Whether a sentry has the answer to what waits in its socket shows from
// outside.
func TestAnswered(t *testing.T) {
	s := startSentry(t)
	s.is("nothing asked", false)
	s.ask("now")
	s.is("waits", false)
	s.answer()
	s.says("has the answer")
	since := time.Now()
	s.is("has it", true)
	if d := time.Since(since); d > busyTime {
		t.Errorf("it took %v to see that nothing runs", d)
	}
	s.ask("now")
	s.is("asked for more", false)
	s.answer()
	s.says("has the answer")
	_, err := io.ReadFull(s.kept, make([]byte, 16))
	check(t, err)
	s.is("all taken out", false)
	s.ask("late")
	s.is("on its way to wait", false)
}

// No conclusion is drawn from a sentry that was stopped.
func TestAnsweredByStopped(t *testing.T) {
	for _, c := range []struct {
		name, want string
		answer     bool
	}{{"on its way", "does not get on", false}, {"answer unread", "does not read", true}} {
		s := startSentry(t)
		s.ask("late")
		check(t, s.process.Signal(unix.SIGSTOP))
		for {
			if stopped, err := s.process.Stopped(); err != nil || stopped {
				check(t, err)
				break
			}
		}
		if c.answer {
			s.answer()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		got, err := answered(ctx, s.kept, s.end, s.process)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: answered %v, %v, want %q", c.name, got, err, c.want)
		}
		check(t, s.process.Signal(unix.SIGCONT))
		if c.answer {
			s.says("has the answer")
			s.is(c.name+", then read", true)
		} else {
			s.is(c.name+", then waits", false)
		}
	}
}

// Nor from one that is gone.
func TestAnsweredByNobody(t *testing.T) {
	s := startSentry(t)
	s.ask("now")
	check(t, s.process.Signal(unix.SIGKILL))
	check(t, s.process.Await(context.Background()))
	if _, err := answered(context.Background(), s.kept, s.end, s.process); !errors.Is(err, observed.ErrGone) {
		t.Errorf("%v", err)
	}
}

// What /proc says about threads that don't poll.
func TestDoes(t *testing.T) {
	for call, want := range map[string]activity{
		"running\n":            running,
		"-1 0x7ffd00 0x4000\n": stopped,
		fmt.Sprintf("%d 0x3 0xc000 0x4040 0x0 0x0 0x0 0x7ffd 0x40\n", unix.SYS_SENDMSG): stopped,
		fmt.Sprintf("%d 0x3 0xc000 0x4040 0x0 0x0 0x0 0x7ffd 0x40\n", unix.SYS_RECVMSG): stopped,
		fmt.Sprintf("%d 0x3 0xc000 0x4040 0x0 0x0 0x0 0x7ffd 0x40\n", unix.SYS_FUTEX):   idle,
		fmt.Sprintf("%d 0x0 0x2 0x0 0x0 0x0 0x0 0x7ffd 0x40\n", unix.SYS_PPOLL):         idle, // nothing to read at 0
	} {
		if got := does(os.Getpid(), call, []int32{3}); got != want {
			t.Errorf("%q: %v, want %v", call, got, want)
		}
	}
}

// A gofer works when one of its threads runs, or does anything in the kernel but
// wait to be asked.
func TestWorks(t *testing.T) {
	for call, want := range map[string]bool{
		"running\n":  true,
		"-1 0x0 0x0": true, // it waits for memory
		"":           true,
		fmt.Sprintf("%d 0x3 0x1", unix.SYS_OPENAT):      true,
		fmt.Sprintf("%d 0x1 0x1", unix.SYS_PPOLL):       false,
		fmt.Sprintf("%d 0x4 0x1", unix.SYS_EPOLL_PWAIT): false,
		fmt.Sprintf("%d 0x5 0x80", unix.SYS_FUTEX):      false,
	} {
		if got := works(call); got != want {
			t.Errorf("%q: %v", call, got)
		}
	}
}
