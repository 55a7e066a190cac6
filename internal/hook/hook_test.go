package hook

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

type plain struct{}

func (plain) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (plain) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

func script(t *testing.T, text string) Hook {
	t.Helper()
	return Hook{Path: "/bin/sh", Args: []string{"sh", "-c", text}, Dir: t.TempDir(), Timeout: time.Minute}
}

// It gets the state on stdin, what it declares and nothing else.
func TestWhatAHookGets(t *testing.T) {
	t.Setenv("LEAK", "1")
	// What this test was started with is nobody's business, as in the daemon.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	h := script(t, `cat; echo; pwd; echo "$0 $1"; env; ls /proc/self/fd | tr '\n' ' '; cut -d' ' -f6 /proc/self/stat >/dev/null; [ "$(cut -d' ' -f6 /proc/$$/stat)" = $$ ] && echo leads`)
	h.Args = append(h.Args, "zero", "one")
	h.Env = []string{"A=b"}
	out, err := Run(context.Background(), plain{}, h, []byte(`{"id":"x"}`))
	if err != nil {
		t.Fatal(err, out)
	}
	want := "{\"id\":\"x\"}\n" + h.Dir + "\nzero one\nA=b\nPWD=" + h.Dir + "\n0 1 2 3 leads\n" // 3: ls's own
	sorted := func(s string) string { return strings.ReplaceAll(s, "PWD="+h.Dir+"\nA=b\n", "A=b\nPWD="+h.Dir+"\n") }
	if sorted(out) != want {
		t.Errorf("it said\n%s\nwant\n%s", out, want)
	}
	// One that reads nothing is no failure, whatever it is told.
	if _, err := Run(context.Background(), plain{}, script(t, "exit 0"), []byte(strings.Repeat("x", stateMax))); err != nil {
		t.Error(err)
	}
	if _, err := Run(context.Background(), plain{}, h, make([]byte, stateMax+1)); err == nil {
		t.Error("what may block was written")
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct{ text, said, err string }{
		{"echo out; echo err >&2; exit 3", "out\nerr\n", "exit status 3"},
		{"kill -9 $$", "", "signal: killed"},
	} {
		out, err := Run(context.Background(), plain{}, script(t, c.text), nil)
		if err == nil || err.Error() != c.err || out != c.said {
			t.Errorf("%s: %q, %v", c.text, out, err)
		}
	}
	if _, err := Run(context.Background(), plain{}, Hook{Path: "/nowhere", Dir: "/", Timeout: time.Minute}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Time that is up, and a context that ends, take the whole group.
func TestKilledWithItsGroup(t *testing.T) {
	stopped := errors.New("no more")
	for _, c := range []struct {
		name   string
		limit  time.Duration
		cancel bool
	}{{"time", 200 * time.Millisecond, false}, {"context", time.Minute, true}} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			h := script(t, "echo there; sleep 1000 & echo $$ $! >"+file+".new; mv "+file+".new "+file+"; wait")
			h.Timeout = c.limit
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			pids := make(chan []string, 1)
			go func() {
				for {
					if b, err := os.ReadFile(file); err == nil {
						pids <- strings.Fields(string(b))
						break
					}
					time.Sleep(time.Millisecond)
				}
				if c.cancel {
					cancel(stopped)
				}
			}()
			out, err := Run(ctx, plain{}, h, nil)
			if err == nil || out != "there\n" || errors.Is(err, stopped) != c.cancel || !c.cancel && !strings.Contains(err.Error(), "within 200ms") {
				t.Errorf("%q, %v", out, err)
			}
			for _, pid := range <-pids {
				lives := true
				for deadline := time.Now().Add(10 * time.Second); lives && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
					status, err := os.ReadFile("/proc/" + pid + "/status")
					lives = err == nil && !strings.Contains(string(status), "(zombie)")
				}
				if lives {
					t.Errorf("process %s is left", pid)
				}
			}
		})
	}
}

// What a hook leaves in the background is not waited for, and lives.
func TestBackground(t *testing.T) {
	began := time.Now()
	out, err := Run(context.Background(), plain{}, script(t, "sleep 1000 & echo $!"), nil)
	if err != nil || time.Since(began) > 30*time.Second {
		t.Fatalf("%q, %v after %s", out, err, time.Since(began))
	}
	pid := 0
	for _, d := range strings.TrimSpace(out) {
		pid = 10*pid + int(d-'0')
	}
	p, err := observed.Identify(pid)
	if err != nil {
		t.Fatalf("it was ended: %v", err)
	}
	f, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0); err != nil {
		t.Error(err)
	}
}

// Of what it says the last is kept, and all of that.
func TestOutputIsBounded(t *testing.T) {
	out, err := Run(context.Background(), plain{}, script(t, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"), nil)
	if err != nil || len(out) > OutputMax+len("… ") || !strings.HasPrefix(out, "… ") || !strings.HasSuffix(out, "line 19998\nline 19999\n") {
		t.Errorf("%d bytes, %v: %.40q … %q", len(out), err, out, out[max(0, len(out)-20):])
	}
}
