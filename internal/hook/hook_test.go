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
	real, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, Hook{Path: real, Args: []string{"sh", "-c", text}, Dir: t.TempDir(), Timeout: time.Minute})
}

// opened is a hook with its folder.
func opened(t *testing.T, h Hook) Hook {
	t.Helper()
	folder, err := os.Open(filepath.Dir(h.Path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	h.Folder, h.Name = folder, filepath.Base(h.Path)
	return h
}

// What runs is what is in the folder that was opened, whatever its path leads to by
// now, a script as a program; a script finds what lies beside it.
func TestRunsWhatWasOpened(t *testing.T) {
	// What this test was started with is nobody's business, as in the daemon.
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	folder := filepath.Join(base, "hooks")
	write := func(dir, name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	write(folder, "script", "#!/bin/sh\n. \"$(dirname \"$0\")/beside\"\necho \"$1 $(basename \"$0\")\"\nls /proc/self/fd | tr '\\n' ' '\n")
	write(folder, "beside", "echo beside\n")
	echo, err := os.ReadFile("/bin/echo")
	if err != nil {
		t.Fatal(err)
	}
	write(folder, "program", string(echo))
	script := opened(t, Hook{Path: filepath.Join(folder, "script"), Args: []string{"x", "arg"}, Dir: "/", Timeout: time.Minute})
	program := opened(t, Hook{Path: filepath.Join(folder, "program"), Args: []string{"x", "arg"}, Dir: "/", Timeout: time.Minute})
	if err := os.Rename(folder, folder+".moved"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"script", "program", "beside"} {
		write(folder, name, "#!/bin/sh\necho evil\n")
	}
	if out, err := Run(context.Background(), plain{}, script, nil); err != nil || out != "beside\narg script\n0 1 2 3 4 " {
		t.Errorf("the script: %q, %v", out, err) // 3: the folder, 4: ls's own
	}
	if out, err := Run(context.Background(), plain{}, program, nil); err != nil || out != "arg\n" {
		t.Errorf("the program: %q, %v", out, err)
	}
	write(folder+".moved", "text", "no program\n")
	if err := os.Chmod(filepath.Join(folder+".moved", "text"), 0o644); err != nil {
		t.Fatal(err)
	}
	program.Name, program.Path = "text", filepath.Join(folder, "text")
	if _, err := Run(context.Background(), plain{}, program, nil); err == nil || !strings.Contains(err.Error(), program.Path) {
		t.Errorf("what can't be run: %v", err)
	}
}

func TestInterpreter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for text, want := range map[string]string{
		"": "", "#": "", "#!": "", "#!\n": "", "\x7fELF": "", "echo": "", " #!/bin/sh": "",
		"#!/bin/sh\necho": "/bin/sh", "#! \t/bin/sh -e x\n": "/bin/sh", "#!/bin/sh": "/bin/sh", "#!sh\n": "sh", "#!/bin/sh\x00-e": "/bin/sh",
		"#!" + strings.Repeat("x", 1000): strings.Repeat("x", 254), "#!\n/bin/sh": "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, unix.O_PATH, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Interpreter(f); err != nil || got != want {
			t.Errorf("%.40q: %q, %v", text, got, err)
		}
		f.Close()
	}
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
	if _, err := Run(context.Background(), plain{}, opened(t, Hook{Path: "/nowhere", Dir: "/", Timeout: time.Minute}), nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Time that is up, and a context that ends, take the whole group.
func TestKilledWithItsGroup(t *testing.T) {
	stopped := errors.New("no more")
	file := filepath.Join(t.TempDir(), "pids")
	text := "echo there; sleep 1000 & echo $$ $! >" + file + ".new; mv " + file + ".new " + file + "; wait"
	ends := func(t *testing.T) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range strings.Fields(string(b)) {
			lives := true
			for deadline := time.Now().Add(10 * time.Second); lives && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				status, err := os.ReadFile("/proc/" + pid + "/status")
				lives = err == nil && !strings.Contains(string(status), "(zombie)")
			}
			if lives {
				t.Errorf("process %s is left", pid)
			}
		}
	}
	t.Run("time", func(t *testing.T) {
		h := script(t, text)
		for h.Timeout = 200 * time.Millisecond; ; h.Timeout *= 5 { // until it got that far
			out, err := Run(context.Background(), plain{}, h, nil)
			if err == nil || !strings.Contains(err.Error(), "within "+h.Timeout.String()) {
				t.Fatalf("%q, %v", out, err)
			}
			if _, err := os.Stat(file); err == nil {
				if out != "there\n" {
					t.Errorf("%q", out)
				}
				break
			}
		}
		ends(t)
	})
	t.Run("context", func(t *testing.T) {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		go func() {
			for ctx.Err() == nil {
				if _, err := os.Stat(file); err == nil {
					cancel(stopped)
				}
				time.Sleep(time.Millisecond)
			}
		}()
		if out, err := Run(ctx, plain{}, script(t, text), nil); !errors.Is(err, stopped) || out != "there\n" {
			t.Errorf("%q, %v", out, err)
		}
		ends(t)
	})
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
