package test

import (
	"fmt"
	"strings"
	"testing"
)

// storing is a spec of a container with a limit of storage beside one without.
func storing(limit string, more ...string) string {
	return strings.Join(append(more, "containers:",
		"- "+box("app", "sleep", fmt.Sprintf("resources: {limits: {memory: 512Mi, ephemeral-storage: %s}}", limit)),
		"- "+box("other", "sleep")), "\n")
}

// What a container may write to its root is bounded, however it writes; what it
// deletes comes back; and nobody else notices.
func TestStorageLimit(t *testing.T) {
	w := start(t)
	w.declare("web", storing("8Mi"))
	was := w.running("web")
	inside := func(command string) result {
		return w.run(append([]string{"exec", "web/app", "--", "/w"}, strings.Fields(command)...)...)
	}
	says := func(command, want string) {
		t.Helper()
		if r := inside(command); r.code != 0 || strings.TrimSpace(r.out) != want {
			t.Errorf("%s: %+v, want %q", command, r, want)
		}
	}
	const full = "filled 8388608 then no space left on device"
	says("fill /big 100", full)
	says("fill /more 1", "filled 0 then no space left on device")
	says("remove /big", "")
	says("fill /big 100", full)
	says("remove /big", "")
	says("make-room /big 100", "not allocated: no space left on device")
	says("remove /big", "")
	if r := inside("touch-map /big 100"); r.code == 0 || !strings.Contains(r.err, "SIGBUS") {
		t.Errorf("more than there is where it is mapped: %+v", r)
	}
	says("fill /more 1", "filled 0 then no space left on device")
	says("remove /big", "")
	// What is deleted and open takes room until it is closed.
	s := w.session("exec", "web/app", "--", "/w", "fill", "/open", "4", "then", "keep-open", "/open", "then", "remove", "/open", "then", "print", "kept", "then", "sleep")
	s.expect("kept")
	says("fill /big 100", "filled 4194304 then no space left on device")
	s.cmd.Process.Kill()
	if !poll(func() bool { return inside("fill /big 100").out == full+"\n" }) {
		t.Errorf("closed, and no room: %+v", inside("fill /big 100"))
	}
	if r := w.run("exec", "web/other", "--", "/w", "fill", "/big", "100"); r.out != "filled 104857600\n" {
		t.Errorf("the other: %+v", r)
	}
	for _, name := range []string{"app", "other"} {
		w.same(was, w.running("web"), name)
	}
}

// A layer's bound lasts as long as its container, whoever else dies, and is
// changed in place. A container that is started anew begins with an empty one.
func TestStorageLimitLasts(t *testing.T) {
	w := start(t)
	full := func(when string, bytes int) {
		t.Helper()
		want := fmt.Sprintf("filled %d then no space left on device", bytes)
		if got := strings.TrimSpace(w.ok("exec", "web/app", "--", "/w", "fill", "/more")); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
		w.ok("exec", "web/app", "--", "/w", "remove", "/more")
	}
	limit := func(limit string) {
		t.Helper()
		n := len(w.events("web", "LimitsSet"))
		w.declare("web", storing(limit))
		if !w.until(func() bool { return len(w.events("web", "LimitsSet")) > n }) {
			t.Fatalf("the limit did not become %s", limit)
		}
	}
	const mib = 1 << 20
	w.declare("web", storing("8Mi"))
	was := w.running("web")
	w.ok("exec", "web/app", "--", "/w", "fill", "/kept", "3")
	full("at first", 5*mib)
	w.ok("restart", "--gofers", "web")
	w.replaced("web", "app", 1)
	full("after a gofer was replaced", 5*mib)
	w.restart()
	full("after the daemon was killed", 5*mib)
	limit("16Mi")
	full("with more", 13*mib)
	limit("1Mi")
	full("with less than is in use", 0)
	if got := w.ok("exec", "web/app", "--", "/w", "free", "/"); got != "free 0\n" {
		t.Errorf("with less than is in use: %s", got)
	}
	w.same(was, w.running("web"), "app")
	if c := w.stats("web").Containers[0]; c.StorageBytes != 3*mib || c.StorageLimitBytes != mib {
		t.Errorf("stats: %+v", c)
	}
	w.declare("web", "state: Suspended\n"+storing("1Mi"))
	w.suspended("web")
	w.declare("web", storing("4Mi"))
	w.running("web")
	full("suspended meanwhile, with another limit", mib)
	limit("1Mi")
	w.ok("exec", "web/app", "--", "/w", "remove", "/kept")
	full("what was too much is deleted", mib)
	w.ok("kill", "web/app", "-s", "KILL")
	w.wait("web", "started anew", func(s sandbox) bool { return s.box("app").RestartCount == 1 && s.box("app").State == "running" })
	full("started anew", mib)
}

// Files take memory of the sandbox's, empty or not: of them there is a bound, too,
// and a storm of them ends nobody.
func TestManyFiles(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep", "resources: {limits: {memory: 64Mi}}")+"\n- "+box("other", "sleep", "resources: {limits: {memory: 64Mi}}"))
	was := w.running("web")
	w.ok("exec", "web/app", "--", "/w", "mkdir", "/many")
	var n int
	if _, err := fmt.Sscanf(w.ok("exec", "web/app", "--", "/w", "files", "/many", "100000"), "files %d no space left on device\n", &n); err != nil || n < 16000 || n > 1<<14 {
		t.Errorf("%d files: %v", n, err)
	}
	if got := w.ok("exec", "web/other", "--", "/w", "files", "/", "10"); got != "files 10 all\n" {
		t.Error(got)
	}
	for _, name := range []string{"app", "other"} {
		w.same(was, w.running("web"), name)
	}
}
