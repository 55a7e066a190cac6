package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// content is what a file of the shared volume holds; empty: there is none.
func (w *world) content(file string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "v", file))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// hooked is a sandbox whose container runs hook before it is stopped.
func hooked(command, hook string, more ...string) string {
	return quick + shared + "terminationGracePeriodSeconds: 3600\ncontainers:\n- " +
		box("app", command, append(more, seen, "lifecycle: {preStop: {"+hook+"}}")...)
}

// However a container is stopped, what it is to do before is done before, and
// its stop signal comes then.
func TestPreStop(t *testing.T) {
	w := start(t)
	const failing = "livenessProbe: {periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1, exec: {command: [/w, read, /v/alive]}}"
	for name, stop := range map[string]func(w *world, name, spec string){
		"stopped": func(w *world, name, spec string) { w.declare(name, "state: Stopped\n"+spec) },
		"removed": func(w *world, name, spec string) { w.undeclare(name) },
		"restart": func(w *world, name, spec string) { w.session("restart", name) },
		"changed": func(w *world, name, spec string) {
			w.declare(name, strings.Replace(spec, "exit-on-term", "print\", \"new\", \"then\", \"exit-on-term", 1))
		},
		"gone":     func(w *world, name, spec string) { w.declare(name, "containers:\n- "+box("other", "sleep")) },
		"replaced": func(w *world, name, spec string) { w.declare(name, "hostname: other\n"+spec) },
		"created":  func(w *world, name, spec string) { w.declare(name, "state: Created\n"+spec) },
		"unwell":   func(w *world, name, spec string) { w.remove("alive") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			more := []string{}
			if name == "unwell" {
				w.touch("alive")
				more = []string{failing}
			}
			spec := hooked("exit-on-term 5 then print ready then sleep", "exec: {command: [/w, count, /v/"+name+", then, await, /v/go-"+name+"]}", more...)
			w.declare(name, spec)
			before := w.running(name)
			w.said(name+"/app", "ready")
			stop(w, name, spec)
			if !poll(func() bool { return w.content(name) != "" }) {
				t.Fatal("preStop is not done")
			}
			if s, _ := w.get(name); s.box("app").State != "running" || s.box("app").ID != before.box("app").ID {
				t.Errorf("meanwhile it is %+v", s)
			}
			if early := w.events(name, "Signalled"); len(early) > 0 {
				t.Errorf("it was signalled: %+v", early)
			}
			if name == "unwell" {
				w.touch("alive")
			}
			w.touch("go-" + name)
			if !poll(func() bool { return len(w.events(name, "Ended")) > 0 }) {
				t.Fatal("it does not end")
			}
			if n := w.content(name); n != "1" {
				t.Errorf("preStop was done %s times", n)
			}
			if e := w.events(name, "Ended"); !strings.Contains(e[0].Message, "exit code 5") {
				t.Errorf("it had no stop signal: %+v", e)
			}
			if e := w.events(name, "PreStop"); len(e) != 1 || e[0].Container != "app" || !strings.Contains(e[0].Message, "begins with its preStop") {
				t.Errorf("events say %+v", e)
			}
		})
	}
}

// What ends by itself does nothing more; a preStop that fails stops nobody from
// stopping.
func TestPreStopFails(t *testing.T) {
	w := start(t)
	w.declare("own", "restartPolicy: Never\n"+hooked("exit 3", "exec: {command: [/w, count, /v/own]}"))
	w.wait("own", "failed", phase("Failed"))
	w.undeclare("own")
	w.gone("own")
	if n := w.content("own"); n != "" {
		t.Errorf("preStop was done %s times after the end", n)
	}
	for name, c := range map[string]struct{ hook, want string }{
		"code":    {"exec: {command: [/w, complain, no, 'no!', then, exit, '7']}", "exit code 7: no no!"},
		"missing": {"exec: {command: [/missing]}", "/missing"},
		"refused": {"httpGet: {port: 81}", "refused"},
	} {
		spec := hooked("exit-on-term 5 then print ready then sleep", c.hook)
		w.declare(name, spec)
		w.running(name)
		w.said(name, "ready")
		w.declare(name, "state: Stopped\n"+spec)
		if s := w.wait(name, "stopped", phase("Stopped")); !s.box("app").exited(5) {
			t.Errorf("%s: it is %+v", name, s.box("app"))
		}
		if e := w.events(name, "FailedPreStopHook"); len(e) != 1 || !strings.Contains(e[0].Message, c.want) || e[0].Type != "Warning" {
			t.Errorf("%s: events say %+v", name, e)
		}
	}
}

// A request and a while are other things to do. The grace period counts all of
// it; who is late gets the stop signal, and two seconds.
func TestPreStopTime(t *testing.T) {
	w := start(t)
	for name, c := range map[string]struct {
		command, hook string
		grace         string
		code          int
		least         time.Duration
	}{
		"http":  {"serve 80 then exit-on-term 5", "httpGet: {port: 80, path: /bye}", "3600", 5, 0},
		"sleep": {"exit-on-term 5", "sleep: {seconds: 1}", "3600", 5, time.Second},
		"late":  {"exit-on-term 5", "exec: {command: [/w, sleep]}", "1", 5, time.Second},
		"deaf":  {"ignore-term", "exec: {command: [/w, sleep]}", "1", 137, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			spec := strings.Replace(hooked(c.command+" then print ready then sleep", c.hook), "Seconds: 3600", "Seconds: "+c.grace, 1)
			w.declare(name, spec)
			w.running(name)
			w.said(name, "ready")
			begin := time.Now()
			w.declare(name, "state: Stopped\n"+spec)
			s := w.wait(name, "stopped", phase("Stopped"))
			took := time.Since(begin)
			if took < c.least {
				t.Errorf("it took %s", took)
			}
			late := c.grace == "1"
			// The two seconds can be over before a busy machine has it end by itself.
			killed := late && took > 3*time.Second && s.box("app").exited(137) && len(w.events(name, "Signalled")) == 1
			if !s.box("app").exited(c.code) && !killed {
				t.Errorf("after %s it is %+v", took, s.box("app"))
			}
			if late {
				poll(func() bool { return len(w.events(name, "FailedPreStopHook")) > 0 })
			}
			if failed := w.events(name, "FailedPreStopHook"); late != (len(failed) > 0) || late && !strings.Contains(failed[0].Message, "not over within the grace period") {
				t.Errorf("events say %+v", failed)
			}
		})
	}
}

// A preStop that goes on when the daemon is killed is begun anew by the next.
func TestPreStopOverRestart(t *testing.T) {
	w := start(t)
	spec := hooked("exit-on-term 5 then print ready then sleep", "exec: {command: [/w, count, /v/times, then, await, /v/go]}")
	w.declare("web", spec)
	w.running("web")
	w.said("web", "ready")
	w.declare("web", "state: Stopped\n"+spec)
	if !poll(func() bool { return w.content("times") == "1" }) {
		t.Fatal("preStop is not done")
	}
	w.restart()
	if !poll(func() bool { return w.content("times") == "2" }) {
		t.Fatal("the new daemon does nothing")
	}
	w.touch("go")
	if s := w.wait("web", "stopped", phase("Stopped")); !s.box("app").exited(5) {
		t.Errorf("it is %+v", s.box("app"))
	}
}
