package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sandboxer/internal/api"
)

// What was changed before a wait began is seen by it: a manifest, without any event
// that tells of it, and the end of a sentry.
func TestWaitSeesWhatWasChanged(t *testing.T) {
	w := start(t, "--resync-only", "--resync", "1h")
	w.declare("web", app("sleep"))
	w.ok("wait", "web", "--timeout", "60s")
	was, _ := w.get("web")
	w.declare("web", "containers:\n- "+box("app", "sleep")+"\n- "+box("more", "sleep"))
	if plan := w.run("plan"); !strings.Contains(plan.out, "more") {
		// A short resync may have had it done by then.
		if s, _ := w.get("web"); !resyncOnly || s.box("more").ID == "" {
			t.Errorf("plan does not see the change: %+v", plan)
		}
	}
	w.ok("wait", "web", "--timeout", "60s")
	now, _ := w.get("web")
	if now.Status.SandboxPID != was.Status.SandboxPID || !now.box("more").Ready {
		t.Errorf("the wait ended before the change: %+v", now)
	}
	w.declare("web", "containers: 7")
	if r := w.run("wait", "web", "--timeout", "60s"); r.code != 1 || !strings.Contains(r.err, "was rejected: web.yaml") {
		t.Errorf("a document that was rejected: %+v", r)
	}
	w.declare("off", "state: Stopped\n"+app("sleep"))
	if r := w.run("wait", "off", "--for", "ready", "--timeout", "60s"); r.code != 1 || !strings.Contains(r.err, "without a change: it is declared Stopped") {
		t.Errorf("what is stopped: %+v", r)
	}
	w.undeclare("web")
	w.undeclare("off")
	w.kill() // without events, it would learn of no end
	w.flags = nil
}

// What has ended for good is not waited for.
func TestWaitForAJobThatFailed(t *testing.T) {
	w := start(t)
	w.declare("job", app("exit 3", "restartPolicy: Never"))
	w.ok("wait", "job", "--for", "Failed", "--timeout", "60s")
	for _, what := range []string{"", "ready", "Running", "Succeeded"} {
		args := []string{"wait", "job", "--timeout", "60s"}
		if what != "" {
			args = append(args, "--for", what)
		}
		if r := w.run(args...); r.code != 1 || !strings.Contains(r.err, "exit code 3, for good") {
			t.Errorf("--for %s: %+v", what, r)
		}
	}
}

// A sentry that was killed is no more what a wait finds, though the kernel still
// takes it down.
func TestWaitAfterAKill(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	for range 3 {
		w.ok("wait", "web", "--timeout", "60s")
		was, _ := w.get("web")
		if err := syscall.Kill(was.Status.SandboxPID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.ok("wait", "web", "--timeout", "60s")
		if now, _ := w.get("web"); now.Status.SandboxPID == was.Status.SandboxPID {
			t.Errorf("it is the one that was killed: %+v", now)
		}
	}
}

// Who only reads may ask for a fresh look at whatever is called what: names that are
// paths lead to none of the daemon's files.
func TestFreshNameIsNoPath(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep"))
	w.running("web")
	kept := func() (files []string) {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(w.data, "manifests"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files = append(files, e.Name())
		}
		return files
	}
	// The store of accepted manifests follows behind, and a copy comes later.
	var was []string
	if !poll(func() bool { was = kept(); return len(was) == 2 }) {
		t.Fatalf("the daemon keeps %q", was)
	}
	client := api.NewClient(w.socket)
	defer client.Close()
	for _, name := range []string{"../manifests/web", "..", ".", "/", "a/../web", "a b"} {
		if list, err := client.ListFresh(t.Context(), name); err != nil || len(list.Items) != 1 {
			t.Errorf("%q: %+v, %v", name, list, err)
		}
	}
	if now := kept(); !slices.Equal(now, was) {
		t.Errorf("the daemon kept %q, and now %q", was, now)
	}
	if w.logged("looking at the sandbox") {
		t.Errorf("it is looked for what can't be: %s", w.log())
	}
}
