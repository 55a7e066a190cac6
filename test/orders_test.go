package test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
