package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a container was made from can be another one on the host by now: plan and
// the sandbox's condition say so, of another daemon too, nothing is restarted for
// it, and a restart takes it up. A file that was written anew with what it had is
// no other.
func TestReplacedSourcesAreTold(t *testing.T) {
	w := start(t, "--resync", "500ms")
	at := func(name string) string { return filepath.Join(w.dir, name) }
	change := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name, content string) error {
		return os.WriteFile(at(name), []byte(content), 0o600)
	}
	change(os.Symlink(rootfs, at("root")), os.Mkdir(at("v"), 0o755), write("secret", "one\n"), write("file", "1"))
	dir := w.bundle("b", func(map[string]any) {})
	w.declare("web", `
volumes: [{name: data, hostPath: {path: DIR/v}}, {name: conf, hostPath: {path: DIR/file}}]
containers:
- name: app
  rootfs: {path: DIR/root}
  command: [/w, env, then, read, /conf, then, sleep]
  env: [{name: TOKEN, valueFrom: {file: DIR/secret}}]
  volumeMounts: [{name: data, mountPath: /data}, {name: conf, mountPath: /conf}]
- {name: other, bundle: `+dir+`, command: [/w, sleep]}`)
	was := w.running("web")
	const none = "Nothing to do: all is as declared."
	change(write("again", "one\n"), os.Rename(at("again"), at("secret")))
	says := func(what string, is func(out string) bool) {
		t.Helper()
		if !poll(func() bool { return is(w.ok("plan")) }) {
			t.Fatalf("%s, and plan says: %s", what, w.ok("plan"))
		}
	}
	isNone := func(out string) bool { return strings.Contains(out, none) }
	says("nothing was changed", isNone)
	notes := []string{}
	for _, c := range []struct {
		note   string
		change func()
	}{
		{"variable TOKEN's file " + at("secret") + " was changed since container \"app\"", func() {
			change(write("again", "two\n"), os.Rename(at("again"), at("secret")))
		}},
		{`volume "data"'s hostPath ` + at("v") + " was removed", func() { change(os.Rename(at("v"), at("old"))) }},
		{`volume "data"'s hostPath ` + at("v") + " was replaced", func() { change(os.Mkdir(at("v"), 0o755)) }},
		{`volume "conf"'s hostPath ` + at("file") + " was replaced", func() {
			change(write("again", "2"), os.Rename(at("again"), at("file")))
		}},
		{"the root directory " + at("root") + " was replaced", func() {
			change(os.Remove(at("root")), os.CopyFS(at("root"), os.DirFS(rootfs)))
		}},
		{"the bundle's " + dir + "/config.json was changed since container \"other\"", func() {
			text, err := os.ReadFile(filepath.Join(dir, "config.json"))
			change(err, os.WriteFile(filepath.Join(dir, "config.json"), append(text, '\n'), 0o600))
		}},
	} {
		c.change()
		says(fmt.Sprintf("want %q", c.note), func(out string) bool {
			return !isNone(out) && strings.Contains(out, c.note) && strings.Contains(out, "sandboxer restart web")
		})
		if !strings.Contains(c.note, "removed") {
			notes = append(notes, c.note)
		}
	}
	w.kill()
	w.start()
	now := w.wait("web", "told of all", func(s sandbox) bool {
		for _, n := range notes {
			if s.Status.Reason != "SourceReplaced" || !strings.Contains(s.Status.Message, n) {
				return false
			}
		}
		return true
	})
	for _, c := range []string{"app", "other"} {
		w.same(was, now, c)
	}
	w.ok("restart", "web")
	w.said("web/app", "env TOKEN=two")
	w.wait("web", "nothing to tell", func(s sandbox) bool { return running(s) && s.Status.Reason == "" })
	says("it was restarted", isNone)
}

// An unmount below a root or a volume is never busy for a sandbox that runs, which
// goes on with what was mounted: below a root until its container is restarted,
// below a volume until the sandbox has been stopped. What is mounted meanwhile is
// seen from then on, too.
func TestMountsBelowStayAsTheyWere(t *testing.T) {
	w := start(t)
	root, volume := filepath.Join(w.dir, "root"), filepath.Join(w.dir, "v")
	if err := os.CopyFS(root, os.DirFS(rootfs)); err != nil {
		t.Fatal(err)
	}
	mounts := []string{filepath.Join(root, "disk"), filepath.Join(volume, "disk")}
	mount := func(dir, file string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, file := range []string{"/disk/early", "/v/disk/early", "/disk/late", "/v/disk/late"} {
			if w.run("exec", "web", "--", "/w", "read", file).code == 0 {
				got = append(got, file)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the container sees %q, want %q", when, got, want)
		}
	}
	spec := "volumes: [{name: v, hostPath: {path: DIR/v}}]\ncontainers:\n" +
		"- {name: app, rootfs: {path: DIR/root}, command: [/w, sleep], volumeMounts: [{name: v, mountPath: /v}]}"
	for _, dir := range mounts {
		mount(dir, "early")
	}
	w.declare("web", spec)
	w.running("web")
	for _, dir := range mounts {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatalf("unmounting %s: %v", dir, err)
		}
		mount(dir, "late")
	}
	seen("while it runs", "/disk/early", "/v/disk/early")
	w.ok("restart", "web")
	seen("after a restart", "/v/disk/early", "/disk/late")
	w.declare("web", "state: Stopped\n"+spec)
	w.wait("web", "stopped", phase("Stopped"))
	w.declare("web", spec)
	w.running("web")
	seen("after a stop", "/disk/late", "/v/disk/late")
	for _, dir := range mounts {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	}
}
