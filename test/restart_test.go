package test

import (
	"net/http"
	"strings"
	"testing"
)

// Healthy gofers are replaced one after the other, in running and in frozen
// sandboxes, and no container notices.
func TestRestartGofers(t *testing.T) {
	w := start(t)
	w.declare("web", w.churn("one", "two"))
	w.declare("cold", app("sleep", "state: Paused"))
	w.declare("off", app("sleep", "state: Stopped"))
	web, cold := w.running("web"), w.wait("cold", "paused", phase("Paused"))
	w.said("web/one", "churned")
	for range 5 {
		w.ok("restart", "--gofer", "web")
	}
	w.ok("restart", "--gofer", "web/two")
	w.ok("restart", "--gofers", "--all")
	now := w.running("web")
	w.same(web, now, "one")
	w.same(web, now, "two")
	if one, two := now.box("one").GoferRestarts, now.box("two").GoferRestarts; one != 6 || two != 7 {
		t.Errorf("%d and %d new gofers", one, two)
	}
	// Theirs, and those of their volumes; the last of the old ones may be ending.
	if !poll(func() bool { return len(w.helpers("web", "gofer")) == 4 }) {
		t.Errorf("the gofers are %v", w.helpers("web", "gofer"))
	}
	if s, _ := w.get("cold"); s.Status.Phase != "Paused" || s.Status.SandboxPID != cold.Status.SandboxPID || s.box("app").GoferRestarts != 1 {
		t.Errorf("the frozen one became %+v", s)
	}
	for _, c := range []string{"one", "two"} {
		lines := len(w.said("web/"+c, "churned"))
		w.saidTimes("web/"+c, "churned", lines+1)
	}
	version := strings.Fields(w.ok("version"))
	if out := w.ok("get", "-o", "wide"); !strings.Contains(out, "GOFERS") || len(version) < 2 || !strings.Contains(out, version[1]) {
		t.Errorf("the gofers' version (%v) is not told:\n%s", version, out)
	}
	if r := w.run("restart", "--gofer", "off"); r.code != 1 || !strings.Contains(r.err, "declared to run") {
		t.Errorf("of one that is stopped: %+v", r)
	}
}

// What was asked for is done although the daemon is killed at once.
func TestRestart(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("one", "exit-on-term 7 then sleep")+"\n- "+box("two", "sleep"))
	w.declare("job", "restartPolicy: Never\n"+app("print done"))
	was := w.running("web")
	w.wait("job", "done", phase("Succeeded"))
	w.ok("restart", "web/one")
	now := w.running("web")
	if c := now.box("one"); c.ID == was.box("one").ID || c.RestartCount != 0 {
		t.Errorf("it was not restarted: %+v", c)
	}
	w.same(was, now, "two")
	w.ok("restart", "job")
	w.saidTimes("job", "done", 2)

	before := now
	resp, err := w.request(t.Context(), "POST", "/v1/sandboxes/web/restart")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	w.restart()
	w.wait("web", "restarted", func(s sandbox) bool {
		return running(s) && s.box("one").ID != before.box("one").ID && s.box("two").ID != before.box("two").ID
	})
}
