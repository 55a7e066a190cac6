package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each class of a change touches what the manifests' page says and no more.
func TestClassesOfChanges(t *testing.T) {
	w := start(t)
	spec := func(more, first string) string {
		return more + "\ncontainers:\n- " + box("one", first) + "\n- " + box("two", "sleep")
	}
	w.declare("web", spec("hostname: a", "sleep"))
	was := w.running("web")

	plan := func(spec string) string {
		path := filepath.Join(w.dir, "new.yaml")
		if err := os.WriteFile(path, []byte(w.document("web", spec)), 0o644); err != nil {
			t.Fatal(err)
		}
		return w.ok("plan", path, "-o", "json")
	}
	in := spec("hostname: a\nrestartPolicy: OnFailure\nterminationGracePeriodSeconds: 7", "sleep")
	w.declare("web", in)
	now := w.wait("web", "as declared", func(s sandbox) bool { return running(s) && s.Status.SpecHash != was.Status.SpecHash })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("one").ID != was.box("one").ID || now.box("two").ID != was.box("two").ID {
		t.Errorf("a change in place touched a process: %+v became %+v", was, now)
	}

	in = spec("hostname: a\nrestartPolicy: OnFailure\nterminationGracePeriodSeconds: 7", "print anew then sleep")
	if out := plan(in); !strings.Contains(out, `"class": "container"`) || !strings.Contains(out, `"container": "one"`) || strings.Contains(out, `"two"`) {
		t.Errorf("the plan for a changed command is %s", out)
	}
	w.declare("web", in)
	now = w.wait("web", "as declared", func(s sandbox) bool { return running(s) && s.box("one").ID != was.box("one").ID })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("two").ID != was.box("two").ID || *now.box("two").GoferPID != *was.box("two").GoferPID {
		t.Errorf("a change of one container touched others: %+v became %+v", was, now)
	}
	w.said("web/one", "anew")

	in = spec("hostname: b", "hostname then sleep")
	if out := plan(in); !strings.Contains(out, `"class": "sandbox"`) {
		t.Errorf("the plan for a changed host name is %s", out)
	}
	w.declare("web", in)
	now = w.wait("web", "as declared", func(s sandbox) bool { return running(s) && s.Status.SandboxPID != was.Status.SandboxPID })
	w.said("web/one", "hostname b")
	for _, c := range now.Status.Containers {
		if c.RestartCount != 0 {
			t.Errorf("a change was counted as a restart: %+v", c)
		}
	}
}

// A document that is rejected changes nothing, also across a daemon's restart.
func TestRejectedEditKeepsWhatRuns(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	w.stored("web", "sleep")
	w.declare("web", app("sleep", "state: Runing"))
	rejected := func(s sandbox) bool { return s.has("ManifestRejected") && running(s) }
	now := w.wait("web", "rejected", rejected)
	c, _ := now.condition("ManifestRejected")
	if !strings.Contains(c.Message, "web.yaml:5: spec.state:") || !strings.Contains(now.Status.Message, "Runing") {
		t.Errorf("the condition says %q, the status %q", c.Message, now.Status.Message)
	}
	w.restart()
	now = w.wait("web", "rejected", rejected)
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").ID != was.box("app").ID || now.DesiredState != "Running" {
		t.Errorf("a rejected edit changed %+v to %+v", was, now)
	}
	// What can't be read at all declares no less.
	w.put("web.yaml", "{ this: is: no: yaml")
	now = w.wait("web", "rejected for another reason", func(s sandbox) bool {
		c, _ := s.condition("ManifestRejected")
		return running(s) && c.Message != "" && !strings.Contains(c.Message, "Runing")
	})
	// A file that declares nothing removes nothing.
	before, _ := now.condition("ManifestRejected")
	w.put("web.yaml", "# soon\n")
	w.wait("web", "held", func(s sandbox) bool {
		return len(s.Status.Conditions) > 0 && s.Status.Conditions[0].Message != before.Message && s.Status.SandboxPID == was.Status.SandboxPID
	})
	w.declare("web", app("sleep"))
	now = w.wait("web", "accepted", func(s sandbox) bool { return running(s) && len(s.Status.Conditions) == 0 })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.Status.Message != "" {
		t.Errorf("it ended up as %+v", now)
	}
}

// Directories that are swapped through links, sub-folders, several documents
// in a file, and names that are no manifests.
func TestFilesAndLinks(t *testing.T) {
	w := newWorld(t)
	write := func(path, content string) {
		path = filepath.Join(w.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(rev string) {
		next := filepath.Join(w.dir, "next")
		if err := os.Symlink(rev, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(w.dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	one, two := w.document("one", app("sleep")), w.document("two", app("sleep"))
	write("rev1/all.yaml", one+"---\n"+two)
	write("rev1/.hidden.yaml", w.document("hidden", app("sleep")))
	write("rev1/notes.txt", "none")
	write("rev2/one.yml", one)
	write("rev2/sub/three.json", `{"apiVersion": "sandboxer/v1", "kind": "Sandbox", "metadata": {"name": "three"},
		"spec": {"containers": [{"name": "app", "rootfs": {"path": "`+rootfs+`"}, "command": ["/w", "sleep"]}]}}`)
	swap("rev1")
	if err := os.Symlink("../current", filepath.Join(w.manifests, "linked")); err != nil {
		t.Fatal(err)
	}
	w.start()
	was := w.running("one")
	w.running("two")
	swap("rev2")
	w.running("three")
	w.gone("two")
	now := w.wait("one", "from another file", func(s sandbox) bool { return running(s) && strings.HasSuffix(s.Source, "one.yml") })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").ID != was.box("app").ID {
		t.Errorf("a document that moved to another file was made anew")
	}
	if _, known := w.get("hidden"); known {
		t.Errorf("a hidden file was taken for a manifest")
	}
	w.mu.Lock()
	w.names["three"] = true
	w.mu.Unlock()
	// A link that leads nowhere says nothing about what it declared.
	if err := os.Remove(filepath.Join(w.dir, "current")); err != nil {
		t.Fatal(err)
	}
	w.wait("linked", "reported", func(s sandbox) bool { return s.has("ManifestRejected") && strings.Contains(s.Status.Message, "link") })
	swap("rev2")
	if !w.until(func() bool { _, reported := w.get("linked"); return !reported }) {
		t.Errorf("it is still reported")
	}
	if now := w.running("one"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("a folder that could not be read for a while cost what it declared")
	}
}

// Two documents with one name: both files are named, and what ran goes on.
func TestOneNameTwice(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	was := w.running("web")
	w.put("again.yaml", w.document("web", app("print other then sleep")))
	now := w.wait("web", "ambiguous", func(s sandbox) bool { return s.has("ManifestRejected") })
	c, _ := now.condition("ManifestRejected")
	if !strings.Contains(c.Message, "web.yaml") || !strings.Contains(c.Message, "again.yaml") {
		t.Errorf("the condition says %q", c.Message)
	}
	if err := os.Remove(filepath.Join(w.manifests, "again.yaml")); err != nil {
		t.Fatal(err)
	}
	now = w.wait("web", "accepted", func(s sandbox) bool { return running(s) && len(s.Status.Conditions) == 0 })
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("app").ID != was.box("app").ID {
		t.Errorf("it was made anew")
	}
}

// What goes while the daemon is away is away at its first scan, if nobody has
// to wait for it to settle.
func TestGoneWhileTheDaemonIsAway(t *testing.T) {
	w := start(t, "--settle", "0s")
	for range 3 {
		w.declare("web", app("sleep"))
		w.running("web")
		w.kill()
		w.undeclare("web")
		w.start()
		w.gone("web")
	}
}

// What is put back in time was never away, and what goes while the daemon is
// away is away.
func TestSettling(t *testing.T) {
	w := start(t, "--settle", "1h")
	w.declare("web", app("sleep"))
	was := w.running("web")
	w.undeclare("web")
	w.declare("mark", app("sleep")) // seen in a scan that also misses the other
	w.running("mark")
	w.declare("web", app("sleep"))
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew")
	}
	w.kill()
	w.undeclare("web")
	w.flags = nil // the harness's short settling
	w.start()
	w.gone("web")
	w.running("mark")
}
