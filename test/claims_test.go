package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who would take a daemon's sandboxes and volumes for what was left is refused,
// while that daemon runs and while its sandboxes do.
func TestSharedGround(t *testing.T) {
	w := start(t)
	w.declare("web", app("sleep", "volumes: [{name: d, emptyDir: {}}]"))
	was := w.running("web")
	// Of who is refused nothing is changed, as files that have another name are at a start.
	events := filepath.Join(w.data, "events.jsonl")
	if err := os.Link(events, filepath.Join(w.dir, "backup")); err != nil {
		t.Fatal(err)
	}
	refused := func(when, who string) {
		t.Helper()
		for _, flags := range [][]string{
			{"--cgroup-parent", w.parent},
			{"--cgroup-parent", w.parent + "/"},
			{"--cgroup-parent", w.parent + "/web"},
			{"--cgroup-parent", w.parent + "/other/still"},
			{"--data-dir", w.data},
			{"--data-dir", filepath.Join(w.dir, "link")},
			{"--data-dir", filepath.Join(w.data, "volumes")},
		} {
			other := w.beside("other")
			other.flags = append(other.flags, flags...)
			if r := w.run(other.arguments()...); r.code != 1 || !strings.Contains(r.err, w.state+", ") || !strings.Contains(r.err, who) {
				t.Errorf("%s, %v: %+v", when, flags, r)
			}
		}
		a, erra := os.Lstat(events)
		b, errb := os.Lstat(filepath.Join(w.dir, "backup"))
		if err := errors.Join(erra, errb); err != nil || !os.SameFile(a, b) {
			t.Errorf("%s, %s was replaced: %v", when, events, err)
		}
		runs := w.beside("runs")
		runs.parent = w.parent
		if r := w.run(runs.runs(w.manifest("job", app("exit 0")))...); r.code != 1 || !strings.Contains(r.err, w.state+", ") || !strings.Contains(r.err, who) {
			t.Errorf("%s, a run: %+v", when, r)
		}
		for _, dir := range []string{runs.state, runs.data} {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%s, a run leaves %v, %v", when, left, err)
			}
		}
	}
	if err := os.Symlink(w.data, filepath.Join(w.dir, "link")); err != nil {
		t.Fatal(err)
	}
	refused("while it runs", fmt.Sprintf("process %d", w.daemon.cmd.Process.Pid))
	w.kill()
	refused("while its sandboxes do", w.parent+"/web")
	w.start()
	if now := w.running("web"); now.Status.SandboxPID != was.Status.SandboxPID {
		t.Errorf("it was made anew")
	}
	w.undeclare("web")
	w.gone("web")
	w.stop()
	// Nothing of it runs: who comes next has the place.
	next := w.beside("next")
	next.parent, next.flags = w.parent, append(next.flags, "--data-dir", w.data)
	next.start()
	next.stop()
}

// The daemon whose state directory somebody has removed keeps its place.
func TestStateDirectoryRemoved(t *testing.T) {
	w := start(t)
	pid := w.daemon.cmd.Process.Pid
	if err := errors.Join(os.RemoveAll(w.state), os.Mkdir(w.state, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--state-dir", filepath.Join(w.dir, "s2"), "--data-dir", filepath.Join(w.dir, "d2")}} {
		if r := w.run(append(w.arguments(), flags...)...); r.code != 1 || !strings.Contains(r.err, fmt.Sprintf("process %d", pid)) {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	w.kill()
}

// A run clears away what earlier runs have left, and nothing that is not a run's.
func TestRunInOthersFolder(t *testing.T) {
	w := newRuns(t)
	folder := filepath.Join(w.dir, "folder")
	theirs := []string{"volumes/web/file", "empty/", "manifests/web.yaml", "a.1/manifests/web.yaml", "a.2/manifests/sandbox.yaml", "a.2/lock", "a.2/file"}
	half := []string{"job.1/", "job.2/manifests/", "job.3/manifests/sandbox.yaml", "job.4/manifests/sandbox.yaml", "job.4/lock"}
	for _, path := range append(theirs, half...) {
		at := filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "/") {
			_ = os.MkdirAll(at, 0o700) // it is looked for below
		} else if err := os.WriteFile(at, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runs := *w
	runs.data = folder
	if r := w.run(runs.runs(w.manifest("job", app("exit 0")))...); r.code != 0 || r.err != "" {
		t.Errorf("%+v", r)
	}
	for _, path := range theirs {
		if _, err := os.Lstat(filepath.Join(folder, path)); err != nil {
			t.Error(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(folder, "job.*")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, dir := range []string{"a.1", "volumes", "manifests"} {
		if _, err := os.Lstat(filepath.Join(folder, dir, "lock")); err == nil {
			t.Errorf("%s was locked", dir)
		}
	}
}

// A run leaves no cgroup that it has made, and each that was there.
func TestRunLeavesNoParent(t *testing.T) {
	w := newRuns(t)
	top := hierarchies()[0]
	for _, top := range hierarchies() {
		if err := os.MkdirAll(filepath.Join(top, w.parent), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	runs := *w
	runs.parent = w.parent + "/below/it"
	job := w.manifest("job", app("exit 0"))
	if r := w.run(runs.runs(job)...); r.code != 0 || r.err != "" {
		t.Errorf("%+v", r)
	}
	for _, top := range hierarchies() {
		if _, err := os.Lstat(filepath.Join(top, w.parent, "below")); !os.IsNotExist(err) {
			t.Errorf("in %s it is left: %v", top, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(top, w.parent)); err != nil {
		t.Errorf("what was there before is gone: %v", err)
	}
	removeCgroups(w.parent)
}
