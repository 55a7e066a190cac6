package test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A variable's value that is in a file is in no file of the daemon's, whatever
// is done to the sandbox, and commands in the container have it all the same.
func TestSecretsAreInNoFile(t *testing.T) {
	w := start(t)
	const secret = "S3CR3TV4LU3"
	token := filepath.Join(w.dir, "token")
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := "env: [{name: PLAIN, value: shown}, {name: TOKEN, valueFrom: {file: DIR/token}}, {name: DERIVED, value: \"<$(TOKEN)>\"}]"
	h := w.hookScript("hook", "")
	w.declare("web", "initContainers:\n- {name: first, rootfs: {path: ROOT}, command: [/w, print, ready, \"$(DERIVED)\"], "+env+"}\ncontainers:\n- "+
		box("app", "env then print $(TOKEN) then sleep", env, "hooks: {prestart: ["+hook(h, "prestart")+"], poststop: ["+hook(h, "poststop")+"]}",
			"readinessProbe: {exec: {command: [/w, env]}, periodSeconds: 1}"))
	hidden := func(when string) {
		t.Helper()
		for _, dir := range []string{w.state, w.data} {
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() || strings.Contains(path, "/logs/") || strings.Contains(path, "/io/") {
					return nil // it may be gone; what the container has said itself is its affair
				}
				if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(secret)) {
					t.Errorf("%s, a secret is in %s", when, path)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	w.wait("web", "ready", func(s sandbox) bool { return s.Status.Ready })
	w.said("web/app", "env TOKEN="+secret)
	w.said("web/app", "env DERIVED=<"+secret+">")
	w.said("web/app", secret)
	hidden("running")
	if _, err := os.Stat(filepath.Join(w.state, "sandboxes", "web", "bundles", "web.app.1", "config.json")); err != nil {
		t.Error(err) // else nothing was looked into
	}
	w.restart()
	w.running("web")
	if out := w.ok("exec", "web/app", "--", "/w", "env"); !strings.Contains(out, "TOKEN="+secret) || !strings.Contains(out, "DERIVED=<"+secret+">") || !strings.Contains(out, "PLAIN=shown") {
		t.Errorf("a command in the container sees %s", out)
	}
	if out := w.ok("exec", "web/app", "-e", "TOKEN=mine", "--", "/w", "env"); strings.Contains(out, "TOKEN="+secret) {
		t.Errorf("a variable of the command's own is %s", out)
	}
	hidden("after a restart")
	w.ok("restart", "web", "--gofers")
	w.wait("web", "a new gofer", func(s sandbox) bool { return s.box("app").GoferRestarts > 0 })
	hidden("after a new gofer")
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if r := w.run("exec", "web/app", "--", "/w", "env"); r.code == 0 || !strings.Contains(r.err, "variable TOKEN") {
		t.Errorf("without the file exec gives %+v", r)
	}
}
