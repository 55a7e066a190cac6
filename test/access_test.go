package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// reachable is a world whose socket, and a copy of the program, are where every
// user of the host can reach them.
func reachable(t *testing.T) (w *world, program string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sbxopen")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // after the world's own
	w = newWorld(t, "--socket", filepath.Join(dir, "s.sock"))
	w.socket, program = filepath.Join(dir, "s.sock"), filepath.Join(dir, "sandboxer")
	b, err := os.ReadFile(w.binary)
	if err == nil {
		err = os.WriteFile(program, b, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w, program
}

// What a client may do follows from whom the kernel says it is.
func TestAccess(t *testing.T) {
	w, program := reachable(t)
	w.configure("access:\n- {group: '4001', level: read}\n- {group: '4002', level: operate}\n- {group: '4003', level: admin}\n")
	w.start()
	w.declare("web", app("sleep"))
	w.running("web")
	client := func(attr *syscall.SysProcAttr, args ...string) result {
		cmd := exec.Command(program, args...)
		cmd.SysProcAttr, cmd.Dir = attr, "/"
		return w.command(cmd)
	}
	user := func(groups ...uint32) *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711, Groups: groups}}
	}
	commands := []struct {
		needs int
		args  []string
	}{
		{1, []string{"get"}}, {1, []string{"logs", "web"}}, {1, []string{"events"}}, {1, []string{"describe", "web"}},
		{2, []string{"exec", "web", "--", "/w", "id"}}, {2, []string{"kill", "web", "-s", "SIGURG"}},
		{3, []string{"plan"}}, {3, []string{"confirm-deletions"}}, {3, []string{"debug", "state"}}, {3, []string{"debug", "pprof", "goroutine"}},
	}
	for level, attr := range []*syscall.SysProcAttr{
		user(), user(4001), user(4001, 4002), user(5000, 4003), {Credential: &syscall.Credential{Uid: 0, Gid: 0}},
	} {
		for _, c := range commands {
			r := client(attr, c.args...)
			switch {
			case level >= c.needs && r.code != 0:
				t.Errorf("level %d: %v ended with %d: %s", level, c.args, r.code, r.err)
			case level < c.needs && r.code == 0:
				t.Errorf("level %d: %v was done", level, c.args)
			case level < c.needs && !strings.Contains(r.err, "uid 4711"):
				t.Errorf("level %d: %v says %s", level, c.args, r.err)
			}
		}
	}
	if r := client(user(4001), "restart", "web"); r.code == 0 || !strings.Contains(r.err, "uid 4711 may read, not operate") {
		t.Errorf("restart for whom may read: %+v", r)
	}
	if r := client(user(4002), "restart", "web"); r.code != 0 {
		t.Errorf("restart for whom may operate: %+v", r)
	}
	if out := strings.Join(strings.Fields(w.ok("events", "web")), " "); !strings.Contains(out, "restart was asked for by uid 4711") {
		t.Errorf("nothing tells who asked for it: %s", out)
	}
	if b, err := os.ReadFile(w.logFile()); err != nil || !strings.Contains(string(b), "/exec") || !strings.Contains(string(b), "a request was refused") {
		t.Errorf("the log tells of neither exec nor what was refused: %v", err)
	}
}

// A process of a sandbox's is refused whoever it runs as, and so is one in a
// user namespace of its own, as gofers are.
func TestSandboxesAreRefused(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	apart := w.program("get")
	apart.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1 << 16}}, GidMappings: []syscall.SysProcIDMap{{Size: 1 << 16}}}
	if r := w.command(apart); r.code == 0 || !strings.Contains(r.err, "in another user namespace") {
		t.Errorf("from another user namespace: %+v", r)
	}
	var join []string
	for _, dir := range cgroupDirs(w.parent + "/web") {
		join = append(join, "echo $$ >"+filepath.Join(dir, "cgroup.procs"))
	}
	inside := exec.Command("/bin/sh", "-c", strings.Join(append(join, `exec "$0" get`), "; "), w.binary)
	if r := w.command(inside); r.code == 0 || !strings.Contains(r.err, "in a sandbox's cgroup") {
		t.Errorf("from the sandbox's cgroup: %+v", r)
	}
	if r := w.run("get"); r.code != 0 {
		t.Errorf("from elsewhere: %+v", r)
	}
}
