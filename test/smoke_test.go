package test

import (
	"strings"
	"testing"
)

func TestOneSandbox(t *testing.T) {
	w := start(t)
	w.declare("web", app("print hello then sleep"))
	s := w.running("web")
	if c := s.box("app"); c.State != "running" || !c.Ready || c.ID == "" || c.GoferPID == nil || c.RestartCount != 0 || c.ExitCode != nil {
		t.Errorf("the container is %+v", c)
	}
	if !s.Status.Ready || s.Source != "web.yaml" || s.Status.Runtime != "gvisor" || s.Status.Cgroup != w.parent+"/web" ||
		s.Status.SpecHash == "" || s.Status.Reason != "" {
		t.Errorf("the sandbox is %+v", s)
	}
	w.said("web", "hello")
	if got := w.ok("logs", "web"); got != "hello\n" {
		t.Errorf("logs prints %q", got)
	}
	if !poll(func() bool { return strings.Join(strings.Fields(w.ok("plan", "-o", "json")), "") == `{"actions":[]}` }) {
		t.Errorf("plan prints %s", w.ok("plan", "-o", "json"))
	}
	w.undeclare("web")
	w.gone("web")
	if r := w.run("get", "web", "-o", "json"); r.code != 1 || !strings.Contains(r.err, "web") || r.out != "" {
		t.Errorf("get of what is not there: %+v", r)
	}
}
