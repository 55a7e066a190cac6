package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// call is what a hook was called with, as the script below notes it.
type call struct {
	point   string // and what else the hook was given as its first argument
	state   map[string]any
	cgroups string
	there   string // what there was of the sandbox: its cgroup, its container's gofer
}

// hookScript writes a hook that notes each of its calls, then does more.
// FILE in more is a path of its own below the world's directory.
func (w *world) hookScript(name, more string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	text := `#!/bin/sh
state=$(cat)
there=""
for top in ` + strings.Join(hierarchies(), " ") + `; do [ -d "$top` + w.parent + `/web" ] && there=cgroup; done
printf '%s\t%s\t%s\t%s\n' "$1" "$state" "$(tr '\n' ' ' </proc/self/cgroup)" "$there" >>` + filepath.Join(w.dir, "calls") + "\n" +
		strings.ReplaceAll(more, "FILE", filepath.Join(w.dir, name+".file")) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// hook is one in a manifest.
func hook(path, point string, more ...string) string {
	return fmt.Sprintf("{path: %s, args: [hook, %q]%s}", path, point, strings.Join(append([]string{""}, more...), ", "))
}

// calls are the hooks' so far.
func (w *world) calls() (list []call) {
	w.t.Helper()
	b, _ := os.ReadFile(filepath.Join(w.dir, "calls"))
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		c := call{point: parts[0], cgroups: parts[2], there: parts[3]}
		if err := json.Unmarshal([]byte(parts[1]), &c.state); err != nil {
			w.t.Fatalf("%v in %q", err, line)
		}
		list = append(list, c)
	}
	return list
}

// called waits until so many calls were made, and names them: point, instance.
func (w *world) called(n int) (names []string) {
	w.t.Helper()
	poll(func() bool { return len(w.calls()) >= n })
	for _, c := range w.calls() {
		names = append(names, fmt.Sprint(c.point, " ", c.state["id"]))
	}
	return names
}

// events waits until an event with all of these words is there.
func (w *world) told(name string, words ...string) {
	w.t.Helper()
	var all string
	ok := poll(func() bool {
		all = w.ok("events", name, "-o", "json")
		for _, word := range words {
			if !strings.Contains(all, word) {
				return false
			}
		}
		return true
	})
	if !ok {
		w.t.Errorf("no event says %q:\n%s", words, all)
	}
}

// Hooks are run in their order, told how the container is, with a clean
// environment, outside of every sandbox's cgroup.
func TestHooks(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", `[ "$1" != prestart ] || { echo "$A-$HOME-$PWD"; [ "$(env | wc -l)" = 2 ]; } || exit 9`)
	spec := func(args string) string {
		return `hostname: h
containers:
- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], env: [{name: SECRET, value: s}]` + args + `,
   hooks: {prestart: [` + hook(h, "prestart", "env: [A=b]") + `], createRuntime: [` + hook(h, "createRuntime") + `],
   poststart: [` + hook(h, "poststart") + `, ` + hook(h, "again") + `], poststop: [` + hook(h, "poststop") + `]}}
- ` + box("other", "sleep")
	}
	w.declare("web", spec(""))
	was := w.running("web")
	if got, want := w.called(4), []string{"prestart web.app.1", "createRuntime web.app.1", "poststart web.app.1", "again web.app.1"}; !slices.Equal(got, want) {
		t.Fatalf("called were %q, want %q", got, want)
	}
	bundle := filepath.Join(w.state, "sandboxes", "web", "bundles", "web.app.1")
	w.told("web", `b--`+bundle, "HookDone") // what the first has said
	for i, c := range w.calls() {
		status := "creating"
		if i > 1 {
			status = "running"
		}
		ours, _ := c.state["annotations"].(map[string]any)
		if c.state["status"] != status || c.state["pid"] != float64(was.Status.SandboxPID) || c.state["bundle"] != bundle ||
			c.state["ociVersion"] == "" || ours["io.kubernetes.cri.sandbox-id"] != "web" || ours["io.kubernetes.cri.container-name"] != "app" {
			t.Errorf("%s was told %v", c.point, c.state)
		}
		if strings.Contains(c.cgroups, w.parent) {
			t.Errorf("%s ran in %s", c.point, c.cgroups)
		}
	}
	config, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	var oci struct {
		Root  struct{ Path string }
		Hooks struct{ Prestart []struct{ Path string } }
	}
	if err == nil {
		err = json.Unmarshal(config, &oci)
	}
	if err != nil || oci.Root.Path != rootfs || len(oci.Hooks.Prestart) != 1 || oci.Hooks.Prestart[0].Path != h {
		t.Errorf("the bundle has %s, %v", config, err)
	}
	// A container that is made anew has gone through all of them before.
	w.declare("web", spec(", workingDir: /proc"))
	now := w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID == "web.app.2" })
	got := w.called(9)[4:]
	if want := []string{"poststop web.app.1", "prestart web.app.2", "createRuntime web.app.2", "poststart web.app.2", "again web.app.2"}; !slices.Equal(got, want) {
		t.Fatalf("called were %q, want %q", got, want)
	}
	if c := w.calls()[4]; c.state["status"] != "stopped" || c.state["pid"] != nil || c.there != "cgroup" {
		t.Errorf("poststop was told %v", c.state)
	}
	if identityOf(t, now, "other") != identityOf(t, was, "other") || now.box("app").RestartCount != 0 {
		t.Errorf("%+v became %+v", was, now)
	}
	if !poll(func() bool { return !exists(bundle) }) {
		t.Errorf("its bundle is left: %s", bundle)
	}
	// One that ends with its sandbox is told of when nothing is left of that.
	w.undeclare("web")
	w.gone("web")
	list := w.calls()
	if c := list[len(list)-1]; len(list) != 10 || c.point != "poststop" || c.state["id"] != "web.app.2" || c.there != "" {
		t.Errorf("the last of %d was %+v", len(list), c)
	}
}

// A hook before the command that fails keeps the container from being started,
// that one alone, and an update is tried at once.
func TestHookBeforeTheCommandFails(t *testing.T) {
	w := start(t)
	good, bad := w.hookScript("good", "exit 0"), w.hookScript("bad", "echo no luck >&2; exit 3")
	spec := func(hooks string) string {
		return "restartBackoff: {initial: 24h, max: 24h}\ncontainers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, print, ran, then, sleep], hooks: {" +
			hooks + "}}\n- " + box("other", "sleep")
	}
	for _, c := range []struct {
		name, hooks, point string
		calls              []string // per instance
	}{
		{"web", "prestart: [" + hook(bad, "bad") + ", " + hook(good, "never") + "], createRuntime: [" + hook(good, "nor") + "], poststop: [" + hook(good, "poststop") + "]",
			"prestart", []string{"bad", "poststop"}},
		{"api", "prestart: [" + hook(good, "good") + "], createRuntime: [" + hook(bad, "bad") + "], poststart: [" + hook(good, "never") + "], poststop: [" + hook(good, "poststop") + "]",
			"createRuntime", []string{"good", "bad", "poststop"}},
	} {
		if err := os.Remove(filepath.Join(w.dir, "calls")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		w.declare(c.name, spec(c.hooks))
		s := w.wait(c.name, "waiting for the next try", func(s sandbox) bool {
			return s.box("app").NextStartAt != nil && s.box("other").State == "running"
		})
		app := s.box("app")
		if app.Reason != "StartError" || !app.exited(128) || app.State != "stopped" || time.Until(*app.NextStartAt) < time.Hour ||
			!strings.Contains(app.Message, c.point+" hook "+bad+": exit status 3") || !strings.Contains(app.Message, "no luck") {
			t.Errorf("%s: it is %+v", c.point, app)
		}
		w.told(c.name, "HookFailed", c.point+" hook "+bad, "no luck")
		// The first restart came at once, the second waits.
		var want []string
		for i := range 2 {
			for _, point := range c.calls {
				want = append(want, fmt.Sprintf("%s %s.app.%d", point, c.name, i+1))
			}
		}
		if got := w.called(len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: called were %q, want %q", c.point, got, want)
		}
		if log := w.ok("logs", c.name+"/app"); strings.Contains(log, "ran") {
			t.Errorf("%s: the command ran", c.point)
		}
		w.declare(c.name, spec("prestart: ["+hook(good, "good")+"]"))
		now := w.running(c.name)
		if identityOf(t, now, "other") != identityOf(t, s, "other") {
			t.Errorf("%s: its sibling was touched", c.point)
		}
	}
}

// Hooks after the start and after the end that fail are told of, change
// nothing, and all others still run.
func TestHookAfterwardsFails(t *testing.T) {
	w := start(t)
	good, bad := w.hookScript("good", "exit 0"), w.hookScript("bad", `echo from "$1"; exit 3`)
	const nowhere = "{path: /nowhere}"
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {poststart: ["+
		hook(bad, "started")+", "+nowhere+", "+hook(good, "goes on")+"], poststop: ["+hook(bad, "stopped")+", "+nowhere+", "+hook(good, "after all")+"]}}")
	w.running("web")
	w.called(2)
	if s := w.running("web"); s.box("app").RestartCount != 0 || s.box("app").Reason != "" {
		t.Errorf("it is %+v", s.box("app"))
	}
	w.told("web", `from started`, "HookFailed", "exit status 3", "poststart hook /nowhere has failed", "no such file")
	w.undeclare("web")
	w.gone("web")
	want := []string{"started web.app.1", "goes on web.app.1", "stopped web.app.1", "after all web.app.1"}
	if got := w.called(4); !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
}

// A hook that takes too long is killed with all that it has started.
func TestHookTimesOut(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", `sleep 1000 & echo $$ $! >FILE; echo before; wait`)
	message := ""
	for _, seconds := range []int{1, 10, 60} { // on a slow host it does not come as far within the first
		name := fmt.Sprint("web", seconds)
		w.declare(name, "restartPolicy: Never\ncontainers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {prestart: ["+
			hook(h, "x", fmt.Sprint("timeout: ", seconds))+"]}}")
		message = w.wait(name, "failed", phase("Failed")).box("app").Message
		if want := fmt.Sprintf("it did not end within %s and was killed", time.Duration(seconds)*time.Second); !strings.Contains(message, want) {
			t.Errorf("it is told as %q", message)
		}
		if strings.Contains(message, "before") {
			break
		}
	}
	if !strings.Contains(message, "before") {
		t.Errorf("what it has said is not told: %q", message)
	}
	b, err := os.ReadFile(h + ".file")
	if err != nil {
		t.Fatal(err)
	}
	if len(strings.Fields(string(b))) != 2 {
		t.Errorf("the hook was processes %q", b)
	}
	for _, pid := range strings.Fields(string(b)) {
		if !poll(func() bool { return !lives(pid) }) {
			t.Errorf("process %s is left", pid)
		}
	}
}

// lives says whether a process is there and no zombie.
func lives(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	return err == nil && !strings.Contains(string(b), "Z (zombie)")
}

// While hooks run, everything else goes on: other sandboxes, siblings and their
// gofers, and the end of the sandbox itself.
func TestHooksHoldUpNobody(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", `echo $$ >FILE; sleep 100000`)
	long := hook(h, "prestart", "timeout: 86400")
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {prestart: ["+long+"], poststop: ["+hook(w.hookScript("last", ""), "poststop")+"]}}\n- "+
		box("other", "sleep"))
	w.called(1)
	w.declare("free", app("sleep"))
	w.running("free")
	s := w.wait("web", "serving its other container", func(s sandbox) bool { return s.box("other").State == "running" && s.box("other").GoferPID != nil })
	kill(t, *s.box("other").GoferPID, syscall.SIGKILL)
	s = w.replaced("web", "other", 1)
	if app := s.box("app"); app.State != "creating" || s.Status.Phase != "Pending" || !strings.Contains(s.Status.Message, "hooks") {
		t.Errorf("it is %s, %q, with %+v", s.Status.Phase, s.Status.Message, app)
	}
	// Changed meanwhile: the hooks of what is not wanted any more are ended.
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], args: [], workingDir: /proc, hooks: {prestart: ["+long+"]}}\n- "+box("other", "sleep"))
	if got, want := w.called(3), []string{"prestart web.app.1", "poststop web.app.1", "prestart web.app.2"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
	w.told("web", "its container is not to be started any more")
	var pid string // of the hook that runs, which it says after it was called
	if !poll(func() bool {
		b, err := os.ReadFile(h + ".file")
		pid = strings.TrimSpace(string(b))
		return err == nil && pid != "" && lives(pid)
	}) {
		t.Errorf("no hook runs, the last one was %q", pid)
	}
	w.undeclare("web")
	w.gone("web")
	if !poll(func() bool { return !lives(pid) }) {
		t.Errorf("the hook, process %s, goes on", pid)
	}
}
