package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What containers open of the host's files is bounded below what the sentry can:
// one more gets ENFILE, whoever it is, and nothing hangs or ends. Commands from
// outside and gofers that replace others still work, and so does what opens
// files once there is room.
func TestOpenFiles(t *testing.T) {
	w := newWorld(t)
	w.around = []string{"sh", "-c", `ulimit -n 16384 && exec "$@"`, "sh"}
	for _, dir := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(w.dir, "v", dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			if err := os.WriteFile(filepath.Join(w.dir, "v", dir, fmt.Sprint(i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.start()
	mounts := "volumeMounts: [{name: v, mountPath: /v}]"
	probe := "livenessProbe: {exec: {command: [/w, exit, \"0\"]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}"
	w.declare("web", "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n- "+box("app", "sleep", mounts, probe)+"\n- "+box("other", "sleep", mounts))
	was := w.running("web")
	const full = "too many open files in system"
	hold := func(container, dir string) *session {
		return w.session("exec", "web/"+container, "--", "/w", "keep-all-open", dir, "then", "sleep")
	}
	first := hold("app", "/v/a")
	first.expect("held 5000 all")
	second := hold("app", "/v/b")
	second.expect(full)
	for _, name := range []string{"web/app", "web/other"} {
		// One or two may be free: what a probe had open when the bound was met.
		if r := w.run("exec", name, "--", "/w", "keep-all-open", "/v/b"); !strings.Contains(r.out+r.err, full) {
			t.Errorf("%s: %+v", name, r)
		}
		if r := w.run("exec", name, "--", "/w", "print", "here"); r.out != "here\n" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w.ok("restart", "--gofers", "web")
	for _, name := range []string{"app", "other"} {
		w.same(was, w.replaced("web", name, 1), name)
	}
	second.cmd.Process.Kill()
	if !poll(func() bool { return w.run("exec", "web/other", "--", "/w", "list", "/v/b").code == 0 }) {
		t.Error("what was closed gave no room")
	}
	hold("other", "/v/b").expect(full)
	w.restart()
	w.ok("exec", "web/other", "--", "/w", "print", "here")
	w.ok("kill", "web/app", "-s", "KILL")
	w.wait("web", "started anew", func(s sandbox) bool { return s.box("app").RestartCount == 1 && s.box("app").State == "running" })
	if !poll(func() bool { return w.run("exec", "web/other", "--", "/w", "list", "/v/b").code == 0 }) {
		t.Error("what was closed gave no room")
	}
	w.same(was, w.running("web"), "other")
}
