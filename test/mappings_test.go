package test

import (
	"strings"
	"testing"
)

// A process with more mappings than the host's kernel grants one of its own ends
// nobody but itself: the sentry takes mappings for what it can have anew.
func TestManyMappings(t *testing.T) {
	w := start(t)
	w.declare("web", "containers:\n- "+box("app", "sleep", "resources: {limits: {memory: 2Gi}}")+"\n- "+box("other", "sleep", "resources: {limits: {memory: 64Mi}}"))
	was := w.running("web")
	if got := w.run("exec", "web/app", "--", "/w", "pieces", "70000"); !strings.HasPrefix(got.out, "pieces ") && !strings.Contains(got.err, "SIG") {
		t.Errorf("%+v", got)
	}
	if r := w.run("exec", "web/other", "--", "/w", "print", "here"); r.out != "here\n" {
		t.Errorf("the other: %+v", r)
	}
	for _, name := range []string{"app", "other"} {
		w.same(was, w.running("web"), name)
	}
}
