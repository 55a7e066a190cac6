package test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A signal reaches the first process, or all of them, of the container that is
// meant, and the daemon goes on as the restart policy says.
func TestKill(t *testing.T) {
	w := start(t)
	w.declare("web", "restartPolicy: Never\nterminationGracePeriodSeconds: 0\ncontainers:\n- "+box("app", "leave-signals then signals")+"\n- "+box("other", "signals")+
		"\n- "+box("done", "exit 0"))
	w.running("web")
	w.wait("web", "done in part", func(s sandbox) bool { return s.box("done").exited(0) })
	w.said("web/app", "waiting")
	w.said("web/other", "waiting")
	w.ok("kill", "web/app", "USR1")
	w.said("web/app", "got user defined signal 1")
	w.ok("kill", "web", "-c", "other")
	w.said("web/other", "got terminated")
	w.ok("kill", "web/app", "-s", "2", "--all")
	w.said("web/app", "child got interrupt")
	w.said("web/app", "got interrupt")
	w.ok("kill", "web", "--signal", "SIGHUP", "--all")
	w.said("web/app", "child got hangup")
	w.said("web/other", "got hangup")
	for who, unwanted := range map[string]string{"web/app": "child got user", "web/other": "got interrupt"} {
		if out := w.ok("logs", who); strings.Contains(out, unwanted) {
			t.Errorf("%s was not meant: %q", who, out)
		}
	}
	for args, want := range map[string]string{
		"web":           "several containers",
		"web/done":      `container "done" of sandbox "web" does not run: it is stopped (Completed, exit code 0)`,
		"web/app -s 99": "no signal's number",
		"nobody":        "no sandbox",
	} {
		if r := w.run(append([]string{"kill"}, strings.Fields(args)...)...); r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("kill %s: %+v", args, r)
		}
	}
	w.ok("kill", "web/app", "KILL")
	s := w.wait("web", "half gone", func(s sandbox) bool { return s.box("app").State == "stopped" })
	if c := s.box("app"); c.ExitCode == nil || *c.ExitCode != 128+9 || s.box("other").State != "running" {
		t.Errorf("after SIGKILL: %+v", s)
	}
	if !poll(func() bool { return strings.Contains(w.ok("events", "web"), "a user sent SIGKILL") }) {
		t.Errorf("the events are\n%s", w.ok("events", "web"))
	}
}

// A container that is killed is started again where its policy says so, and
// its exit code is known, also over a restart of the daemon.
func TestKillIsFollowedByARestart(t *testing.T) {
	w := start(t)
	w.declare("web", app("print up then sleep"))
	w.running("web")
	w.said("web", "up")
	w.restart()
	w.running("web")
	w.ok("kill", "web", "-s", "KILL")
	s := w.wait("web", "running again", func(s sandbox) bool { return running(s) && s.box("app").RestartCount == 1 })
	if s.box("app").ID != "web.app.2" {
		t.Errorf("it is %+v", s.box("app"))
	}
	w.saidTimes("web", "up", 2)
}

// process is one of ps's.
type process struct {
	Container   string
	PID, PPID   int
	UID         int
	Threads     int
	CPUSeconds  float64
	MemoryBytes int64
	StartedAt   time.Time
	Command     []string
}

func (w *world) processes(args ...string) []process {
	w.t.Helper()
	var list struct{ Items []process }
	w.json(&list, append([]string{"ps", "-o", "json"}, args...)...)
	return list.Items
}

// ps shows what runs in each container, whose it is and what it uses, and
// nothing of what runs beside.
func TestProcesses(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "allocate 30 then spin 1 then spawn 2 then print ready then sleep", "securityContext: {runAsUser: 7}")+
		"\n- "+box("other", "sleep"))
	w.running("web")
	w.said("web/app", "ready")
	s := w.session("exec", "-i", "web/other", "--", "/w", "copy")
	s.in.Write([]byte("here\n"))
	s.expect("here")
	list := w.processes("web")
	var commands []string
	for _, p := range list {
		commands = append(commands, p.Container+" "+strings.Join(p.Command, " "))
		if age := time.Since(p.StartedAt); p.PID == 0 || p.Threads == 0 || p.MemoryBytes == 0 || age < 0 || age > time.Hour {
			t.Errorf("%+v", p)
		}
	}
	first := "app /w allocate 30 then spin 1 then spawn 2 then print ready then sleep"
	want := []string{first, "app /proc/self/exe sleep", "app /proc/self/exe sleep", "other /w sleep", "other /w copy"}
	if !slices.Equal(commands, want) {
		t.Fatalf("%q, want %q", commands, want)
	}
	// On a slow host it has not had all of that second, and others take longer to begin.
	if p := list[0]; p.PPID != 0 || p.UID != 7 || p.CPUSeconds < 0.2 || p.CPUSeconds > 60 || p.MemoryBytes < 30<<20 {
		t.Errorf("the first is %+v", p)
	}
	if p := list[1]; p.PPID != list[0].PID || p.CPUSeconds >= list[0].CPUSeconds || p.StartedAt.Before(list[0].StartedAt) {
		t.Errorf("its child is %+v", p)
	}
	if of := w.processes("web/app"); len(of) != 3 {
		t.Errorf("of one container: %+v", of)
	}
	s.in.Close()
	s.ends(0)
	if !poll(func() bool { return len(w.processes("web/other")) == 1 }) {
		t.Errorf("what has ended shows: %+v", w.processes("web/other"))
	}
	table, _ := w.atTerminal(24, 80, "ps", "web")
	for line := range table.lines {
		if len([]rune(strings.TrimRight(line, "\r\n"))) > 80 {
			t.Errorf("more than 80 columns: %q", line)
		}
	}
	table.ends(0)
	// A paused sandbox shows what is frozen, one that does not run what it is.
	w.declare("web", "state: Paused\ncontainers:\n- "+box("app", "spawn 1 then print ready then sleep"))
	w.wait("web", "paused", phase("Paused"))
	if list := w.processes("web"); len(list) == 0 {
		t.Errorf("nothing shows of a paused sandbox")
	}
	w.declare("web", app("sleep", "state: Stopped"))
	w.wait("web", "stopped", phase("Stopped"))
	if r := w.run("ps", "web"); r.code != 1 || !strings.Contains(r.err, `sandbox "web" does not run: it is Stopped`) {
		t.Errorf("of a stopped sandbox: %+v", r)
	}
}

// The beginning of a name or an ID will do for who reads, where it fits only one.
func TestPrefixes(t *testing.T) {
	w := start(t)
	w.declare("frontend", app("print front then sleep"))
	w.declare("frontier", app("sleep"))
	w.declare("backend", "containers:\n- "+box("app", "print back then sleep")+"\n- "+box("other", "sleep"))
	for _, name := range []string{"frontend", "frontier", "backend"} {
		w.running(name)
	}
	w.said("frontend", "front")
	for args, want := range map[string]string{
		"logs fronte":                         "front\n",
		"exec backend -c app -- /w hostname":  "hostname backend\n",
		"exec backend.other -- /w hostname":   "hostname backend\n",
		"exec backend.other.1 -- /w hostname": "hostname backend\n",
	} {
		if got := w.ok(strings.Fields(args)...); got != want {
			t.Errorf("%s: %q", args, got)
		}
	}
	for args, want := range map[string]string{
		"exec f -- /w":         `"f" is the beginning of several names: frontend, frontier`,
		"kill front/app":       `"front" is the beginning of several names: frontend, frontier`,
		"logs backend.":        `"backend." is the beginning of several containers' ids: backend.app.1, backend.other.1`,
		"exec backend -- /w":   "several containers",
		"exec backend.o -- /w": `there is no container "backend.o"; backend.other.1 begins so`,
		"exec frontend.x -- y": "no sandbox",
	} {
		if r := w.run(strings.Fields(args)...); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	// So it is with every command that takes the name of what is there.
	for args, changes := range map[string]bool{"get NAME": false, "get NAME -o json": false, "describe NAME": false, "events NAME": false, "logs NAME": false,
		"ps NAME": false, "stats NAME": false, "exec NAME -- /w hostname": true, "kill NAME -s USR2": true, "restart NAME": true,
		"attach NAME": true, "checkpoint NAME --image-path " + w.dir + "/image": true} {
		r := w.run(strings.Fields(strings.ReplaceAll(args, "NAME", "front"))...)
		if r.code != 1 || !strings.Contains(r.err, `"front" is the beginning of several names: frontend, frontier`) {
			t.Errorf("%s with front: %+v", args, r)
		}
		r = w.run(strings.Fields(strings.ReplaceAll(args, "NAME", "fronte"))...)
		if !changes && r.code != 0 || changes && (r.code != 1 || !strings.Contains(r.err, `there is no sandbox "fronte"; frontend begins so`)) {
			t.Errorf("%s with fronte: %+v", args, r)
		}
	}
	if r := w.run("wait", "frontend.a", "--for", "Running", "--timeout", "60s"); r.code != 0 {
		t.Errorf("wait for an ID: %+v", r)
	}
}
