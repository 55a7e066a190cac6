package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// action is one of a plan's.
type action struct{ Sandbox, Container, Action, Class, Reason string }

// plan is what would be done if the sandbox were declared so.
func (w *world) plan(name, spec string) []action {
	w.t.Helper()
	path := filepath.Join(w.dir, "new.yaml")
	if err := os.WriteFile(path, []byte(w.document(name, spec)), 0o644); err != nil {
		w.t.Fatal(err)
	}
	var plan struct{ Actions []action }
	w.json(&plan, "plan", path, "-o", "json")
	return plan.Actions
}

// born says which process has a pid now: when it began.
func born(t *testing.T, pid int) string {
	t.Helper()
	who, there := whoHas(pid)
	if !there {
		t.Fatalf("there is no process %d", pid)
	}
	return who
}

// whoHas is born for what may not be there.
func whoHas(pid int) (who string, there bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return fmt.Sprintf("%d@%s", pid, fields[19]), true
}

// identity is what of a sandbox is another after it was replaced.
func identity(t *testing.T, s sandbox) string { return "sentry " + born(t, s.Status.SandboxPID) }

// identityOf is what of a container is another after it was made anew.
func identityOf(t *testing.T, s sandbox, name string) string {
	t.Helper()
	c := s.box(name)
	if c.GoferPID == nil || c.StartedAt == nil {
		t.Fatalf("container %s does not run: %+v", name, c)
	}
	return fmt.Sprintf("%s since %s, gofer %s, restarts %d, %d", c.ID, c.StartedAt, born(t, *c.GoferPID), c.GoferRestarts, c.RestartCount)
}

// kernelHas is a file of a sandbox's cgroup: of the one that is there.
func kernelHas(t *testing.T, s sandbox, v1, v2 string) string {
	t.Helper()
	for _, top := range hierarchies() {
		for _, file := range []string{v1, v2} {
			if b, err := os.ReadFile(filepath.Join(top, s.Status.Cgroup, file)); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
	}
	t.Fatalf("no cgroup of the sandbox has %s or %s", v1, v2)
	return ""
}

// What is changed in place is in force, and every process is the one it was.
func TestChangesInPlace(t *testing.T) {
	w := start(t)
	const limits = "resources: {limits: {cpu: %s, memory: %s}}, oomScoreAdj: %d%s"
	spec := func(head, cpu, memory string, oom int, more string) string {
		return head + "\ncontainers:\n- " + box("one", "tick 0.1", fmt.Sprintf(limits, cpu, memory, oom, more)) +
			"\n- " + box("two", "tick 0.1", fmt.Sprintf(limits, "500m", "128Mi", 100, ""))
	}
	w.declare("web", spec("state: Running", "500m", "128Mi", 100, ""))
	was := w.running("web")
	w.said("web/one", "tick 1")
	mib := func(n int) string { return strconv.Itoa(n << 20) }
	const headroom = 64 + 2*16
	cpu := func(s sandbox) string {
		return strings.Fields(kernelHas(t, s, "cpu.cfs_quota_us", "cpu.max"))[0]
	}
	memory := func(s sandbox) string { return kernelHas(t, s, "memory.limit_in_bytes", "memory.max") }
	oom := func(s sandbox) string {
		sentry, _ := score(s.Status.SandboxPID)
		one, _ := score(*s.box("one").GoferPID)
		return fmt.Sprint(sentry, one)
	}
	none := func(sandbox) string { return "" }
	for _, c := range []struct {
		name, spec, fields, verb string
		has                      func(sandbox) string
		want                     string
	}{
		{"CPU raised", spec("state: Running", "1500m", "128Mi", 100, ""), "resources", "setLimits", cpu, "200000"},
		{"CPU lowered", spec("state: Running", "100m", "128Mi", 100, ""), "resources", "setLimits", cpu, "60000"},
		{"memory raised", spec("state: Running", "100m", "512Mi", 100, ""), "resources", "setLimits", memory, mib(640 + headroom)},
		{"memory lowered", spec("state: Running", "100m", "64Mi", 100, ""), "resources", "setLimits", memory, mib(192 + headroom)},
		{"score", spec("state: Running", "100m", "64Mi", 300, ""), "oomScoreAdj", "setOOMScore", oom, "100 300"},
		{"stop signal", spec("state: Running", "100m", "64Mi", 300, ", lifecycle: {stopSignal: SIGINT}"), "lifecycle", "", none, ""},
		{"container's policy", spec("state: Running", "100m", "64Mi", 300, ", restartPolicy: Never"), "restartPolicy", "", none, ""},
		{"policy", spec("restartPolicy: OnFailure", "100m", "64Mi", 300, ", restartPolicy: Never"), "restartPolicy", "", none, ""},
		{"back-off", spec("restartBackoff: {max: 7s}", "100m", "64Mi", 300, ""), "restartBackoff", "", none, ""},
		{"grace period", spec("terminationGracePeriodSeconds: 2", "100m", "64Mi", 300, ""), "terminationGracePeriodSeconds", "", none, ""},
		{"paused", spec("state: Paused", "100m", "64Mi", 300, ""), "state", "pause", nil, ""},
		{"resumed", spec("state: Running", "100m", "64Mi", 300, ""), "state", "resume", none, ""},
	} {
		update := false
		w.comesToRest() // else what is left of the last change is planned, too
		for _, a := range w.plan("web", c.spec) {
			update = update || a.Action == "update" && a.Class == "in place" && strings.Contains(a.Reason, c.fields)
			if a.Action != "update" && a.Action != c.verb || a.Class != "in place" {
				t.Errorf("%s: planned %+v", c.name, a)
			}
		}
		if !update {
			t.Errorf("%s: the plan does not say that %s changes in place", c.name, c.fields)
		}
		before, _ := w.get("web")
		w.declare("web", c.spec)
		if c.has == nil {
			w.wait("web", c.name, phase("Paused"))
			continue
		}
		now := w.wait("web", c.name, func(s sandbox) bool {
			return running(s) && s.Status.SpecHash != before.Status.SpecHash
		})
		if !poll(func() bool { return c.has(now) == c.want }) {
			t.Errorf("%s: in force is %s, want %s", c.name, c.has(now), c.want)
		}
		if is, want := identity(t, now), identity(t, was); is != want {
			t.Errorf("%s: %s became %s", c.name, want, is)
		}
		for _, name := range []string{"one", "two"} {
			if is, want := identityOf(t, now, name), identityOf(t, was, name); is != want {
				t.Errorf("%s: %s became %s", c.name, want, is)
			}
		}
	}
	w.saidTimes("web/one", "tick", 20)
	if n := count(w.said("web/one", "tick 2"), "tick 1"); n != 1 {
		t.Errorf("it began %d times", n)
	}
}

// What is changed of one container has that one made anew; its siblings go on.
func TestChangesOfOneContainer(t *testing.T) {
	w := start(t)
	spec := func(one string, more ...string) string {
		list := append([]string{"volumes: [{name: v, files: {f: x}}]", "terminationGracePeriodSeconds: 5", "containers:",
			"- {name: one, rootfs: {path: ROOT" + one + "}", "- " + box("two", "tick 0.1")}, more...)
		return strings.Join(list, "\n")
	}
	const command = "}, command: [/w, id, then, sleep]"
	w.declare("web", spec(command))
	was := w.running("web")
	for _, c := range []struct{ name, one, fields string }{
		{"command", "}, command: [/w, env, then, sleep]", "command"},
		{"args", "}, command: [/w, env], args: [then, sleep]", "args, command"},
		{"env", "}, command: [/w, env], args: [then, sleep], env: [{name: A, value: b}]", "env"},
		{"variable", "}, command: [/w, env], args: [then, sleep], env: [{name: A, value: c}]", "env[A].value"},
		{"user", "}, command: [/w, id, then, sleep], securityContext: {runAsUser: 7}", "args, command, env, securityContext"},
		{"directory", "}, command: [/w, id, then, sleep], workingDir: /proc", "securityContext, workingDir"},
		{"mount", "}, command: [/w, id, then, sleep], volumeMounts: [{name: v, mountPath: /v}]", "volumeMounts, workingDir"},
		{"root", ", readOnly: true}, command: [/w, id, then, sleep]", "rootfs.readOnly, volumeMounts"},
	} {
		w.comesToRest()
		before := w.running("web")
		text := spec(c.one)
		want := fmt.Sprintf("container %q was changed: %s; it has 5s to end", "one", c.fields)
		if plan := w.plan("web", text); len(plan) != 1 || plan[0] != (action{"web", "one", "signal", "container", want}) {
			t.Errorf("%s: planned %+v", c.name, plan)
		}
		w.declare("web", text)
		now := w.wait("web", c.name, func(s sandbox) bool { return running(s) && s.box("one").ID != before.box("one").ID })
		if identity(t, now) != identity(t, was) || identityOf(t, now, "two") != identityOf(t, was, "two") {
			t.Errorf("%s: others were touched: %+v became %+v", c.name, was, now)
		}
		if one := now.box("one"); one.RestartCount != 0 {
			t.Errorf("%s: it counts as a restart: %+v", c.name, one)
		}
	}
	// One that is added or removed touches nobody else.
	const one = "}, command: [/w, sleep]"
	w.declare("web", spec(one))
	was = w.wait("web", "as before", func(s sandbox) bool { return running(s) && s.box("one").ID == "web.one.10" })
	w.comesToRest()
	added := spec(one, "- "+box("three", "sleep"))
	if plan := w.plan("web", added); len(plan) != 1 || plan[0] != (action{"web", "three", "start", "container", `container "three" was added`}) {
		t.Errorf("planned for one more: %+v", plan)
	}
	w.declare("web", added)
	now := w.wait("web", "added", func(s sandbox) bool { return running(s) && s.box("three").State == "running" })
	w.declare("web", spec(one))
	less := w.wait("web", "removed", func(s sandbox) bool { return running(s) && len(s.Status.Containers) == 2 })
	for _, s := range []sandbox{now, less} {
		for _, name := range []string{"one", "two"} {
			if identity(t, s) != identity(t, was) || identityOf(t, s, name) != identityOf(t, was, name) {
				t.Errorf("it touched %s: %+v became %+v", name, was, s)
			}
		}
	}
}

// What all containers share has the sandbox replaced, for a reason that names it.
func TestChangesOfTheSandbox(t *testing.T) {
	w := start(t)
	spec := func(head string) string {
		return head + "\nterminationGracePeriodSeconds: 5\ncontainers:\n- " + box("one", "sleep") + "\n- " + box("two", "sleep")
	}
	w.declare("web", spec("hostname: a"))
	for _, c := range []struct{ head, fields string }{
		{"hostname: b", "hostname"},
		{"hostname: b\nvolumes: [{name: v, files: {f: x}}]", "volumes"},
		{"hostname: b\nvolumes: [{name: v, files: {f: y}}]", "volumes[v].files.f"},
		{"hostname: b\nnetwork: {mode: host}", "network.mode, volumes"},
	} {
		w.comesToRest()
		was := w.running("web")
		before := identity(t, was)
		reason := "the sandbox was changed: " + c.fields
		plan := w.plan("web", spec(c.head))
		for i, name := range []string{"one", "two"} {
			want := action{"web", name, "signal", "sandbox", fmt.Sprintf("%s; container %q has 5s to end", reason, name)}
			if len(plan) != 2 || plan[i] != want {
				t.Errorf("planned %+v, want %+v", plan, want)
			}
		}
		w.declare("web", spec(c.head))
		now := w.wait("web", "replaced", func(s sandbox) bool {
			now, there := whoHas(s.Status.SandboxPID) // what is shown may have gone
			return running(s) && there && "sentry "+now != before
		})
		for _, b := range now.Status.Containers {
			if b.ID == was.box(b.Name).ID && b.StartedAt.Equal(*was.box(b.Name).StartedAt) || b.RestartCount != 0 {
				t.Errorf("%s: %+v became %+v", c.fields, was.box(b.Name), b)
			}
		}
		if events := w.ok("events", "web"); !strings.Contains(strings.Join(strings.Fields(events), " "), reason) {
			t.Errorf("no event gives the reason %q:\n%s", reason, events)
		}
	}
}

// An update waits for no back-off: neither a container's, nor the sandbox's.
func TestUpdatePreemptsBackOff(t *testing.T) {
	w := start(t)
	const patient = "restartBackoff: {initial: 24h, max: 24h}\n"
	w.declare("web", patient+"containers:\n- "+box("app", "exit 3")+"\n- "+box("other", "sleep"))
	waits := func(s sandbox) bool {
		at := s.box("app").NextStartAt
		return at != nil && time.Until(*at) > time.Hour
	}
	was := w.wait("web", "waiting", waits)
	// One of something else tries it again at once, and no more often.
	w.declare("web", patient+"terminationGracePeriodSeconds: 1\ncontainers:\n- "+box("app", "exit 3")+"\n- "+box("other", "sleep"))
	again := w.wait("web", "tried again", func(s sandbox) bool {
		return waits(s) && s.box("app").RestartCount > was.box("app").RestartCount
	})
	w.declare("web", patient+"containers:\n- "+box("app", "sleep")+"\n- "+box("other", "sleep"))
	now := w.wait("web", "fixed", running)
	if identityOf(t, now, "other") != identityOf(t, was, "other") || identity(t, now) != identity(t, was) {
		t.Errorf("others were touched: %+v became %+v", was, now)
	}
	if now.box("app").RestartCount != again.box("app").RestartCount {
		t.Errorf("the update counts as a restart: %+v", now.box("app"))
	}

	// A sandbox that could not be created: its volume's place is taken.
	volume := func(name string) string {
		return patient + "volumes: [{name: " + name + ", emptyDir: {}}]\ncontainers: [" + box("app", "sleep") + "]"
	}
	taken := filepath.Join(w.data, "volumes", "new")
	if err := os.MkdirAll(filepath.Dir(taken), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.declare("new", volume("v"))
	w.wait("new", "failed", func(s sandbox) bool { return s.has("CreateFailed") })
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	w.declare("new", volume("other"))
	if s := w.running("new"); s.has("CreateFailed") {
		t.Errorf("it runs, and %+v", s.Status.Conditions)
	}
}
