package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// report unpacks what debug dump has written, by name without the folder.
func report(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if files[name] = string(b); h.Mode != 0o600 {
			t.Errorf("%s has mode %o", name, h.Mode)
		}
	}
}

// A bug report has what is needed, and no secret in any of its files: with a daemon,
// with one that hangs, and without one.
func TestDebugDump(t *testing.T) {
	w := newWorld(t)
	token := filepath.Join(w.dir, "token")
	if err := os.WriteFile(token, []byte("fromfile-hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	spec := "volumes:\n- {name: conf, files: {app.conf: content-hunter2}}\ncontainers:\n- " + box("app", "sleep",
		"env: [{name: PLAIN, value: literal-hunter2}, {name: TOKEN, valueFrom: {file: DIR/token}}]",
		"volumeMounts: [{name: conf, mountPath: /conf}]",
		"readinessProbe: {periodSeconds: 1, httpGet: {port: 1, httpHeaders: [{name: Authorization, value: header-hunter2}]}}",
		"hooks: {poststart: [{path: /bin/sh, args: [sh, -c, 'echo $PASSWORD; exit 1'], env: ['PASSWORD=hook-hunter2']}]}")
	w.declare("web", spec)
	was := w.running("web").box("app").ID
	w.told("web", "HookFailed")
	// A manifest that changes tells what has changed.
	w.declare("web", strings.ReplaceAll(spec, "literal-hunter2", "another-hunter2"))
	w.told("web", "Changed")
	w.wait("web", "made anew", func(s sandbox) bool { return s.box("app").ID != was && s.box("app").State == "running" })
	w.put("bad.yaml", "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: bad}\nspec: {containers: []}\n")

	check := func(files map[string]string, has ...string) {
		t.Helper()
		for _, name := range has {
			if len(files[name]) == 0 {
				t.Errorf("there is no %s", name)
			}
		}
		for name, text := range files {
			if at := strings.Index(text, "hunter2"); at >= 0 {
				t.Errorf("%s has a secret: …%s…", name, text[max(at-60, 0):at+7])
			}
			if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
				t.Errorf("%s is no JSON: %s", name, text)
			}
		}
	}
	usual := []string{"README.txt", "version.json", "host.json", "events.json", "mountinfo.txt"}
	dump := func(args ...string) map[string]string {
		t.Helper()
		return report(t, []byte(w.ok(append([]string{"debug", "dump", "-o", "-"}, args...)...)))
	}
	whole := dump()
	check(whole, append(usual, "config.json", "sandboxes.json", "sandboxes/web.json", "state.json", "log.txt", "goroutines.txt", "heap.pb.gz")...)
	var state struct {
		Counts    map[string]int
		Settings  struct{ StateDir, DataDir string }
		Sandboxes []struct {
			Name   string
			Passes int
			Record struct {
				Sentry     string
				Containers []struct{ Gofer, Keeper, State string }
			}
		}
		Missing []string
	}
	if err := json.Unmarshal([]byte(whole["state.json"]), &state); err != nil {
		t.Fatal(err)
	}
	c := state.Counts
	if c["sentries"] != 1 || c["gofers"] < 1 || c["keepers"] < 1 || c["goroutines"] < 10 || c["openFiles"] < 10 || c["processWatches"] < 3 || c["endWaits"] < 1 || len(state.Missing) > 0 {
		t.Errorf("%+v, %v", c, state.Missing)
	}
	if len(state.Sandboxes) != 1 || state.Sandboxes[0].Passes == 0 || state.Sandboxes[0].Record.Sentry != "alive" ||
		len(state.Sandboxes[0].Record.Containers) == 0 || state.Settings.StateDir != w.state {
		t.Errorf("%s", whole["state.json"])
	}
	if !strings.Contains(whole["sandboxes/web.json"], "PLAIN") || !strings.Contains(whole["sandboxes/web.json"], token) ||
		!strings.Contains(whole["events.json"], "HookFailed") || !strings.Contains(whole["log.txt"], "started") ||
		!strings.Contains(whole["goroutines.txt"], "sandboxer/reconcile.(*Loop)") || !strings.Contains(whole["mountinfo.txt"], " / ") {
		t.Errorf("it lacks something")
	}
	if env := dump("--with-env"); !strings.Contains(env["sandboxes/web.json"], "another-hunter2") ||
		strings.Contains(strings.ReplaceAll(env["sandboxes/web.json"], "another-hunter2", ""), "hunter2") {
		t.Errorf("with variables: %s", env["sandboxes/web.json"])
	}

	disk := []string{"--state-dir", w.state, "--data-dir", w.data, "--config", w.config()}
	onDisk := append(usual, "manifests/web.json", "records/web.json", "config.json")
	if err := w.daemon.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hung := w.run(append([]string{"debug", "dump", "-o", "-"}, disk...)...)
	if err := w.daemon.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if hung.code != 0 || !strings.Contains(hung.err, "no answer within") {
		t.Errorf("of a daemon that hangs: %+v", hung)
	} else {
		check(report(t, []byte(hung.out)), onDisk...)
	}
	w.kill()
	away := dump(disk...)
	check(away, onDisk...)
	if !strings.Contains(away["records/web.json"], `"state": "running"`) || !strings.Contains(away["README.txt"], "no daemon runs") ||
		!strings.Contains(away["events.json"], "HookFailed") {
		t.Errorf("without a daemon: %s\n%s", away["README.txt"], away["records/web.json"])
	}
	w.start()
	w.undeclare("bad")
}
