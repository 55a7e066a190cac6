package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Hooks that were due when the daemon was killed are run by the next one:
// those after the end to their end, those before the command for a new instance.
func TestHooksAreOwedOverRestarts(t *testing.T) {
	w := start(t)
	done := w.hookScript("done", "")
	h := w.hookScript("hook", `[ -e FILE ] || sleep 100000`)
	gate := h + ".file"
	open := func() {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shut := func() {
		if err := os.Remove(gate); err != nil {
			t.Fatal(err)
		}
	}
	hooks := "hooks: {prestart: [" + hook(h, "prestart") + "], poststop: [" + hook(done, "first") + ", " + hook(h, "second") + ", " + hook(done, "third") + "]}"
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], "+hooks+"}")
	w.called(1)
	w.kill()
	open()
	w.start()
	w.running("web")
	want := []string{"prestart web.app.1", "first web.app.1", "second web.app.1", "third web.app.1", "prestart web.app.2"}
	if got := w.called(5); !slices.Equal(got, want) {
		t.Fatalf("called were %q, want %q", got, want)
	}
	for i, end := range []func(){w.kill, w.stop} {
		shut()
		if i == 0 {
			w.undeclare("web")
		} else {
			w.declare("web", "state: Stopped\ncontainers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], "+hooks+"}")
		}
		before := len(want)
		id := fmt.Sprintf("web.app.%d", 2-i)
		w.called(before + 2)
		end()
		open()
		w.start()
		if i == 0 {
			w.gone("web")
		}
		// The one that was cut off is run again, the one before it is not.
		want = append(want, "first "+id, "second "+id, "second "+id, "third "+id)
		if got := w.called(len(want)); !slices.Equal(got, want) {
			t.Fatalf("called were %q, want %q", got, want)
		}
		if i == 0 {
			w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], "+hooks+"}")
			w.running("web")
			want = append(want, "prestart web.app.1")
		}
	}
}

// What is suspended has not ended: its hooks come when it does.
func TestHooksOfWhatIsSuspended(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", "")
	spec := func(state string) string {
		return "state: " + state + "\ncontainers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {prestart: [" + hook(h, "prestart") +
			"], poststart: [" + hook(h, "poststart") + "], poststop: [" + hook(h, "poststop") + "]}}"
	}
	w.declare("web", spec("Running"))
	w.running("web")
	w.called(2)
	for range 2 {
		w.declare("web", spec("Suspended"))
		w.wait("web", "suspended", phase("Suspended"))
		w.declare("web", spec("Running"))
		w.running("web")
	}
	w.declare("web", spec("Suspended"))
	w.wait("web", "suspended", phase("Suspended"))
	w.undeclare("web")
	w.gone("web")
	if got, want := w.called(3), []string{"prestart web.app.1", "poststart web.app.1", "poststop web.app.1"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
}

// A bundle's hooks are refused, or come before the manifest's, as the
// configuration file says.
func TestHooksOfABundle(t *testing.T) {
	w := newWorld(t)
	h := w.hookScript("hook", "")
	one := func(point string) []any {
		return []any{map[string]any{"path": h, "args": []string{"hook", point}, "timeout": 5}}
	}
	hooked := map[string]any{"prestart": one("theirs"), "poststop": one("their last")}
	dir := w.bundle("b", func(config map[string]any) {
		config["hooks"], config["annotations"] = hooked, map[string]any{"org.example.owner": "them"}
	})
	w.start()
	spec := "containers:\n- {name: app, bundle: " + dir + ", hooks: {prestart: [" + hook(h, "ours") + "]}}"
	w.declare("web", spec)
	s := w.wait("web", "refused", func(s sandbox) bool { return s.box("app").Reason == "StartError" })
	if m := s.box("app").Message; !strings.Contains(m, "hooks are not allowed") || !strings.Contains(m, "allowBundleHooks") {
		t.Errorf("it is told as %q", m)
	}
	w.undeclare("web")
	w.gone("web")
	if calls := w.calls(); len(calls) != 0 {
		t.Errorf("called were %+v", calls)
	}
	w.stop()
	w.configure("allowBundleHooks: true\n")
	w.start()
	w.declare("web", spec)
	w.running("web")
	w.restart() // the last hook is told of them by another daemon
	w.running("web")
	if got, want := w.called(2), []string{"theirs web.app.1", "ours web.app.1"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
	w.undeclare("web")
	w.gone("web")
	if got := w.called(3); got[2] != "their last web.app.1" {
		t.Errorf("called were %q", got)
	}
	for _, c := range w.calls() {
		if told, _ := c.state["annotations"].(map[string]any); told["org.example.owner"] != "them" || len(told) < 2 {
			t.Errorf("%s is told of the annotations %v", c.point, told)
		}
	}
	hooked["startContainer"] = one("never")
	inside := w.bundle("c", func(config map[string]any) { config["hooks"] = hooked })
	w.declare("web", "containers: [{name: app, bundle: "+inside+"}]")
	w.wait("web", "refused", func(s sandbox) bool { return strings.Contains(s.box("app").Message, "inside a container's namespaces") })
}

// The hooks of a container that dies with its sandbox come before those of the
// next instance.
func TestHooksOfALostSandbox(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", "")
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {prestart: ["+hook(h, "prestart")+"], poststop: ["+hook(h, "poststop")+"]}}")
	was := w.running("web")
	kill(t, was.Status.SandboxPID, syscall.SIGKILL)
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID == "web.app.2" })
	if got, want := w.called(3), []string{"prestart web.app.1", "poststop web.app.1", "prestart web.app.2"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
	if c := w.calls()[1]; c.state["status"] != "stopped" {
		t.Errorf("poststop was called with %+v", c)
	}
}

// A container that does not end when it is asked to is killed, and its hooks
// come before the next instance, or before it is forgotten.
func TestHooksOfWhatIsKilled(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", "")
	spec := func(more string) string {
		return "terminationGracePeriodSeconds: 1\ncontainers:\n- " + box("other", "sleep") + "\n" + more
	}
	app := func(more string) string {
		return spec("- {name: app, rootfs: {path: ROOT}, command: [/w, ignore-term, then, print, ready, then, sleep]" + more +
			", hooks: {prestart: [" + hook(h, "prestart") + "], poststop: [" + hook(h, "poststop") + "]}}")
	}
	w.declare("web", app(""))
	was := w.running("web")
	w.said("web/app", "ready")
	w.declare("web", app(", workingDir: /proc"))
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("app").ID == "web.app.2" })
	w.saidTimes("web/app", "ready", 2)
	w.declare("web", spec(""))
	now := w.wait("web", "without it", func(s sandbox) bool { return len(s.Status.Containers) == 1 })
	if got, want := w.called(4), []string{"prestart web.app.1", "poststop web.app.1", "prestart web.app.2", "poststop web.app.2"}; !slices.Equal(got, want) {
		t.Errorf("called were %q, want %q", got, want)
	}
	if identityOf(t, now, "other") != identityOf(t, was, "other") {
		t.Errorf("its sibling was touched")
	}
}

// A daemon that ends its sandboxes with itself has their hooks run first.
func TestHooksBeforeExit(t *testing.T) {
	w := start(t, "--stop-sandboxes-on-exit")
	h := w.hookScript("hook", `sleep 0.5; echo over >FILE`)
	w.declare("web", "containers:\n- {name: app, rootfs: {path: ROOT}, command: [/w, sleep], hooks: {poststop: ["+hook(h, "poststop")+"]}}")
	w.running("web")
	w.stop()
	if _, err := os.Stat(h + ".file"); err != nil {
		t.Errorf("the daemon has ended before its hook: %v", err)
	}
	w.start()
	w.running("web")
	if got := w.called(1); len(got) != 1 {
		t.Errorf("called were %q", got)
	}
}

// Init containers have hooks too, each time that they run.
func TestHooksOfInitContainers(t *testing.T) {
	w := start(t)
	h := w.hookScript("hook", "")
	hooks := "hooks: {prestart: [" + hook(h, "prestart") + "], poststart: [" + hook(h, "poststart") + "], poststop: [" + hook(h, "poststop") + "]}"
	spec := func(hostname string) string {
		return "hostname: " + hostname + "\ninitContainers:\n- " + box("prepare", "print prepared", hooks) + "\ncontainers:\n- " + box("app", "sleep")
	}
	var want []string
	for i, hostname := range []string{"a", "b"} {
		w.declare("web", spec(hostname))
		w.wait("web", "running", func(s sandbox) bool { return running(s) && s.box("app").ID == fmt.Sprint("web.app.", i+1) })
		for _, point := range []string{"prestart", "poststart", "poststop"} {
			want = append(want, fmt.Sprint(point, " web.prepare.", i+1))
		}
		if got := w.called(len(want)); !slices.Equal(got, want) {
			t.Fatalf("called were %q, want %q", got, want)
		}
	}
}

// Killed at random moments: whatever prestart prepared, poststop has freed
// before the next prestart, and at the end.
func TestHooksKilledAtAnyMoment(t *testing.T) {
	w := start(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := w.hookScript("hook", "sleep 0.0$(($$ % 10))")
	spec := func(state string) string {
		return fmt.Sprintf("state: %s\nterminationGracePeriodSeconds: 0\ncontainers:\n"+
			"- {name: app, rootfs: {path: ROOT}, command: [/w, print, round%d, then, sleep], hooks: {prestart: [%s], poststart: [%s], poststop: [%s]}}",
			state, random.IntN(2), hook(h, "prestart"), hook(h, "poststart"), hook(h, "poststop"))
	}
	declared := false
	for range 24 {
		state := []string{"Running", "Running", "Paused", "Suspended", "Stopped", nothing}[random.IntN(6)]
		switch {
		case state != nothing:
			w.declare("web", spec(state))
		case declared:
			w.undeclare("web")
		}
		declared = state != nothing
		// This sleep is the dice, not a wait for anything.
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		w.restart()
	}
	// A checkpoint with the other command may be left, which nothing is restored from.
	w.declare("web", spec("Stopped"))
	w.wait("web", "stopped", phase("Stopped"))
	w.declare("web", spec("Running"))
	w.running("web")
	w.undeclare("web")
	w.gone("web")
	prepared, n := "", 0
	for _, c := range w.calls() {
		id := fmt.Sprint(c.state["id"])
		switch c.point {
		case "prestart":
			if prepared != "" {
				t.Errorf("%s was never freed, and %s is prepared", prepared, id)
			}
			prepared = id
			n++
		case "poststart":
			if prepared != id {
				t.Errorf("%s runs, and %q is prepared", id, prepared)
			}
		case "poststop":
			if prepared != id && prepared != "" {
				t.Errorf("%s is freed, and %s is prepared", id, prepared)
			}
			prepared = ""
		}
	}
	if prepared != "" || n == 0 {
		t.Errorf("%d were prepared, and %q is not freed", n, prepared)
	}
	t.Logf("%d calls, %d of prestart", len(w.calls()), n)
}
