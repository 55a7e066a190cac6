package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newRuns makes a world for runs, which have no daemon beside them, and looks
// for what they leave.
func newRuns(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	t.Cleanup(func() {
		w.nothingRan()
		for _, pid := range w.runProcesses() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return w
}

// nothingRan looks for what a run has left.
func (w *world) nothingRan() {
	w.t.Helper()
	for _, pid := range append(processesIn(w.parent+"/"), w.runProcesses()...) {
		w.t.Errorf("a process is left: %s", describe(pid))
	}
	for _, dir := range cgroupDirs(w.parent + "/") {
		w.t.Errorf("a cgroup is left: %s", dir)
	}
	for _, m := range mountsBelow(w.dir) {
		w.t.Errorf("a mount is left: %s", m)
	}
	for _, dir := range []string{w.state, w.data} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			w.t.Errorf("a directory is left: %s/%s", dir, e.Name())
		}
	}
}

// runProcesses are the daemons of runs. A child of theirs that has not become
// what it is to be looks the same, but for its parent.
func (w *world) runProcesses() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	parents := map[int]int{}
	for _, e := range entries {
		b, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if !bytes.HasPrefix(b, []byte("sandboxer-run\x00"+w.data)) && !bytes.HasPrefix(b, []byte("sandboxer-clear\x00"+w.data)) {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if pid, err := strconv.Atoi(e.Name()); err == nil && len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	for pid, parent := range parents {
		if _, child := parents[parent]; !child {
			pids = append(pids, pid)
		}
	}
	return pids
}

// manifest writes a file that declares a sandbox and is in no daemon's folder.
func (w *world) manifest(name, spec string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(w.document(name, spec)), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// runs are the arguments of a run.
func (w *world) runs(args ...string) []string {
	w.makeConfig()
	return append([]string{"run", "--state-dir", w.state, "--data-dir", w.data, "--cgroup-parent", w.parent,
		"--config", w.config()}, args...)
}

// A run has its first container's output, exit code and input, and leaves
// nothing.
func TestRun(t *testing.T) {
	w := newRuns(t)
	for _, c := range []struct {
		spec string
		code int
		out  string
		err  string
	}{
		{app("print out then complain err then exit 7"), 7, "out\n", "err\n"},
		{app("print out", "restartPolicy: Always"), 0, "out\n", ""},
		{app("raise 9"), 128 + 9, "", ""},
		{app("raise 15"), 128 + 15, "", ""},
		{app("copy"), 0, "", ""}, // without -i there is nothing to read
		{"containers:\n- " + box("app", "id then pwd", "securityContext: {runAsUser: 7, runAsGroup: 8}", "workingDir: /proc"), 0, "uid 7 gid 8 groups\npwd /proc\n", ""},
		{"volumes: [{name: m, emptyDir: {sizeLimit: 1Mi}}, {name: d, emptyDir: {}}, {name: f, files: {a: b}}]\ncontainers:\n- " +
			box("app", "write /m/x y then write /d/x y then read /f/a", "volumeMounts: [{name: m, mountPath: /m}, {name: d, mountPath: /d}, {name: f, mountPath: /f}]"), 0, "b", ""},
		// The others go on by their own policies until the first ends, and are asked to end then.
		{"containers:\n- " + box("app", "sleep 1 then exit 3") + "\n- " + box("side", "exit-on-term 0 then sleep") + "\n- " + box("short", "exit 1"), 3, "", ""},
		{"containers:\n- {name: app, rootfs: {path: ROOT}, command: [/nothing]}", 1, "", "can't be started"},
		{"containers:\n- {name: app, rootfs: {path: DIR/nothing}, command: [/w]}", 1, "", "can't be started"},
		{"initContainers:\n- " + box("first", "print first then exit 0") + "\n" + app("print out"), 0, "out\n", ""},
		{"restartPolicy: Never\ninitContainers:\n- " + box("first", "exit 5") + "\n" + app("print out"), 1, "", "container \"first\" ended with exit code 5"},
		{"initContainers:\n- " + box("first", "exit 5") + "\n" + app("print out"), 1, "", "init container \"first\" ended with exit code 5"},
		{"initContainers:\n- " + box("fine", "complain fine") + "\n- " + box("first", "complain because then exit 5") + "\n" + app("print out"), 1, "",
			"because\nsandboxer: init container \"first\" ended with exit code 5\n"},
		{"initContainers:\n- {name: first, rootfs: {path: ROOT}, command: [/nothing]}\n" + app("print out"), 1, "",
			"sandboxer: init container \"first\" can't be started: command[0]: /nothing is not in the root "},
		{app("sleep", "dependsOn: [db]"), 1, "", "spec.dependsOn: run knows no other sandboxes"},
		{app("sleep", "state: Paused"), 1, "", "declares the state Paused"},
		{app("sleep", "stat: Running"), 1, "", "spec.stat"},
	} {
		r := w.run(w.runs(w.manifest("job", c.spec))...)
		if r.code != c.code || r.out != c.out || !strings.Contains(r.err, c.err) || c.err == "" && r.err != "" {
			t.Errorf("%s\n%+v", c.spec, r)
		}
		w.nothingRan()
	}
	two := filepath.Join(w.dir, "two.yaml")
	if err := os.WriteFile(two, []byte(w.document("one", app("sleep"))+"---\n"+w.document("two", app("sleep"))), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"holds 2 documents": {two},
		"no such file":      {filepath.Join(w.dir, "none.yaml")},
	} {
		if r := w.run(w.runs(args...)...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := w.run(w.runs()...); r.code != 2 {
		t.Errorf("without a file: %+v", r)
	}
}

// What goes through a run is whole, from pipe to pipe and from file to file, and
// a reader that is slow loses nothing.
func TestRunFiles(t *testing.T) {
	w := newRuns(t)
	file, line := filepath.Join(w.dir, "file"), strings.Join(w.runs("-i", w.manifest("copy", app("copy"))), " ")
	for _, script := range []string{
		"head -c 3000000 /dev/urandom >FILE; RUN <FILE >FILE.out; cmp FILE FILE.out",
		"cat FILE | RUN | { sleep 0.2; cat; } >FILE.out; cmp FILE FILE.out",
		"{ echo a; RUN <FILE; echo b; } >FILE.out; { echo a; cat FILE; echo b; } | cmp - FILE.out",
	} {
		cmd := exec.Command("sh", "-c", strings.NewReplacer("RUN", sandboxer+" "+line, "FILE", file).Replace(script))
		if r := w.command(cmd); r.code != 0 || r.err != "" || r.out != "" {
			t.Errorf("%s: %+v", script, r)
		}
	}
}

// Signals reach the first container. When it has ended, another one ends what
// takes its time.
func TestRunSignals(t *testing.T) {
	w := newRuns(t)
	s := w.session(w.runs(w.manifest("job", app("signals")))...)
	s.expect("waiting")
	for sig, name := range map[syscall.Signal]string{
		syscall.SIGUSR1: "user defined signal 1", syscall.SIGINT: "interrupt", syscall.SIGTERM: "terminated", syscall.SIGHUP: "hangup",
	} {
		s.signal(sig)
		s.expect("got " + name)
	}
	w.runKill(s)

	// The other has an hour to end, and does not.
	s = w.session(w.runs(w.manifest("job", "terminationGracePeriodSeconds: 3600\ncontainers:\n- "+
		box("app", "exit-on-term 5 then print on then tick")+"\n- "+box("deaf", "signals")))...)
	s.expect("on")
	again := time.NewTicker(100 * time.Millisecond) // the end of the first shows to nobody but the run
	defer again.Stop()
	late := time.After(patience)
	for on := true; on; {
		s.signal(syscall.SIGTERM)
		select {
		case _, on = <-s.lines:
		case <-again.C:
		case <-late:
			t.Fatal("the run goes on")
		}
	}
	s.ends(5)
}

// runKill kills a run, and waits until its daemon has ended.
func (w *world) runKill(s *session) {
	w.t.Helper()
	lock := w.runLock("*")
	defer lock.Close()
	s.signal(syscall.SIGKILL)
	s.ends(-1)
	w.unlocked(lock)
	w.nothingRan()
}

// runLock opens what the processes of the one run of a sandbox hold locked.
func (w *world) runLock(name string) *os.File {
	w.t.Helper()
	found, _ := filepath.Glob(filepath.Join(w.data, name+".*", "lock"))
	if len(found) != 1 {
		w.t.Fatalf("these runs go on: %v", found)
	}
	f, err := os.Open(found[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// unlocked waits until no process of a run is left.
func (w *world) unlocked(lock *os.File) {
	w.t.Helper()
	free := make(chan error, 1)
	go func() { free <- unix.Flock(int(lock.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-free:
		if err != nil {
			w.t.Fatal(err)
		}
	case <-time.After(patience):
		w.t.Fatal("the run goes on")
	}
}

// Nothing outlives a run, whoever of it is killed.
func TestRunKilled(t *testing.T) {
	w := newRuns(t)
	spec := "terminationGracePeriodSeconds: 3600\nvolumes: [{name: m, emptyDir: {sizeLimit: 1Mi}}]\ncontainers:\n- " +
		box("app", "leave then print on then signals", "volumeMounts: [{name: m, mountPath: /m}]") + "\n- " + box("side", "signals")
	run := func() *session {
		t.Helper()
		s := w.session(w.runs(w.manifest("job", spec))...)
		s.expect("on")
		return s
	}
	w.runKill(run())

	// Its whole process group.
	s := run()
	lock := w.runLock("job")
	kill(t, s.cmd.Process.Pid, syscall.SIGKILL)
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it leads none, unless a shell makes it
	s.ends(-1)
	w.unlocked(lock)
	w.nothingRan()

	// Its daemon.
	s = run()
	if pids := w.runProcesses(); len(pids) == 1 {
		kill(t, pids[0], syscall.SIGKILL)
	} else {
		t.Fatalf("the daemons are %v", pids)
	}
	s.ends(1)
	if !strings.Contains(s.complaints(), "the daemon of this run died: signal: killed") {
		t.Errorf("it says %q", s.complaints())
	}
	w.nothingRan()

	// Both: the next one clears away what is left. Another one is let alone.
	other := w.session(w.runs(w.manifest("other", app("print on then signals")))...)
	other.expect("on")
	before := w.runProcesses()
	s = run()
	lock = w.runLock("job")
	kill(t, s.cmd.Process.Pid, syscall.SIGSTOP)
	for _, pid := range w.runProcesses() {
		if len(before) != 1 || pid != before[0] {
			kill(t, pid, syscall.SIGKILL)
		}
	}
	s.signal(syscall.SIGKILL)
	s.ends(-1)
	w.unlocked(lock)
	if processesIn(w.parent+"/sandboxer-run.job.") == nil {
		t.Error("nothing is left for the next one to clear away")
	}
	lock.Close()
	if r := w.run(w.runs(w.manifest("next", app("exit 4")))...); r.code != 4 || r.err != "" {
		t.Errorf("the next run: %+v", r)
	}
	if left, _ := os.ReadDir(w.data); len(left) != 1 {
		t.Errorf("these are left beside the other: %v", left)
	}
	other.signal(syscall.SIGUSR1)
	other.expect("got user defined signal 1")
	w.runKill(other)
}

// A run has a terminal that behaves like the caller's.
func TestRunTerminal(t *testing.T) {
	w := newRuns(t)
	s, master := w.atTerminal(33, 99, w.runs("-it", w.manifest("job", app("resizes")))...)
	s.expect("terminal 33 99")
	setSize(t, master, 44, 111)
	s.expect("terminal 44 111")
	fmt.Fprint(master, "\x03")
	s.expect("ended by interrupt")
	s.ends(0)
	before := mode(t, master) // as every new terminal's; the next one is at work at once
	w.nothingRan()

	s, master = w.atRawTerminal(24, 80, w.runs("-it", w.manifest("job", app("copy then exit 9")))...)
	fmt.Fprint(master, "typed\n")
	s.expect("typed") // the echo
	s.expect("typed")
	fmt.Fprint(master, "\x04")
	s.ends(9)
	if after := mode(t, master); after != before {
		t.Errorf("the caller's terminal was left as %+v", after)
	}

	// What is typed after the end hurries the rest.
	s, master = w.atTerminal(24, 80, w.runs("-it", w.manifest("job", "terminationGracePeriodSeconds: 3600\ncontainers:\n- "+
		box("app", "print on then copy then exit 8")+"\n- "+box("deaf", "signals")))...)
	s.expect("on")
	fmt.Fprint(master, "\x04")
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for on := true; on; {
		if mode(t, master) == before { // as it is once the first has ended
			fmt.Fprint(master, "\x03")
		}
		select {
		case _, on = <-s.lines:
		case <-again.C:
		case <-late:
			t.Fatal("the run goes on")
		}
	}
	s.ends(8)
}
