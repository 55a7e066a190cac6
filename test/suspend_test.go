package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// twoWitnesses are a spec with two containers that count in all they have, and
// one that ends. state is a line of the spec or empty.
func twoWitnesses(state string, more ...string) string {
	const volumes = `volumes:
- {name: host, hostPath: {path: DIR/v, type: DirectoryOrCreate}}
- {name: plain, emptyDir: {}}`
	mounts := "volumeMounts: [{name: host, mountPath: /host}, {name: plain, mountPath: /plain}]"
	return strings.Join(append([]string{state, "restartPolicy: Never", volumes, "containers:",
		"- " + box("one", "witness /own /host/one", mounts), "- " + box("two", "witness /plain/two", mounts),
		"- " + box("over", "exit 3")}, more...), "\n")
}

// witnessed waits until a witness has counted on from n, and fails the test if
// it was ever made anew, or its log has a hole.
func (w *world) witnessed(who string, n int) int {
	w.t.Helper()
	lines := w.said(who, fmt.Sprintf("step %d", n+1))
	for i, line := range lines {
		if line != fmt.Sprintf("step %d", i+1) {
			w.t.Fatalf("line %d of %s is %q", i+1, who, line)
		}
	}
	return len(lines)
}

// steps are how far a witness has counted by now.
func (w *world) steps(who string) int {
	w.t.Helper()
	return strings.Count(w.ok("logs", who), "\n")
}

// suspended waits until a sandbox is on disk and nowhere else.
func (w *world) suspended(name string) sandbox {
	w.t.Helper()
	s := w.wait(name, "suspended", phase("Suspended"))
	for _, pid := range processesIn(w.parent + "/" + name + "\n") {
		w.t.Errorf("suspended, and a process is left: %s", describe(pid))
	}
	for _, dir := range cgroupDirs(w.parent + "/" + name) {
		w.t.Errorf("suspended, and a cgroup is left: %s", dir)
	}
	if s.Status.SandboxPID != 0 || s.Status.Ready {
		w.t.Errorf("suspended: %+v", s)
	}
	return s
}

// reboot ends everything as a host's reboot does; the daemon runs afterwards.
func (w *world) reboot() {
	w.t.Helper()
	w.kill()
	killCgroups(w.parent + "/")
	// A process may be on its way out of its cgroup.
	poll(func() bool { removeCgroups(w.parent + "/"); return len(cgroupDirs(w.parent+"/")) == 0 })
	if err := os.RemoveAll(w.state); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(w.state, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// A suspended sandbox is only on disk, and comes back from there as it was:
// several containers, also one that had ended, with all that they had; over
// daemons and reboots.
func TestSuspended(t *testing.T) {
	w := start(t)
	w.declare("bear", twoWitnesses(""))
	was := w.wait("bear", "running", and(running, func(s sandbox) bool { return s.box("over").exited(3) }))
	w.witnessed("bear/one", 2)
	w.witnessed("bear/two", 2)
	for _, between := range []func(){func() {}, func() { w.stop(); w.start() }, w.reboot} {
		w.declare("bear", twoWitnesses("state: Suspended"))
		s := w.suspended("bear")
		for name, reason := range map[string]string{"one": "Suspended", "two": "Suspended", "over": "Error"} {
			if c := s.box(name); c.State != "stopped" || c.Reason != reason || c.ID != was.box(name).ID || (name == "over") != c.exited(3) {
				t.Errorf("suspended: %+v", c)
			}
		}
		n, m := w.steps("bear/one"), w.steps("bear/two")
		between()
		w.suspended("bear")
		w.declare("bear", twoWitnesses(""))
		s = w.running("bear")
		w.witnessed("bear/one", n)
		w.witnessed("bear/two", m)
		for _, name := range []string{"one", "two", "over"} {
			before, c := was.box(name), s.box(name)
			if c.ID != before.ID || c.RestartCount != 0 || !c.StartedAt.Equal(*before.StartedAt) || c.exit() != before.exit() || c.State != before.State {
				t.Errorf("%+v came back as %+v", before, c)
			}
		}
	}
	// It is like any other afterwards: one container is changed, the others go on.
	w.declare("bear", strings.Replace(twoWitnesses(""), "/plain/two", "/plain/three", 1))
	s := w.wait("bear", "changed", func(s sandbox) bool { return running(s) && s.box("two").ID == "bear.two.2" && s.box("two").Ready })
	if s.box("one").ID != was.box("one").ID {
		t.Errorf("a sibling was made anew: %+v", s)
	}
	w.witnessed("bear/one", w.steps("bear/one"))
}

// What holds for a sandbox holds for a restored one: limits of each container,
// scores, restarts, replaced gofers, and commands run in it.
func TestRestoredIsLikeAnyOther(t *testing.T) {
	w := start(t)
	spec := `
volumes: [{name: v, hostPath: {path: DIR/v, type: DirectoryOrCreate}}]
containers:
- ` + limited("greedy", "await /v/go then allocate 500 50 then sleep", 64, "volumeMounts: [{name: v, mountPath: /v}]", "oomScoreAdj: 300") + `
- ` + limited("modest", "witness /own", 64)
	w.declare("web", spec)
	was := w.running("web")
	w.witnessed("web/modest", 1)
	w.declare("web", "state: Suspended"+spec)
	w.suspended("web")
	n := w.steps("web/modest")
	w.declare("web", spec)
	s := w.wait("web", "running, with its score", and(running, func(s sandbox) bool {
		return s.Status.OOMScoreAdj != nil && *s.Status.OOMScoreAdj == 300
	}))
	w.witnessed("web/modest", n)
	if err := syscall.Kill(*s.box("modest").GoferPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s = w.wait("web", "with another gofer", func(s sandbox) bool { return s.box("modest").GoferRestarts == 1 && running(s) })
	if out := w.ok("exec", "web/modest", "--", "/w", "print", "inside"); out != "inside\n" {
		t.Errorf("exec: %q", out)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "v", "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	now := w.wait("web", "killed and running again", func(s sandbox) bool { return s.box("greedy").RestartCount > 0 && running(s) })
	if c := now.box("greedy"); c.Reason != "OOMKilled" || !strings.Contains(w.ok("events", "web", "-o", "json"), "more than its limit of 64.0 MiB") {
		t.Errorf("it was ended as %+v", c)
	}
	if c := now.box("modest"); c.ID != was.box("modest").ID || now.Status.SandboxPID != s.Status.SandboxPID {
		t.Errorf("others suffered: %+v", now)
	}
	w.witnessed("web/modest", w.steps("web/modest"))
}

// From Paused to Suspended and back nothing runs on that was frozen, and a
// volume in memory, with a limit, is as it was.
func TestSuspendedFromPaused(t *testing.T) {
	w := start(t)
	spec := `
volumes: [{name: small, emptyDir: {sizeLimit: 1Mi}}]
containers:
- ` + box("app", "witness /small/file", "volumeMounts: [{name: small, mountPath: /small}]")
	w.declare("frog", spec)
	w.running("frog")
	w.witnessed("frog", 2)
	w.declare("frog", "state: Paused"+spec)
	w.wait("frog", "paused", phase("Paused"))
	n := w.steps("frog")
	w.declare("frog", "state: Suspended"+spec)
	w.suspended("frog")
	if now := w.steps("frog"); now != n {
		t.Errorf("it ran on from step %d to %d", n, now)
	}
	w.declare("frog", "state: Paused"+spec)
	s := w.wait("frog", "paused", phase("Paused"))
	if s.box("app").State != "paused" {
		t.Errorf("paused: %+v", s)
	}
	w.declare("frog", spec)
	w.running("frog")
	w.witnessed("frog", n)
}

// A checkpoint fits what it was made of and nothing else: that is said, with
// what differs, and costs nothing.
func TestSuspendedAndChanged(t *testing.T) {
	w := start(t)
	spec := app("witness /own")
	w.declare("web", spec)
	w.running("web")
	w.declare("web", "state: Suspended\n"+spec)
	w.suspended("web")
	n := w.steps("web")
	refused := func(why string) check {
		return func(s sandbox) bool {
			c, ok := s.condition("RestoreFailed")
			return ok && strings.Contains(c.Message, why)
		}
	}
	for changed, why := range map[string]string{
		app("witness /other"):                "in spec.containers[app].command;",
		"hostname: x\n" + spec:               "in spec.hostname;",
		spec + "\n- " + box("more", "sleep"): "in spec.containers[more];",
	} {
		w.declare("web", "state: Suspended\n"+changed)
		w.wait("web", "refused beforehand", and(phase("Suspended"), refused(why)))
		w.declare("web", changed)
		s := w.wait("web", "refused", and(phase("Failed"), refused(why)))
		if s.Status.Reason != "RestoreFailed" || !strings.Contains(s.Status.Message, "declare Stopped to discard it") {
			t.Errorf("refused: %+v", s.Status)
		}
		noted := func() bool {
			out := w.ok("plan")
			return strings.HasPrefix(out, "Note: web: the checkpoint of ") && strings.Count(out, "web") == 1
		}
		if !poll(noted) {
			t.Errorf("the plan is\n%s", w.ok("plan"))
		}
	}
	image := filepath.Join(w.data, "checkpoints", "web", "image.json")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := json.Unmarshal(b, &content); err != nil {
		t.Fatal(err)
	}
	content["runtime"] = "gVisor of yesterday"
	delete(content, "checksum")
	other, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) { // nobody reads half of it
		t.Helper()
		beside := filepath.Join(w.dir, "image.json")
		if err := errors.Join(os.WriteFile(beside, content, 0o600), os.Rename(beside, image)); err != nil {
			t.Fatal(err)
		}
	}
	write(other)
	w.declare("web", spec)
	w.wait("web", "of another version", and(phase("Failed"), refused("it was written by gVisor of yesterday, and this build has gVisor v0.0.0-")))
	write(b)
	// What is changed in place is no obstacle, and holds at once.
	w.declare("web", app("witness /own", "restartPolicy: OnFailure"))
	w.running("web")
	w.witnessed("web", n)
}

// What can't be suspended goes on, and says why.
func TestSuspendFails(t *testing.T) {
	w := start(t)
	spec := app("witness /own")
	w.declare("web", spec)
	w.running("web")
	fails := func(why string) {
		t.Helper()
		s := w.wait("web", "not suspended", func(s sandbox) bool {
			c, ok := s.condition("SuspendFailed")
			return ok && strings.Contains(c.Message, why)
		})
		if s.Status.SandboxPID == 0 || s.Status.Phase != "Running" || s.Status.Reason != "SuspendFailed" {
			t.Errorf("not suspended: %+v", s.Status)
		}
		w.witnessed("web", w.steps("web"))
	}
	exec := w.session("exec", "-i", "web", "--", "/w", "print", "here", "then", "sum")
	exec.expect("here")
	w.declare("web", "state: Suspended\n"+spec)
	fails(`a session of exec runs "w" in container "app"`)
	w.declare("web", spec)
	w.wait("web", "running, and nothing said of it", func(s sandbox) bool { return running(s) && !s.has("SuspendFailed") })
	exec.in.Close()
	exec.ends(0)

	disk := filepath.Join(w.data, "checkpoints")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", disk, "tmpfs", 0, "size=200k"); err != nil {
		t.Fatal(err)
	}
	w.mounted = disk
	w.declare("web", "state: Suspended\n"+spec)
	fails("no space left on device")
	if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	w.suspended("web") // tried again
	n := w.steps("web")
	w.declare("web", spec)
	w.running("web")
	w.witnessed("web", n)
}

// A socket of the host has its other end outside: one that is listened on keeps
// its sandbox from disk and goes on, and a connection ends.
func TestSuspendWithHostSockets(t *testing.T) {
	w := start(t)
	services := w.folders("v")
	spec := func(command string) string {
		return "volumes: [{name: v, hostPath: {path: DIR/v, sockets: true}}]\ncontainers:\n- " +
			box("app", command, "volumeMounts: [{name: v, mountPath: /v}]")
	}
	server, client := spec("listen /v/app"), spec("dial /v/host")
	w.declare("server", server)
	w.declare("client", client)
	w.running("client")
	was := w.running("server")
	w.said("server", "listening")
	conn, _ := services["v"].accept()
	echoes(t, conn, "there")

	w.declare("server", "state: Suspended\n"+server)
	s := w.wait("server", "not suspended", func(s sandbox) bool { return s.has("SuspendFailed") })
	c, _ := s.condition("SuspendFailed")
	if s.Status.SandboxPID != was.Status.SandboxPID || s.Status.Phase != "Running" || !s.Status.Ready ||
		!strings.Contains(c.Message, `a volume with sockets: true ("v"), and gVisor can't save such a one: end that program`) {
		t.Errorf("not suspended: %+v", s.Status)
	}
	w.reaches("v/app")

	w.declare("client", "state: Suspended\n"+client)
	w.suspended("client")
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the connection of a suspended sandbox gives %d bytes, %v", n, err)
	}
	w.declare("client", client)
	w.running("client")
	conn, _ = services["v"].accept() // the command ends with its connection, and is run again
	echoes(t, conn, "again")
}

// The host's network can't be on disk: the sandbox stays as it was.
func TestSuspendWithHostNetwork(t *testing.T) {
	w := start(t)
	spec := app("tick 0.05", "network: {mode: host}")
	w.declare("web", spec)
	was := w.running("web")
	w.declare("web", "state: Suspended\n"+spec)
	unsupported := func(s sandbox) bool {
		c, ok := s.condition("Unsupported")
		return ok && strings.Contains(c.Message, "host's network")
	}
	s := w.wait("web", "unsupported", unsupported)
	if s.Status.Phase != "Running" || s.Status.SandboxPID != was.Status.SandboxPID || s.box("app").ID != was.box("app").ID {
		t.Errorf("unsupported: %+v", s)
	}
	if r := w.run("checkpoint", "web", "--image-path", filepath.Join(w.dir, "image")); r.code != 1 || !strings.Contains(r.err, "host's network") {
		t.Errorf("checkpoint: %+v", r)
	}
	w.declare("web", "state: Paused\n"+spec)
	w.wait("web", "paused", phase("Paused"))
	w.declare("web", "state: Suspended\n"+spec)
	w.wait("web", "unsupported, and paused", and(unsupported, phase("Paused")))
	w.declare("new", "state: Suspended\n"+spec)
	w.wait("new", "unsupported, and not there", and(unsupported, phase("Stopped")))
}

// A checkpoint that is asked for disturbs nobody, and others start from it, as
// often as they are made.
func TestCheckpoint(t *testing.T) {
	w := start(t)
	w.declare("origin", app("witness /own", "hostname: twin"))
	w.running("origin")
	w.witnessed("origin", 3)
	dir := filepath.Join(w.dir, "image")
	if out := w.ok("checkpoint", "origin", "--image-path", dir); !strings.HasPrefix(out, "origin: ") || !strings.HasSuffix(out, "bytes in "+dir+"\n") {
		t.Errorf("it said %q", out)
	}
	n := w.steps("origin")
	w.witnessed("origin", n)
	if s := w.running("origin"); s.box("app").RestartCount != 0 || s.box("app").ID != "origin.app.1" {
		t.Errorf("it was made anew: %+v", s)
	}
	for args, want := range map[string]string{
		"origin --image-path " + dir:                          "is not empty",
		"nobody --image-path " + dir:                          "there is no sandbox",
		"origin --image-path " + filepath.Join(dir, "a", "b"): "no such file or directory",
	} {
		if r := w.run(append([]string{"checkpoint"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("checkpoint %s: %+v", args, r)
		}
	}
	if out := w.ok("events", "origin"); !strings.Contains(out, "Checkpointed") {
		t.Errorf("the events are\n%s", out)
	}

	goesOn := func(name string, times int) {
		t.Helper()
		lines := w.saidTimes(name, fmt.Sprintf("step %d", n+2), times)
		if lines[0] == "step 1" {
			t.Errorf("%s began anew", name)
		}
	}
	copy := app("witness /own", "hostname: twin", "restoreFrom: "+dir)
	w.declare("copy", copy)
	w.running("copy")
	goesOn("copy", 1)
	w.declare("copy", "state: Stopped\n"+copy)
	w.wait("copy", "stopped", phase("Stopped"))
	w.declare("copy", copy)
	w.running("copy")
	goesOn("copy", 2)

	w.declare("other", app("witness /own", "hostname: other", "restoreFrom: "+dir))
	s := w.wait("other", "refused", phase("Failed"))
	if s.Status.Reason != "RestoreFailed" || !strings.Contains(s.Status.Message, "in spec.hostname") {
		t.Errorf("of another specification: %+v", s.Status)
	}
	w.declare("none", app("sleep", "restoreFrom: /no/such/image"))
	s = w.wait("none", "refused", phase("Failed"))
	if !strings.Contains(s.Status.Message, "there is no checkpoint at /no/such/image") {
		t.Errorf("from nothing: %+v", s.Status)
	}
	w.declare("none", app("sleep"))
	w.running("none")
}

// Undeclared, a suspended sandbox is gone with its checkpoint; while that can't
// be trusted, it stays. A daemon that stops all leaves it.
func TestSuspendedAndUndeclared(t *testing.T) {
	w := start(t, "--deletion-guard", "0.5", "--stop-sandboxes-on-exit")
	var all []string
	for i := range 4 {
		all = append(all, w.document(fmt.Sprint("web", i), app("witness /own", "state: Suspended")))
	}
	w.put("all.yaml", strings.Join(all, "---\n"))
	for i := range 4 {
		w.suspended(fmt.Sprint("web", i))
	}
	w.stop()
	w.start()
	for i := range 4 {
		w.suspended(fmt.Sprint("web", i))
	}
	w.undeclare("all") // in one moment
	for i := range 4 {
		s := w.wait(fmt.Sprint("web", i), "held", func(s sandbox) bool { return s.has("DeletionHeld") })
		if s.Status.Phase != "Suspended" || s.box("app").Reason != "Suspended" {
			t.Errorf("held: %+v", s)
		}
	}
	w.declare("web0", app("witness /own"))
	w.running("web0")
	w.witnessed("web0", 1)
	w.ok("confirm-deletions")
	for i := range 3 {
		w.gone(fmt.Sprint("web", i+1))
	}
	// One that is there only on disk goes too.
	w.declare("web0", app("witness /own", "state: Suspended"))
	w.suspended("web0")
	w.declare("other", app("sleep"))
	w.running("other")
	w.undeclare("web0")
	w.reboot()
	w.gone("web0")
	if !poll(func() bool { return len(namedAfter(w.data, "web0")) == 0 }) {
		t.Errorf("left: %v", namedAfter(w.data, "web0"))
	}
}

// Daemons that are killed at random moments of suspending and restoring lose
// not a step, do none twice, and leave no second sandbox.
func TestSuspendKilledAtAnyMoment(t *testing.T) {
	w := start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w.declare("bear", twoWitnesses(""))
	w.wait("bear", "running", and(running, func(s sandbox) bool { return s.box("over").exited(3) }))
	n := w.witnessed("bear/one", 1)
	for range 14 {
		w.declare("bear", twoWitnesses([]string{"state: Suspended", "state: Suspended", "", "state: Paused"}[random.IntN(4)]))
		// This sleep is the dice, not a wait for anything.
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		w.restart()
		if sentries := w.sentries("bear"); sentries > 1 {
			t.Fatalf("%d sentries", sentries)
		}
	}
	w.declare("bear", twoWitnesses(""))
	s := w.running("bear")
	w.witnessed("bear/one", max(n, w.steps("bear/one")))
	w.witnessed("bear/two", w.steps("bear/two"))
	for _, c := range s.Status.Containers {
		if c.RestartCount != 0 || c.ID != "bear."+c.Name+".1" {
			t.Errorf("it was made anew: %+v", c)
		}
	}
	if !w.until(func() bool { return !strings.Contains(w.ok("plan", "-o", "json"), "sandbox") }) {
		t.Errorf("the plan is %s", w.ok("plan", "-o", "json"))
	}
}
