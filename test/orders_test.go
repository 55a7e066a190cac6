package test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// What the daemon is told to obey must be root's: a bundle, a checkpoint, a
// hook's program, a file with a value, the configuration file.
func TestOrdersOfOthers(t *testing.T) {
	w := start(t)
	w.declare("source", app("sleep"))
	w.running("source")
	image := filepath.Join(w.dir, "image")
	w.ok("checkpoint", "source", "--image-path", image)
	bundle := w.bundle("bundle", func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"/w", "sleep"}
	})
	hookProgram := w.hookScript("hook", "")
	value := filepath.Join(w.dir, "value")
	if err := os.WriteFile(value, []byte("v"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(image, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	failed := func(why string) check {
		return func(s sandbox) bool {
			b, _ := json.Marshal(s.Status)
			return strings.Contains(string(b), "is refused") && strings.Contains(string(b), why)
		}
	}
	for name, c := range map[string]struct {
		spoil []string // each a file of its own to spoil
		spec  string
	}{
		"bundle":     {[]string{filepath.Join(bundle, "config.json"), bundle}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- {name: app, bundle: " + bundle + "}"},
		"checkpoint": {append(files, image), app("sleep", "hostname: source", "restoreFrom: "+image)},
		"hook":       {[]string{hookProgram}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- " + box("app", "sleep", "hooks: {prestart: ["+hook(hookProgram, "prestart")+"]}")},
		"value":      {[]string{value}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- " + box("app", "sleep", "env: [{name: V, valueFrom: {file: "+value+"}}]")},
	} {
		for i, path := range c.spoil {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			why := "user 4711"
			if i%2 == 0 {
				err = os.Chown(path, 4711, 4711)
			} else {
				why, err = "by everybody", os.Chmod(path, 0o777)
			}
			if err != nil {
				t.Fatal(err)
			}
			w.declare(name, c.spec)
			w.wait(name, "refused for "+path, failed(why))
			w.undeclare(name)
			w.gone(name)
			if err := errors.Join(os.Chown(path, 0, 0), os.Chmod(path, info.Mode().Perm())); err != nil {
				t.Fatal(err)
			}
		}
		w.declare(name, c.spec)
		w.running(name)
		w.undeclare(name)
		w.gone(name)
	}
	if calls := w.calls(); len(calls) != 1 {
		t.Errorf("hooks ran: %+v", calls)
	}
	config := filepath.Join(w.dir, "other.yaml")
	if err := errors.Join(os.WriteFile(config, []byte("allowUnsafeManifests: true\n"), 0o666), os.Chmod(config, 0o666)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sandboxer, "daemon", "--config", config, "--state-dir", filepath.Join(w.dir, "x"), "--data-dir", filepath.Join(w.dir, "y")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "other.yaml is refused: can be written by everybody") {
		t.Errorf("a configuration file of everybody's: %v, %s", err, out)
	}
}

// A record can't have a hook run that was never declared, whatever it says and
// whether its manifest is still there; those that were declared run all the same.
func TestHooksOfARecord(t *testing.T) {
	w := start(t)
	good, evil := w.hookScript("good", ""), w.hookScript("evil", "")
	for _, name := range []string{"web", "forged"} {
		w.declare(name, "containers:\n- "+box("app", "sleep", "hooks: {poststop: ["+hook(good, name)+"]}"))
		w.running(name)
	}
	w.kill()
	file := filepath.Join(w.state, "sandboxes", "forged", "containers", "app.json")
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), good) {
		t.Fatal(err, string(b))
	}
	unsealed, _, _ := strings.Cut(strings.ReplaceAll(string(b), good, evil), `,"checksum"`)
	if err := errors.Join(os.WriteFile(file, []byte(unsealed+"}"), 0o600), os.Remove(filepath.Join(filepath.Dir(file), ".app.json.copy"))); err != nil {
		t.Fatal(err)
	}
	w.undeclare("web")
	w.undeclare("forged")
	w.start()
	w.gone("web")
	w.gone("forged")
	for _, c := range w.calls() {
		if c.point != "web" {
			t.Errorf("%+v ran", c)
		}
	}
	if n := len(w.calls()); n != 1 {
		t.Errorf("%d hooks ran, want the one that was declared", n)
	}
	if out := strings.Join(strings.Fields(w.ok("events", "forged")), " "); !strings.Contains(out, "in no manifest that was accepted") {
		t.Errorf("nothing is told of it: %s", out)
	}
}

// A record can't have a file removed that is no pid file of its container's,
// though it holds that pid; those that are go, also an earlier version's, which has
// no seal.
func TestPIDFileOfARecord(t *testing.T) {
	w := start(t)
	spec := func(name string) string { return "containers:\n- " + box("app", "sleep", "pidFile: DIR/"+name+".pid") }
	names := []string{"web", "forged", "earlier"}
	for _, name := range names {
		w.declare(name, spec(name))
	}
	for _, name := range names {
		w.running(name)
	}
	theirs := filepath.Join(w.dir, "theirs.pid")
	pid, err := os.ReadFile(filepath.Join(w.dir, "forged.pid"))
	if err := errors.Join(err, os.WriteFile(theirs, pid, 0o644)); err != nil || len(pid) == 0 {
		t.Fatal(err)
	}
	w.kill()
	edit := func(name string, edit func(string) string) {
		dir := filepath.Join(w.state, "sandboxes", name, "containers")
		b, err := os.ReadFile(filepath.Join(dir, "app.json"))
		unsealed, _, _ := strings.Cut(string(b), `,"checksum"`)
		edited := edit(unsealed)
		if edited == unsealed {
			t.Fatalf("nothing was changed in %s", unsealed)
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "app.json"), []byte(edited+"}"), 0o600), os.Remove(filepath.Join(dir, ".app.json.copy"))); err != nil {
			t.Fatal(err)
		}
	}
	edit("forged", func(s string) string { return strings.Replace(s, `/forged.pid"`, `/theirs.pid"`, 1) })
	edit("earlier", func(s string) string { return regexp.MustCompile(`,"seal":"[0-9a-f]+"`).ReplaceAllString(s, "") })
	w.undeclare("web")
	w.undeclare("forged")
	w.start()
	w.declare("earlier", "state: Stopped\n"+spec("earlier"))
	w.gone("web")
	w.gone("forged")
	w.wait("earlier", "stopped", phase("Stopped"))
	if got, err := os.ReadFile(theirs); string(got) != string(pid) {
		t.Errorf("another's file holds %q, not %q: %v", got, pid, err)
	}
	for _, name := range []string{"web", "earlier"} {
		if exists(filepath.Join(w.dir, name+".pid")) {
			t.Errorf("the pid file of %s is left", name)
		}
	}
}

// What the daemon obeys is in no volume that a container can write, whoever it
// belongs to: its container would command the host.
func TestOrdersOfContainers(t *testing.T) {
	w := start(t)
	shared := filepath.Join(w.dir, "shared")
	bundle := w.bundle("shared/bundle", func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"/w", "sleep"}
	})
	program := w.hookScript("shared/hook", "")
	w.declare("source", app("sleep"))
	w.running("source")
	image := filepath.Join(shared, "image")
	w.ok("checkpoint", "source", "--image-path", image)
	orders := map[string]string{
		"bundle":   "restartBackoff: {initial: 100ms, max: 100ms}\ncontainers:\n- {name: app, bundle: " + bundle + "}",
		"hook":     "restartBackoff: {initial: 100ms, max: 100ms}\ncontainers:\n- " + box("app", "sleep", "hooks: {prestart: ["+hook(program, "prestart")+"]}"),
		"restored": app("sleep", "hostname: source", "restoreFrom: "+image),
	}
	writer := func(more string) string {
		return "volumes: [{name: v, hostPath: {path: " + shared + "}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v"+more+"}]")
	}
	w.declare("writer", writer(""))
	w.running("writer")
	for name, spec := range orders {
		w.declare(name, spec)
		w.wait(name, "refused", func(s sandbox) bool {
			b, _ := json.Marshal(s.Status)
			return strings.Contains(string(b), "volume that sandbox \\\"writer\\\" can write")
		})
	}
	if calls := w.calls(); len(calls) > 0 {
		t.Errorf("hooks ran: %+v", calls)
	}
	if err := os.Symlink(w.dir, filepath.Join(shared, "out")); err != nil {
		t.Fatal(err)
	}
	if got := w.run("checkpoint", "source", "--image-path", filepath.Join(shared, "out", "planted")); got.code == 0 || !strings.Contains(got.err, "writer") {
		t.Errorf("a checkpoint goes where a container likes: %+v", got)
	}
	w.undeclare("writer") // what a sandbox could write once, it can as long as it is there
	w.gone("writer")
	w.declare("writer", writer(", readOnly: true"))
	w.running("writer")
	for name, spec := range orders {
		w.undeclare(name) // and with it, how long it would be waited
		w.gone(name)
		w.declare(name, spec)
	}
	for name := range orders {
		w.running(name)
	}
}

// The runtime's log is a regular file, and no link that others could have made
// leads there.
func TestUserLogsPath(t *testing.T) {
	w := start(t)
	fifo, link, open := filepath.Join(w.dir, "fifo"), filepath.Join(w.dir, "open", "link"), filepath.Join(w.dir, "open")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.Symlink(w.dir, link)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, why string }{
		"fifo":   {fifo, "not a regular file"},
		"link":   {link + "/log", "others could have made it"},
		"device": {"/dev/null", "not a regular file"},
	} {
		w.declare(name, "containers:\n- "+box("app", "sleep", "userLog: "+c.path))
		w.wait(name, "refused", func(s sandbox) bool {
			b, _ := json.Marshal(s.Status)
			return strings.Contains(string(b), c.why)
		})
	}
	w.declare("made", "containers:\n- "+box("app", "sleep", "userLog: DIR/new/folder/log"))
	w.running("made")
	if _, err := os.Stat(filepath.Join(w.dir, "new", "folder", "log")); err != nil {
		t.Error(err)
	}
}
