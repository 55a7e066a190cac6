package test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the daemon is told to obey must be root's: a bundle, a checkpoint, a
// hook's program, a file with a value, the configuration file.
func TestOrdersOfOthers(t *testing.T) {
	w := start(t)
	w.declare("source", app("sleep"))
	w.running("source")
	above := filepath.Join(w.dir, "above")
	if err := os.Mkdir(above, 0o755); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(above, "image")
	w.ok("checkpoint", "source", "--image-path", image)
	bundle := w.bundle("above/bundle", func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"/w", "sleep"}
	})
	hookProgram := w.hookScript("above/hook", "")
	value := filepath.Join(above, "value")
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
		"bundle":     {[]string{filepath.Join(bundle, "config.json"), bundle, above}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- {name: app, bundle: " + bundle + "}"},
		"checkpoint": {append(files, image, above), app("sleep", "hostname: source", "restoreFrom: "+image)},
		"hook":       {[]string{hookProgram, above}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- " + box("app", "sleep", "hooks: {prestart: ["+hook(hookProgram, "prestart")+"]}")},
		"value":      {[]string{value, above}, "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- " + box("app", "sleep", "env: [{name: V, valueFrom: {file: "+value+"}}]")},
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
	away := filepath.Join(above, "config.yaml")
	if err := errors.Join(os.WriteFile(away, nil, 0o600), os.Chown(above, 4711, 0)); err != nil {
		t.Fatal(err)
	}
	if r := w.run("daemon", "--config", away, "--state-dir", filepath.Join(w.dir, "x"), "--data-dir", filepath.Join(w.dir, "y")); r.code != 1 || !strings.Contains(r.err, "the folder "+above+" belongs to user 4711") {
		t.Errorf("a configuration file below somebody's folder: %+v", r)
	}
	if r := w.run("daemon", "--config", config, "--state-dir", filepath.Join(w.dir, "x"), "--data-dir", filepath.Join(w.dir, "y")); r.code != 1 || !strings.Contains(r.err, "other.yaml is refused: can be written by everybody") {
		t.Errorf("a configuration file of everybody's: %+v", r)
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
	unsealed, _, _ := strings.Cut(strings.ReplaceAll(string(b), good, evil), `,"signature"`)
	if err := errors.Join(os.WriteFile(file, []byte(unsealed+"}"), 0o600), os.Remove(filepath.Join(filepath.Dir(file), ".app.json.copy"))); err != nil {
		t.Fatal(err)
	}
	w.earlierRan() // else nothing of it would be believed
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
	if !poll(func() bool {
		return strings.Contains(strings.Join(strings.Fields(w.ok("events", "forged")), " "), "in no manifest that was accepted")
	}) {
		t.Errorf("nothing is told of it: %s", w.ok("events", "forged"))
	}
}

// earlierRan leaves behind what an earlier version does, which signs nothing: the
// next daemon believes records that the kernel has nothing against.
func (w *world) earlierRan() {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.data, "events.jsonl"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = f.WriteString(`{"time":"2026-01-02T03:04:05Z","type":"Normal","reason":"Started"}` + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		w.t.Fatal(err)
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
		unsealed, _, _ := strings.Cut(string(b), `,"signature"`)
		edited := edit(unsealed)
		if edited == unsealed {
			t.Fatalf("nothing was changed in %s", unsealed)
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "app.json"), []byte(edited+"}"), 0o600), os.Remove(filepath.Join(dir, ".app.json.copy"))); err != nil {
			t.Fatal(err)
		}
	}
	edit("forged", func(s string) string { return strings.Replace(s, `/forged.pid"`, `/theirs.pid"`, 1) })
	w.earlierRan() // else nothing of them would be believed
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
	again := func() {
		t.Helper()
		for name, spec := range orders {
			w.undeclare(name) // and with it, how long it would be waited
			w.gone(name)
			w.declare(name, spec)
		}
	}
	again()
	for name := range orders {
		w.wait(name, "refused", func(s sandbox) bool {
			b, _ := json.Marshal(s.Status)
			return strings.Contains(string(b), "volume that sandbox \\\"writer\\\" could write until")
		})
	}
	// Root says that they are what they should be.
	for _, path := range []string{image, bundle, program} {
		err := filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, time.Time{}, time.Now()))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	again()
	for name := range orders {
		w.running(name)
	}
}

// What a sandbox has left where it could write is not followed and not obeyed once
// it is gone, nor while it is another daemon's: a link, and a file that has another
// name elsewhere. Manifests are no exception.
func TestOrdersLeftByContainers(t *testing.T) {
	w := newWorld(t)
	second := w.beside("second")
	w.start()
	second.start()
	shared, safe, root := filepath.Join(w.dir, "shared"), filepath.Join(w.dir, "safe"), filepath.Join(w.dir, "shared", "root")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "real"), 0o755), os.Mkdir(safe, 0o755)); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(rootfs, "w"))
	if err := errors.Join(err, os.WriteFile(filepath.Join(root, "real", "w"), copied, 0o755)); err != nil {
		t.Fatal(err)
	}
	writer := "volumes: [{name: v, hostPath: {path: " + shared + "}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]")
	follows := "restartBackoff: {initial: 100ms, max: 100ms}\ncontainers:\n- {name: app, rootfs: {path: " + shared + "/link}, command: [/w, sleep]}"
	program := w.hookScript("safe/hook", "")
	obeys := "restartBackoff: {initial: 100ms, max: 100ms}\ncontainers:\n- " + box("app", "sleep", "hooks: {prestart: ["+hook(program, "prestart")+"]}")
	refused := func(name, why string) {
		t.Helper()
		w.wait(name, "refused", func(s sandbox) bool { b, _ := json.Marshal(s.Status); return strings.Contains(string(b), why) })
	}

	second.declare("web", writer)
	second.running("web")
	if err := os.Symlink(filepath.Join(root, "real"), filepath.Join(shared, "link")); err != nil {
		t.Fatal(err)
	}
	// A manifest in a volume, by a link, and one with another name in a volume.
	outside, twin := filepath.Join(shared, "l.yaml"), filepath.Join(w.manifests, "twin.yaml")
	w.declare("twin", app("sleep"))
	w.running("twin")
	text, err := os.ReadFile(twin)
	if err := errors.Join(err, os.WriteFile(outside, []byte(strings.ReplaceAll(string(text), "twin", "linked")), 0o644),
		os.Symlink(outside, filepath.Join(w.manifests, "linked.yaml")), os.Link(twin, filepath.Join(shared, "twin")), os.Link(program, filepath.Join(shared, "hook"))); err != nil {
		t.Fatal(err)
	}
	rejected := func(why string, files ...string) {
		t.Helper()
		if !w.until(func() bool {
			out := w.ok("get", "-o", "json")
			return !slices.ContainsFunc(files, func(f string) bool { return !strings.Contains(out, f+" is refused") }) && strings.Contains(out, why)
		}) {
			t.Errorf("%v are not refused (%s): %s", files, why, w.ok("get", "-o", "json"))
		}
	}
	config, kept := filepath.Join(safe, "config.yaml"), filepath.Join(w.data, "manifests", "twin.json")
	awaitFile(t, kept) // the store follows behind
	if err := errors.Join(os.WriteFile(config, nil, 0o600), os.Link(config, filepath.Join(shared, "config")), os.Link(kept, filepath.Join(shared, "kept"))); err != nil {
		t.Fatal(err)
	}
	if r := w.run("daemon", "--config", config, "--state-dir", filepath.Join(w.dir, "x"), "--data-dir", filepath.Join(w.dir, "y")); r.code != 1 || !strings.Contains(r.err, "hard links") {
		t.Errorf("a configuration file that has a name in a volume: %+v", r)
	}
	w.put("touched.yaml", "") // has them looked at
	rejected("can write", outside, twin)
	w.declare("follows", follows)
	w.declare("obeys", obeys)
	refused("follows", "volume that sandbox \\\"web\\\" can write")
	refused("obeys", "hard links")

	second.undeclare("web")
	second.gone("web")
	w.put("touched.yaml", "# again")
	rejected("could write until", outside, twin)
	refused("follows", "volume that sandbox \\\"web\\\" could write until")
	refused("obeys", "hard links") // other sandboxes of this host may write on that disk as well
	w.kill()
	w.start()
	refused("follows", "volume that sandbox \\\"web\\\" could write until")
	if calls := w.calls(); len(calls) > 0 {
		t.Errorf("hooks ran: %+v", calls)
	}
	if err := os.WriteFile(filepath.Join(shared, "kept"), []byte("evil"), 0); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(kept); err != nil || strings.Contains(string(b), "evil") {
		t.Errorf("the daemon's file is written by another name: %q, %v", b, err)
	}

	// Root says that it is what it should be.
	if err := errors.Join(os.Remove(filepath.Join(shared, "link")), os.Symlink(filepath.Join(root, "real"), filepath.Join(shared, "link")),
		os.Remove(filepath.Join(shared, "hook")), os.Remove(filepath.Join(shared, "twin")), os.Chtimes(outside, time.Time{}, time.Now())); err != nil {
		t.Fatal(err)
	}
	w.put("touched.yaml", "# once more")
	w.running("follows")
	w.running("obeys")
	w.running("linked")
}

// What a container could write is not obeyed either where root has given the volume
// another name, while it runs and afterwards.
func TestOrdersRenamed(t *testing.T) {
	w := start(t)
	at := func(name string) string { return filepath.Join(w.dir, name) }
	if err := errors.Join(os.MkdirAll(at("v/sub"), 0o755), os.Symlink(rootfs, at("v/sub/link")), os.Mkdir(at("later"), 0o755)); err != nil {
		t.Fatal(err)
	}
	program := w.hookScript("v/sub/hook", "")
	w.declare("writer", "volumes: [{name: v, hostPath: {path: "+at("v")+"}}]\ncontainers:\n- "+box("app", "sleep", "volumeMounts: [{name: v, mountPath: /v}]"))
	w.running("writer")
	check := func(now, why string) {
		t.Helper()
		for name, spec := range map[string]string{
			"obeys":   box("app", "sleep", "hooks: {prestart: ["+hook(strings.Replace(program, at("v"), now, 1), "prestart")+"]}"),
			"follows": "{name: app, rootfs: {path: " + now + "/sub/link}, command: [/w, sleep]}",
		} {
			w.declare(name, "restartBackoff: {initial: 100ms, max: 100ms}\ncontainers:\n- "+spec)
			w.wait(name, "refused at "+now, func(s sandbox) bool { b, _ := json.Marshal(s.Status); return strings.Contains(string(b), why) })
			w.undeclare(name)
			w.gone(name)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(at(from), at(to)); err != nil {
			t.Fatal(err)
		}
	}
	rename("v", "renamed")
	check(at("renamed"), "volume that sandbox \\\"writer\\\" can write")
	w.undeclare("writer")
	w.gone("writer")
	rename("renamed", "later/again")
	w.kill()
	w.start()
	check(at("later/again"), "volume that sandbox \\\"writer\\\" could write until")
	if calls := w.calls(); len(calls) > 0 {
		t.Errorf("hooks ran: %+v", calls)
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
