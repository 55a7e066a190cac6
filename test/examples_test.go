package test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every example does what its comment says.
func TestExamples(t *testing.T) {
	expected := map[string]struct {
		reached check
		says    string // of its first container
	}{
		"hello": {running, "hello from inside gVisor"},
		"two-containers": {and(running, func(s sandbox) bool {
			return s.box("worker").RestartCount >= 1 && s.box("counter").RestartCount == 0
		}), "tick 5"},
		"paused":     {phase("Paused"), ""},
		"suspended":  {phase("Suspended"), ""}, // at once: it may have said nothing yet
		"crash-loop": {func(s sandbox) bool { return s.box("app").RestartCount >= 3 && s.box("app").exited(3) }, "this is going to fail"},
		"limits":     {and(running, func(s sandbox) bool { return s.Status.OOMScoreAdj != nil && *s.Status.OOMScoreAdj == 200 }), "memory 201326592"},
		"ends":       {phase("Succeeded"), "done"},
		"probes":     {and(running, func(s sandbox) bool { return s.Status.Ready }), "serving"},
		"volumes":    {running, "filled 1048576"},
		"host-root":  {running, "denied: read-only file system"},
		"init": {and(running, func(s sandbox) bool { return s.box("migrate").RestartCount == 1 && s.box("migrate").Ready }),
			"prepared for you"},
		"depends": {running, "the database is there"},
	}
	files, err := filepath.Glob("../examples/manifests/*")
	if err != nil || len(files) != len(expected) {
		t.Fatalf("there are %d examples, %d are known here: %v", len(files), len(expected), err)
	}
	w := newWorld(t)
	w.shows(hostRoot)
	if err := os.MkdirAll(filepath.Join(w.dir, "rootfs", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(rootfs, "w"), filepath.Join(w.dir, "rootfs", "bin", "workload")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "# ") || !strings.Contains(string(b), "\n# Watch: ") {
			t.Errorf("%s does not say what to watch", file)
		}
		text := strings.NewReplacer("/var/lib/sandboxer-examples", w.dir, "/run/sandboxer-examples/state", w.state).Replace(string(b))
		w.put(filepath.Base(file), text)
		for _, name := range regexp.MustCompile(`(?m)^  name: (.*)$`).FindAllStringSubmatch(text, -1) {
			w.names[name[1]] = true
		}
	}
	w.start()
	for name, e := range expected {
		s := w.wait(name, "as its comment says", e.reached)
		if e.says != "" {
			w.said(name+"/"+s.Status.Containers[0].Name, e.says)
		}
	}
	if b, err := os.ReadFile(filepath.Join(w.dir, "data", "starts")); err != nil || string(b) != "1\n" {
		t.Errorf("the volume holds %q, %v", b, err)
	}
}

// make run shows the examples, and Ctrl-C leaves nothing of it; neither does
// the next run of one that was killed.
func TestMakeRun(t *testing.T) {
	if resyncOnly {
		return // it is the same program in both runs
	}
	w := newWorld(t)
	w.shows(hostRoot)
	run := func(end func(cmd *exec.Cmd) error) {
		t.Helper()
		cmd := exec.Command("../examples/run.sh")
		cmd.Env = append(os.Environ(), "SANDBOXER_BIN="+sandboxer, "SANDBOXER_WORKLOAD="+filepath.Join(rootfs, "w"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer timer.Stop()
		var said strings.Builder
		lines := bufio.NewScanner(out)
		for ready := regexp.MustCompile(`^host-root +Running`); lines.Scan() && !ready.MatchString(lines.Text()); {
			said.WriteString(lines.Text() + "\n")
		}
		timer.Reset(patience)
		if err := end(cmd); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
		}
		_ = cmd.Wait() // how it ended is no matter: it was interrupted
		if !strings.Contains(said.String(), "NAME ") {
			t.Fatalf("it printed\n%s", said.String())
		}
	}
	run(func(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	run(func(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) })
	w.parent = "/sandboxer-examples"
	for _, pid := range processesIn(w.parent) {
		t.Errorf("a process is left: %s", describe(pid))
	}
	for _, dir := range cgroupDirs(w.parent) {
		t.Errorf("a cgroup is left: %s", dir)
	}
	for _, dir := range []string{"/run/sandboxer-examples", "/run/sandboxer-examples.lock", "/var/lib/sandboxer-examples"} {
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
		for _, m := range mountsBelow(dir) {
			t.Errorf("a mount is left: %s", m)
		}
	}
}
