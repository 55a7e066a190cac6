package test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounting is a bundle that mounts a tmpfs at /dev/shm, with options, and may
// run any user's programs.
func (w *world) mounting(name string, options ...string) string {
	return w.bundle(name, func(c map[string]any) {
		c["process"] = map[string]any{"args": []string{"/w", "sleep"}, "cwd": "/"}
		c["mounts"] = append(c["mounts"].([]any), map[string]any{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options})
	})
}

// memories is a spec of a sandbox whose containers have its /dev/shm ("one" to
// "four") or another: a volume, or a tmpfs that a bundle has there.
func (w *world) memories() (spec func(more ...string) string) {
	bundles := []string{
		w.bundle("b0", func(c map[string]any) { c["process"] = map[string]any{"args": []string{"/w", "sleep"}, "cwd": "/"} }),
		w.mounting("b1", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
		w.mounting("b2", "mode=1777", "size=1m"),
	}
	return func(more ...string) string {
		return strings.Join(append(more, "volumes: [{name: e, emptyDir: {}}]",
			"initContainers:", "- "+box("first", "write /dev/shm/init x"),
			"containers:",
			"- "+box("one", "sleep"),
			"- "+box("two", "sleep", "securityContext: {runAsUser: 7, runAsGroup: 8, readOnlyRootFilesystem: true}"),
			"- {name: three, bundle: "+bundles[0]+"}",
			"- {name: four, bundle: "+bundles[1]+"}",
			"- "+box("volume", "sleep", "volumeMounts: [{name: e, mountPath: /dev/shm}]"),
			"- {name: bundle, bundle: "+bundles[2]+"}",
			"- {name: both, bundle: "+bundles[1]+", volumeMounts: [{name: e, mountPath: /dev/shm}]}",
		), "\n")
	}
}

// remembers makes sure that what one writes to /dev/shm the others find.
func (w *world) remembers(name, when string) {
	w.t.Helper()
	w.ok("exec", name+"/two", "--", "/w", "write", "/dev/shm/word", when)
	for _, c := range []string{"one", "two", "three", "four"} {
		if got := w.ok("exec", name+"/"+c, "--", "/w", "read", "/dev/shm/word", "then", "read", "/dev/shm/init"); got != when+"\nx\n" {
			w.t.Errorf("%s, %s finds %q", when, c, got)
		}
	}
	for _, c := range []string{"volume", "bundle", "both"} {
		if got := w.ok("exec", name+"/"+c, "--", "/w", "list", "/dev/shm"); strings.Contains(got, "word") {
			w.t.Errorf("%s, %s, which has another, finds %q", when, c, got)
		}
	}
}

// /dev/shm is the sandbox's, as a Pod's is: of all its containers, in order, and
// of those that are started again. Its content is gone when the sandbox is.
func TestSharedMemory(t *testing.T) {
	w := start(t)
	spec := w.memories()
	w.declare("web", spec())
	was := w.running("web")
	w.remembers("web", "at first")

	s := w.session("exec", "web/two", "--", "/w", "take", "/dev/shm/sem")
	s.expect("waiting for /dev/shm/sem")
	w.ok("exec", "web/one", "--", "/w", "give", "/dev/shm/sem")
	s.expect("took /dev/shm/sem")
	s.ends(0)
	if got := w.ok("exec", "web/four", "--", "/w", "fill", "/dev/shm/big", "then", "remove", "/dev/shm/big"); !strings.HasPrefix(got, "filled 67") || !strings.Contains(got, "no space left") {
		t.Errorf("what does not fit: %s", got)
	}
	if got := w.ok("exec", "web/bundle", "--", "/w", "fill", "/dev/shm/big", "then", "remove", "/dev/shm/big"); got != "filled 1048576 then no space left on device\n" {
		t.Errorf("what does not fit into a bundle's own: %s", got)
	}

	w.ok("restart", "--gofers", "web")
	w.remembers("web", "with other gofers")
	w.restart()
	now := w.running("web")
	w.same(was, now, "one")
	w.remembers("web", "under another daemon")
	w.ok("restart", "web/one", "web/two", "web/three", "web/four", "web/both") // alone: init containers do not run again
	w.wait("web", "made anew", func(s sandbox) bool {
		return running(s) && s.box("one").ID != was.box("one").ID && s.box("both").ID != was.box("both").ID
	})
	w.remembers("web", "by containers that were made anew")
	w.declare("web", spec("state: Suspended"))
	w.suspended("web")
	w.restart()
	w.declare("web", spec())
	was = w.running("web")
	w.remembers("web", "after a restore")
	w.ok("restart", "web/two", "web/four")
	w.wait("web", "made anew", func(s sandbox) bool {
		return running(s) && s.box("two").ID != was.box("two").ID && s.box("four").ID != was.box("four").ID
	})
	w.remembers("web", "by containers that were made anew after a restore")

	w.declare("web", spec("state: Stopped"))
	w.wait("web", "stopped", phase("Stopped"))
	w.declare("web", spec())
	w.running("web")
	if got := w.ok("exec", "web/one", "--", "/w", "list", "/dev/shm"); strings.Contains(got, "word") {
		t.Errorf("of a sandbox that was stopped there is left %q", got)
	}
}

// A sandbox that is made from a checkpoint has what was in /dev/shm then.
func TestSharedMemoryFromCheckpoint(t *testing.T) {
	w := start(t)
	spec := func(more ...string) string {
		return strings.Join(append(more, "hostname: twin\ncontainers:\n- "+box("one", "write /dev/shm/word kept then print ready then sleep")+"\n- "+box("two", "sleep")), "\n")
	}
	w.declare("origin", spec())
	w.running("origin")
	w.said("origin/one", "ready")
	dir := filepath.Join(w.dir, "image")
	w.ok("checkpoint", "origin", "--image-path", dir)
	w.declare("copy", spec("restoreFrom: "+dir))
	was := w.running("copy")
	w.ok("restart", "copy/two")
	w.wait("copy", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was.box("two").ID })
	w.ok("exec", "copy/two", "--", "/w", "write", "/dev/shm/more", "more")
	for file, want := range map[string]string{"word": "kept\n", "more": "more\n"} {
		for _, c := range []string{"one", "two"} {
			if got := w.ok("exec", "copy/"+c, "--", "/w", "read", "/dev/shm/"+file); got != want {
				t.Errorf("%s finds %q, want %q", c, got, want)
			}
		}
	}
}

// Whoever takes too much of it is named and ended, and not ended again for what
// is left there.
func TestSharedMemoryIsCounted(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+limited("app", "sleep", 32)+
		"\n- "+limited("other", "sleep", 64))
	was := w.running("web")
	_ = w.run("exec", "web/app", "--", "/w", "fill", "/dev/shm/x", "60", "then", "sleep") // it is ended with its container
	now := w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID != was.box("app").ID })
	if c := now.box("app"); c.Reason != "OOMKilled" {
		t.Errorf("it is told as %+v", c)
	}
	if now.Status.SandboxPID != was.Status.SandboxPID || now.box("other").ID != was.box("other").ID {
		t.Errorf("others were made anew, too: %+v", now)
	}
	if got := w.ok("exec", "web/app", "--", "/w", "allocate", "8", "then", "list", "/dev/shm"); !strings.Contains(got, "entry x") {
		t.Errorf("what was left is gone: %q", got)
	}
}

// What a Pod's containers share beside volumes, and what they don't.
func TestIPC(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("one", "segment 7 text then write /tmp/mine x then listen @name")+"\n- "+box("two", "sleep"))
	w.declare("other", app("sleep"))
	w.running("web")
	w.running("other")
	w.said("web/one", "listening")
	for who, want := range map[string]string{"web/two": "segment text\n", "other": "no segment: no such file or directory\n"} {
		if got := w.ok("exec", who, "--", "/w", "segment", "7"); got != want {
			t.Errorf("%s finds %q, want %q", who, got, want)
		}
	}
	s := w.session("exec", "web/two", "--", "/w", "dial", "@name")
	s.expect("connected")
	s.signal(syscall.SIGTERM)
	s.ends(0)
	if got := w.ok("exec", "other", "--", "/w", "dial", "@name"); !strings.Contains(got, "refused") {
		t.Errorf("another sandbox's abstract name: %q", got)
	}
	if got := w.ok("exec", "web/two", "--", "/w", "list", "/tmp"); strings.Contains(got, "mine") {
		t.Errorf("/tmp is shared: %q", got)
	}
}
