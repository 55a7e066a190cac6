package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What could not be started takes nothing down: a change, or a restart, that names
// what is not there ends nothing, and says so; as soon as it is there it is carried
// out.
func TestTypoEndsNothing(t *testing.T) {
	w := start(t, "--resync", "500ms")
	at := func(name string) string { return filepath.Join(w.dir, name) }
	check := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	root := func(name string) { check(os.Symlink(rootfs, at(name))) }
	root("root")
	check(os.WriteFile(at("secret"), []byte("one\n"), 0o600), os.Mkdir(at("v"), 0o755))
	spec := func(root, command, volume, secret string) string {
		return "volumes: [{name: v, hostPath: {path: DIR/" + volume + ", type: Directory}}]\ncontainers:\n" +
			"- {name: app, rootfs: {path: DIR/" + root + "}, command: [" + command + "], volumeMounts: [{name: v, mountPath: /v}], " +
			"env: [{name: TOKEN, valueFrom: {file: DIR/" + secret + "}}]}\n- " + box("other", "sleep")
	}
	w.declare("web", spec("root", "/w, sleep", "v", "secret"))
	was := w.running("web")
	for _, c := range []struct{ spec, says string }{
		{spec("gone", "/w, sleep", "v", "secret"), "rootfs.path: there is no directory " + at("gone")},
		{spec("root", "/gone", "v", "secret"), "command[0]: /gone is not in the root " + at("root")},
		{spec("root", "gone", "v", "secret"), `command[0]: "gone" is in no folder of the PATH`},
		{spec("root", "/w, sleep", "v", "none"), "env[0].valueFrom.file: stat " + at("none")},
		{spec("root", "/w, sleep", "secret", "secret"), "spec.volumes[0].hostPath.path: " + at("secret") + " is not a directory"},
		{"hostname: h\n" + spec("gone", "/w, sleep", "v", "secret"), `container "app": rootfs.path: there is no directory ` + at("gone")},
	} {
		w.declare("web", c.spec)
		if r := w.run("wait", "web", "--timeout", "60s"); r.code != 1 || !strings.Contains(r.err, c.says) {
			t.Errorf("want %q, and wait ends with %d: %s", c.says, r.code, r.err)
		}
		for _, command := range []string{"plan", "describe"} {
			args := []string{command, "web"}[:1]
			if command == "describe" {
				args = append(args, "web")
			}
			if out := strings.Join(strings.Fields(w.ok(args...)), " "); !strings.Contains(out, c.says) {
				t.Errorf("want %q, and %s says: %s", c.says, command, out)
			}
		}
		now := w.wait("web", "blocked", func(s sandbox) bool { return s.Status.Reason == "StartBlocked" && running(s) })
		for _, name := range []string{"app", "other"} {
			w.same(was, now, name)
		}
	}
	root("gone")
	now := w.wait("web", "as declared", func(s sandbox) bool {
		return running(s) && s.Status.Reason == "" && s.Status.SandboxPID != was.Status.SandboxPID
	})

	check(os.Remove(at("secret")))
	if r := w.run("restart", "web"); r.code != 1 || !strings.Contains(r.err, "nothing was stopped") || !strings.Contains(r.err, at("secret")) {
		t.Errorf("restart ends with %d: %s", r.code, r.err)
	}
	w.same(now, w.running("web"), "other")
	w.same(now, w.running("web"), "app")
	w.ok("restart", "web/other")
	w.same(now, w.running("web"), "app")
}
