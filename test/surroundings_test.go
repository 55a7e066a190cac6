package test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A daemon does its work whatever it was started with.
func TestSurroundings(t *testing.T) {
	sh := func(script string) []string { return []string{"sh", "-c", script + `; exec "$0" "$@"`} }
	for name, around := range map[string][]string{
		"no standard files":         {"sh", "-c", `exec "$0" "$@" <&- >&- 2>&-`},
		"umask that takes all":      sh("umask 0777"),
		"umask that takes nothing":  sh("umask 0"),
		"no environment":            {"sh", "-c", `exec env -i NOTIFY_SOCKET="$NOTIFY_SOCKET" "$0" "$@"`},
		"directory that is deleted": sh(`d=$(mktemp -d); cd "$d"; rmdir "$d"`),
		"signals blocked":           {"env", "--block-signal"},
		"signals ignored":           {"env", "--ignore-signal"},
		"small limits":              sh("ulimit -S -n 64 -f 1 -t 1 -l 0 -c 0 -i 0 -u 5 -s 64 -q 0 -e 0 -x 0"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.around = around
			w.declare("web", "volumes: [{name: data, emptyDir: {}}]\ncontainers:\n- "+
				box("app", "sleep", "volumeMounts: [{name: data, mountPath: /data}]"))
			w.start()
			w.running("web")
			w.ok("exec", "web", "--", "/w", "write", "/data/file", "text")
			err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
				if errors.Is(err, fs.ErrNotExist) {
					return nil // it was there for a moment
				}
				if err != nil || d.Type()&fs.ModeSymlink != 0 || strings.HasPrefix(path, filepath.Join(w.data, "volumes")) {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return nil // it is gone since
				}
				if mode := info.Mode().Perm(); d.Type()&fs.ModeSocket == 0 && (mode&0o400 == 0 || mode&0o022 != 0) {
					t.Errorf("%s has the mode %s", path, info.Mode())
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			// Go blocks signals in some threads of its own; a keeper has none.
			for _, pid := range w.helpers("web", "keeper") {
				if !poll(func() bool { return slices.Contains(lines(t, "/proc", pid, "status"), "SigBlk:\t0000000000000000") }) {
					t.Errorf("%s has signals blocked: %q", describe(pid), lines(t, "/proc", pid, "status"))
				}
			}
			w.stop()
		})
	}
}

// Where the kernel has no more watches of files to give, manifests are read at each
// resync, and the daemon says so.
func TestNoFileEvents(t *testing.T) {
	for name, around := range map[string][]string{
		"instances": deny(unix.SYS_INOTIFY_INIT1, unix.EMFILE),
		"watches":   deny(unix.SYS_INOTIFY_ADD_WATCH, unix.ENOSPC),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "--resync", "300ms")
			w.around = around
			w.start()
			w.declare("web", app("sleep"))
			w.running("web")
			w.declare("web", app("sleep", "state: Paused"))
			w.wait("web", "paused", phase("Paused"))
			for _, want := range []string{"are seen at the resync only", "kept from containers at the resync only"} {
				if resyncOnly && strings.HasPrefix(want, "are seen") {
					continue // nobody asks for events of manifests
				}
				said := func() bool { // perhaps far from the end by now
					b, err := os.ReadFile(w.logFile())
					return err == nil && strings.Contains(string(b), want)
				}
				if !poll(said) {
					t.Errorf("the log does not say %q:\n%s", want, w.log())
				}
			}
			w.undeclare("web")
			w.gone("web")
			w.stop()
			w.around = nil
		})
	}
}

// A limit that is too low, and can't be raised, is named.
func TestLimitTooLow(t *testing.T) {
	w := newWorld(t)
	for limit, want := range map[string]string{"-n 64": "open files is 64", "-f 2048": "bytes per file is 2097152", "-i 7": "pending signals is 7"} {
		// Without the right to raise it.
		line := append([]string{"-c", "ulimit " + limit + `; exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource "$0" "$@"`, sandboxer}, w.arguments()...)
		out, err := exec.Command("bash", line...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "ulimit") {
			t.Errorf("%s: %v, %s", limit, err, out)
		}
	}
}

// Every signal that ends a daemon ends it in order; what it says last does not
// need a reader.
func TestStopSandboxesOnEverySignal(t *testing.T) {
	// Whoever runs the tests may ignore it, and a daemon would go on with that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			w := start(t, "--stop-sandboxes-on-exit")
			w.declare("web", app("exit-on-term 6 then print ready then sleep"))
			w.running("web")
			w.said("web", "ready")
			w.end(sig)
			for _, pid := range processesIn(w.parent) {
				t.Errorf("a process is left: %s", describe(pid))
			}
			if sig == syscall.SIGQUIT && !strings.Contains(w.log(), "goroutine ") {
				t.Errorf("it does not say what it did:\n%s", w.log())
			}
		})
	}
}

// A daemon that is ended while it begins stops what it has not looked at yet.
func TestStopSandboxesBeforeReady(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("mute", app("sleep", "terminationGracePeriodSeconds: 0"))
	w.running("web")
	sentry := w.running("mute").Status.SandboxPID
	w.wait("cold", "paused", phase("Paused"))
	w.kill()
	if err := syscall.Kill(sentry, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.flags = []string{"--stop-sandboxes-on-exit"}
	reader := w.logPipe()
	w.begin()
	for s := bufio.NewScanner(reader); s.Scan() && !strings.Contains(s.Text(), "msg=started"); {
	}
	w.stop()
	w.around = nil
	for _, pid := range processesIn(w.parent) {
		t.Errorf("a process is left: %s", describe(pid))
	}
}

// Whoever reads the log may go away, or not read: the daemon goes on.
func TestLogReader(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		name := "gone"
		if stuck {
			name = "stuck"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			reader := w.logPipe()
			if stuck {
				fd, err := syscall.Open(reader.Name(), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
				for err == nil { // until it is full
					_, err = syscall.Write(fd, make([]byte, 4096))
				}
				_ = syscall.Close(fd)
			}
			w.start()
			if !stuck {
				reader.Close()
			}
			w.declare("web", app("sleep"))
			w.running("web")
			w.put("bad.yaml", "nonsense: 1\n")
			w.wait("bad.yaml", "rejected", phase("Invalid"))
			if err := os.Remove(filepath.Join(w.manifests, "bad.yaml")); err != nil {
				t.Fatal(err)
			}
			w.undeclare("web")
			w.gone("web")
			w.stop()
			w.around = nil
		})
	}
}

// logPipe has daemons write their log into a pipe, which it returns.
func (w *world) logPipe() *os.File {
	w.t.Helper()
	pipe := filepath.Join(w.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	w.around = []string{"sh", "-c", `exec "$0" "$@" 2>` + pipe}
	return f
}

// lines are those of a file below a directory of a process.
func lines(t *testing.T, dir string, pid int, file string) (list []string) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("%s/%d/%s", dir, pid, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		list = append(list, s.Text())
	}
	return list
}
