package test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// containerStats and stats are what stats prints.
type containerStats struct {
	Name, ID                        string
	CPUSeconds                      float64
	CPUPercent                      *float64
	MemoryBytes                     int64
	MemoryLimitBytes                int64
	PIDs                            int64
	StorageBytes, StorageLimitBytes int64
}

type stats struct {
	Sandbox                                        string
	CPUSeconds                                     float64
	CPUPercent                                     *float64
	MemoryBytes, MemoryPeakBytes, MemoryLimitBytes int64
	PIDs                                           int64
	ReadBytes, WrittenBytes                        int64
	Containers                                     []containerStats
}

func (w *world) stats(args ...string) (s stats) {
	w.t.Helper()
	w.json(&s, append([]string{"stats", "-o", "json"}, args...)...)
	return s
}

// stats tells who of two containers computes, holds memory and has threads, and
// the host's count for both.
func TestStats(t *testing.T) {
	w := start(t)
	w.declare("web", "terminationGracePeriodSeconds: 0\ncontainers:\n- "+box("busy", "allocate 40 then print ready then spin 1000", "resources: {limits: {memory: 256Mi}}")+
		"\n- "+box("idle", "print ready then sleep")+"\n- "+box("done", "exit 0", "restartPolicy: Never"))
	w.running("web")
	w.said("web/busy", "ready")
	w.said("web/idle", "ready")
	w.wait("web", "running, with one that has ended", func(s sandbox) bool { return running(s) && s.box("done").exited(0) })
	var s stats
	var busy, idle containerStats
	// Others compute on this machine too, so that no share may be had for a while:
	// gVisor counts who waits for a CPU of the host as if it had one.
	shares := func() bool {
		s = w.stats("web")
		if len(s.Containers) != 2 || s.Containers[0].Name != "busy" || s.Containers[0].ID != "web.busy.1" || s.Containers[1].Name != "idle" {
			t.Fatalf("the containers that run are %+v", s.Containers)
		}
		busy, idle = s.Containers[0], s.Containers[1]
		for who, p := range map[string]*float64{"the sandbox": s.CPUPercent, "busy": busy.CPUPercent, "idle": idle.CPUPercent} {
			if p == nil {
				t.Fatalf("of %s it is not known what CPU it used: %+v", who, s)
			}
		}
		return *busy.CPUPercent >= 10 && *busy.CPUPercent <= 300 && *idle.CPUPercent <= 2 && *s.CPUPercent >= 10 && *s.CPUPercent <= 250
	}
	if !poll(shares) {
		t.Errorf("of a CPU the sandbox used %.1f %%, busy %.1f %%, idle %.1f %%", *s.CPUPercent, *busy.CPUPercent, *idle.CPUPercent)
	}
	if busy.CPUSeconds < *busy.CPUPercent/100/2 || s.CPUSeconds < *s.CPUPercent/100/2 {
		t.Errorf("the sandbox used %.2f s, busy %.2f s", s.CPUSeconds, busy.CPUSeconds)
	}
	if busy.MemoryBytes < 40<<20 || busy.MemoryBytes > 80<<20 || idle.MemoryBytes > 20<<20 || busy.MemoryLimitBytes != 256<<20 || idle.MemoryLimitBytes != 0 {
		t.Errorf("memory of busy: %+v; of idle: %+v", busy, idle)
	}
	if s.MemoryBytes < busy.MemoryBytes || s.MemoryPeakBytes < s.MemoryBytes || busy.PIDs < 1 || idle.PIDs < 1 || s.PIDs < busy.PIDs+idle.PIDs {
		t.Errorf("%+v", s)
	}
	if table := w.ok("stats", "web"); len(strings.Split(strings.TrimSpace(table), "\n")) != 4 || !strings.Contains(table, "web/busy") {
		t.Errorf("the table is\n%s", table)
	}
}

// What is written to a volume on a disk shows at once, and a paused sandbox
// uses no CPU; one that does not run has nothing to tell.
func TestStatsOfStorageAndOfWhatIsPaused(t *testing.T) {
	w := start(t)
	dir, err := os.MkdirTemp("/var/tmp", "sandboxer-test-") // /tmp can be in memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	spec := "terminationGracePeriodSeconds: 0\nvolumes: [{name: v, hostPath: {path: " + dir + "}}]\ncontainers:\n- " +
		box("app", "fill /v/a 8 then print ready then spin 1000", "volumeMounts: [{name: v, mountPath: /v}]")
	w.declare("web", spec)
	w.running("web")
	w.said("web", "ready")
	if s := w.stats("web"); s.WrittenBytes < 8<<20 || s.WrittenBytes > 64<<20 {
		t.Errorf("it wrote 8 MiB, and the count is %d", s.WrittenBytes)
	}
	w.declare("web", "state: Paused\n"+spec)
	w.wait("web", "paused", phase("Paused"))
	if s := w.stats("web"); s.CPUPercent == nil || *s.CPUPercent > 5 || len(s.Containers) != 1 || *s.Containers[0].CPUPercent > 5 {
		t.Errorf("a paused one: %+v", s)
	}
	w.declare("web", "state: Stopped\n"+spec)
	w.wait("web", "stopped", phase("Stopped"))
	if r := w.run("stats", "web"); r.code != 1 || !strings.Contains(r.err, `sandbox "web" does not run: it is Stopped`) {
		t.Errorf("a stopped one: %+v", r)
	}
	if out := w.ok("stats"); out != "No sandbox runs.\n" {
		t.Errorf("of all: %q", out)
	}
}

// A watch goes on over a container's new instance, of which the use of the old
// one is no part, and over a sandbox that is stopped.
func TestStatsWatch(t *testing.T) {
	w := start(t)
	w.declare("web", app("print up then sleep"))
	w.running("web")
	s := w.session("stats", "web", "-w", "--interval", "100ms", "-o", "json")
	await := func(what string, is func(stats) bool) {
		t.Helper()
		timeout := time.After(patience)
		for line := ""; ; {
			select {
			case line = <-s.lines:
			case <-timeout:
				t.Fatalf("%s did not come, but %s", what, line)
			}
			var v stats
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%v: %q, %s", err, line, s.complaints())
			}
			if is(v) {
				return
			}
		}
	}
	instance := func(id string, known bool) func(stats) bool {
		return func(v stats) bool {
			return len(v.Containers) == 1 && v.Containers[0].ID == id && (v.Containers[0].CPUPercent != nil) == known
		}
	}
	await("the first", instance("web.app.1", true))
	w.ok("kill", "web", "-s", "KILL")
	await("the second", instance("web.app.2", false))
	await("the second's share", instance("web.app.2", true))
	w.declare("web", "state: Stopped\n"+app("print up then sleep"))
	await("nothing", func(v stats) bool { return v.Sandbox == "" })
}
