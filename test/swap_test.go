package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// released is the program of the release before this one, with the gVisor of
// its day. It is built where it is not there yet, and so by no two tests at once:
// ask before newWorld.
func released(t *testing.T) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("make", "-s", "-C", "..", "released")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	path := strings.TrimSpace(string(out))
	if err != nil || !filepath.IsAbs(path) {
		t.Fatalf("the release before this one, which upgrades begin with, can't be built (make released): %v: %s%s", err, out, stderr.String())
	}
	return path
}

// swap kills the daemon and starts another program's in its place.
func (w *world) swap(binary string) {
	w.t.Helper()
	w.kill()
	w.binary = binary
	w.start()
}

// upgraded are specs of which no process may notice that the daemon was
// replaced by another version's.
func upgraded() map[string]string {
	return map[string]string{
		"bear":   twoWitnesses("", "- "+box("listed", "tick 0.05")),
		"frozen": "state: Paused\n" + app("witness /own"),
		"owing":  "restartBackoff: {initial: 1h, max: 1h}\n" + app("exit 3"),
		"done":   "restartPolicy: Never\n" + app("exit 0"),
		"room":   "volumes: [{name: v, emptyDir: {sizeLimit: 8Mi}}]\nnetwork: {mode: host}\ncontainers:\n- " + box("app", "churn /v/file /v", "volumeMounts: [{name: v, mountPath: /v}]"),
		"server": "volumes: [{name: s, hostPath: {path: DIR/sockets, sockets: true}}]\ncontainers:\n- " +
			box("app", "listen /s/app", "volumeMounts: [{name: s, mountPath: /s}]",
				"livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, exec: {command: [/w, print]}}"),
		"tty":    "containers:\n- " + box("app", "tick 0.05", "terminal: true"),
		"limits": "containers:\n- " + box("app", "witness /own", "resources: {limits: {cpu: 500m, memory: 64Mi}}", "oomScoreAdj: 300"),
	}
}

// settled is how each of them stands once all is quiet.
func (w *world) settled(name string) sandbox {
	w.t.Helper()
	switch name {
	case "frozen":
		return w.wait(name, "paused", phase("Paused"))
	case "owing":
		return w.wait(name, "waiting for its next try", func(s sandbox) bool { return s.box("app").NextStartAt != nil })
	case "done":
		return w.wait(name, "done", and(phase("Succeeded"), func(s sandbox) bool { return s.Status.SandboxPID == 0 }))
	case "bear":
		return w.wait(name, "running", and(running, func(s sandbox) bool { return s.box("over").exited(3) }))
	}
	return w.running(name)
}

// stands tells everything of a sandbox that must be the same under the next
// daemon.
func (w *world) stands(name string) string {
	w.t.Helper()
	s := w.settled(name)
	text := fmt.Sprintf("%s %q", s.Status.Phase, s.Status.SpecHash)
	if s.Status.SandboxPID > 0 {
		text += " " + identity(w.t, s)
	}
	for _, c := range s.Status.Containers {
		text += fmt.Sprintf("\n%s %s restarts %d, exit %s %s", c.ID, c.State, c.RestartCount, c.exit(), c.Reason)
		if c.State == "running" {
			text += " " + identityOf(w.t, s, c.Name)
		}
		if c.NextStartAt != nil {
			text += fmt.Sprint(" next ", c.NextStartAt)
		}
	}
	return text
}

// A daemon of another version, with another gVisor, takes over what runs, to
// and fro, and no container notices.
func TestSwap(t *testing.T) {
	if resyncOnly {
		return // what is taken over is the same then
	}
	before := released(t)
	w := newWorld(t)
	w.binary = before
	w.folders("sockets")
	w.start()
	stood := map[string]string{}
	for name, spec := range upgraded() {
		w.declare(name, spec)
	}
	for name := range upgraded() {
		stood[name] = w.stands(name)
	}
	unchanged := func(when string) {
		t.Helper()
		for name, before := range stood {
			if now := w.stands(name); now != before {
				t.Errorf("%s, %s, which was\n%s\nis\n%s", when, name, before, now)
			}
		}
		for _, who := range []string{"bear/one", "bear/two", "limits"} {
			w.witnessed(who, w.steps(who)+1)
		}
		w.reaches("sockets/app")
		w.saidTimes("tty", "tick", strings.Count(w.ok("logs", "tty"), "tick")+2)
		if out := w.ok("plan"); strings.Contains(out, "bear") {
			t.Errorf("%s, the plan is\n%s", when, out)
		}
	}
	// The next gofer has what the container has bound, whichever version made it.
	rolled := 0
	rolls := func() {
		t.Helper()
		rolled++
		w.ok("restart", "--gofer", "server")
		w.reaches("sockets/app")
		if c := w.running("server").box("app"); c.RestartCount != 0 || c.GoferRestarts != rolled {
			t.Errorf("with gofer %d it is %+v", rolled, c)
		}
	}
	session := w.session("exec", "-i", "bear/one", "--", "/w", "hear", "then", "print", "here", "then", "sum")
	session.expect("here")
	session.heard()
	w.witnessed("bear/one", 2)

	w.swap(sandboxer)
	unchanged("after the swap")
	if _, err := fmt.Fprintln(session.in, 7); err != nil {
		t.Error(err)
	}
	session.expect("7")
	w.controls("bear")
	w.rolls("bear")
	rolls()
	was := w.stands("limits")
	w.declare("limits", strings.ReplaceAll(upgraded()["limits"], "64Mi", "128Mi"))
	w.wait("limits", "limited anew", func(s sandbox) bool { return running(s) && !strings.Contains(was, s.Status.SpecHash) })
	if !poll(func() bool { return !strings.Contains(w.ok("plan"), "limits") }) || w.running("limits").has("LimitsDenied") {
		t.Errorf("limits can't be changed: %s", w.ok("describe", "limits"))
	}

	w.declare("new", "containers:\n- "+box("app", "witness /own")+"\n- "+box("other", "tick 0.05"))
	w.running("new")
	stood = map[string]string{"new": w.stands("new"), "bear": w.stands("bear"), "frozen": w.stands("frozen"), "owing": w.stands("owing")}
	w.swap(before)
	unchanged("back under the version before")
	w.witnessed("new/app", w.steps("new/app"))
	w.controls("new")
	// It can't read what this version's gofers leave. One that dies costs its
	// container, as the gofers' page says, and no other.
	kill(t, *w.running("new").box("other").GoferPID, syscall.SIGKILL)
	lost := w.wait("new", "made anew", func(s sandbox) bool { return running(s) && s.box("other").RestartCount == 1 })
	if c := lost.box("other"); c.Reason != "GoferLost" || lost.box("app").ID != "new.app.1" {
		t.Errorf("without its gofer it is %+v", lost)
	}
	w.witnessed("new/app", w.steps("new/app"))
	stood["new"] = w.stands("new")

	w.swap(sandboxer)
	unchanged("under the new version again")
	session.in.Close()
	session.ends(0)
	w.declare("frozen", app("witness /own"))
	w.running("frozen")
	w.witnessed("frozen", w.steps("frozen"))
	w.controls("new")
	w.rolls("new")
	rolls()
}

// controls holds a sandbox that another version has made to all that can be
// asked of one.
func (w *world) controls(name string) {
	w.t.Helper()
	was := w.running(name)
	who := name + "/" + was.Status.Containers[0].Name
	if out := w.ok("exec", who, "--", "/w", "print", "made"); out != "made\n" {
		w.t.Errorf("exec says %q", out)
	}
	if out := w.ok("ps", name); !strings.Contains(out, "/w") {
		w.t.Errorf("ps says\n%s", out)
	}
	if s := w.stats(name); s.MemoryBytes == 0 || s.Containers[0].MemoryBytes == 0 {
		w.t.Errorf("stats are %+v", s)
	}
	b, err := os.ReadFile(filepath.Join(w.manifests, name+".yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	spec := string(b)
	w.put(name+".yaml", strings.Replace(spec, "spec:\n", "spec:\n  state: Paused\n", 1))
	w.wait(name, "paused", phase("Paused"))
	w.put(name+".yaml", spec)
	w.running(name)
	w.witnessed(who, w.steps(who))

	// A container is made anew beside the others, which go on.
	if c := was.box("listed"); c.Name != "" {
		w.put(name+".yaml", strings.Replace(spec, `"tick", "0.05"`, `"tick", "0.06"`, 1))
		w.wait(name, "changed", func(s sandbox) bool { return running(s) && s.box("listed").ID != c.ID && s.box("listed").Ready })
		w.witnessed(who, w.steps(who))
	}
}

// rolls gives a sandbox gofers of this version, and lets one of them die.
func (w *world) rolls(name string) {
	w.t.Helper()
	was := w.running(name)
	who := name + "/" + was.Status.Containers[0].Name
	w.ok("restart", "--gofer", name)
	now := w.running(name)
	for _, c := range now.Status.Containers {
		if c.State != "running" {
			continue
		}
		old := was.box(c.Name)
		if c.ID != old.ID || c.GoferRestarts != old.GoferRestarts+1 {
			w.t.Errorf("with a new gofer %+v is %+v", old, c)
		}
	}
	w.witnessed(who, w.steps(who))
	kill(w.t, *now.Status.Containers[0].GoferPID, syscall.SIGKILL)
	w.replaced(name, now.Status.Containers[0].Name, now.Status.Containers[0].GoferRestarts+1)
	w.witnessed(who, w.steps(who))
}

// What the version before has suspended, this one refuses, says why, and loses
// nothing: the version before restores it.
func TestSwapSuspended(t *testing.T) {
	before := released(t)
	w := newWorld(t)
	w.binary = before
	w.start()
	spec := app("witness /own", "hostname: twin")
	w.declare("web", spec)
	w.declare("scrap", spec)
	w.declare("old", spec)
	w.running("web")
	w.running("scrap")
	old := w.running("old")
	image := filepath.Join(w.dir, "image")
	w.ok("checkpoint", "web", "--image-path", image)
	for _, name := range []string{"web", "scrap"} {
		w.declare(name, "state: Suspended\n"+spec)
		w.suspended(name)
	}
	n := w.steps("web")

	w.swap(sandboxer)
	w.suspended("web")
	// What this version could not restore it does not write.
	w.declare("old", "state: Suspended\n"+spec)
	now := w.wait("old", "refused", func(s sandbox) bool { return s.has("Unsupported") })
	w.same(old, now, "app")
	if c, _ := now.condition("Unsupported"); c.Reason != "OtherGVisor" || !strings.Contains(c.Message, "its sentry is of gVisor v0.0.0-20260224") {
		t.Errorf("refused: %+v", c)
	}
	if out := w.ok("describe", "old"); !strings.Contains(out, "gvisor v0.0.0-20260224") {
		t.Errorf("describe says:\n%s", out)
	}
	w.undeclare("old")
	w.gone("old")
	refused := func(name string) {
		t.Helper()
		s := w.wait(name, "refused", phase("Failed"))
		for _, want := range []string{"it was written by gVisor v0.0.0-20260224", "and this build has gVisor v0.0.0-",
			"only a sandboxer with the former can restore it"} {
			if s.Status.Reason != "RestoreFailed" || !strings.Contains(s.Status.Message, want) {
				t.Errorf("refused: %s %s", s.Status.Reason, s.Status.Message)
			}
		}
	}
	w.declare("web", spec)
	w.declare("scrap", spec)
	refused("web")
	refused("scrap")
	w.declare("copy", spec+"\nrestoreFrom: "+image)
	refused("copy")
	w.undeclare("copy")
	w.gone("copy")
	w.declare("scrap", "state: Stopped\n"+spec)
	w.wait("scrap", "discarded", phase("Stopped"))
	w.declare("scrap", spec)
	w.running("scrap")
	w.said("scrap", "step 1")

	w.swap(before)
	w.running("web")
	w.witnessed("web", n)

	w.swap(sandboxer) // the version before leaves this one's spares behind
	w.running("web")
}
