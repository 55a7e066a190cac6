package test

import (
	"fmt"
	"strings"
	"testing"
)

// Where every container has a limit, emptyDirs without one of their own have
// together as much as the sum, whoever fills them and however. What is in them
// stays over everything that they stay over otherwise.
func TestEmptyDirLimit(t *testing.T) {
	w := start(t)
	spec := func(limit string, more ...string) string {
		container := func(name string) string {
			return "- " + box(name, "sleep", fmt.Sprintf("resources: {limits: {ephemeral-storage: %s}}", limit), "volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: c, mountPath: /c}]")
		}
		return strings.Join(append(more, "volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {}}, {name: c, emptyDir: {sizeLimit: 1Mi}}]", "containers:", container("app"), container("other")), "\n")
	}
	const mib = 1 << 20
	about := func(when, where string, want int) {
		t.Helper()
		said := w.ok("exec", "web/"+where[:strings.Index(where, "/")], "--", "/w", "fill", where[strings.Index(where, "/"):])
		n := 0
		if _, err := fmt.Sscanf(said, "filled %d then no space left on device\n", &n); err != nil || n > want+mib/2 || n < want-mib/2 {
			t.Errorf("%s: %s: %s, want %d", when, where, said, want)
		}
	}
	remove := func(path string) { t.Helper(); w.ok("exec", "web/app", "--", "/w", "remove", path) }
	w.declare("web", spec("8Mi"))
	was := w.running("web")
	w.ok("exec", "web/app", "--", "/w", "fill", "/a/kept", "3")
	about("at first", "app/b/more", 13*mib)
	about("from the other", "other/a/more", 0)
	about("one with a limit of its own", "other/c/more", mib)
	about("root", "other/more", 8*mib)
	remove("/b/more")
	if got := w.ok("exec", "web/app", "--", "/w", "make-room", "/a/x", "100"); !strings.Contains(got, "no space left on device") {
		t.Error(got)
	}
	remove("/a/x")
	if got := w.ok("exec", "web/app", "--", "/w", "mkdir", "/a/many", "then", "files", "/a/many", "100000", "then", "remove", "/a/many"); !strings.Contains(got, "no space left on device") {
		t.Error(got)
	}
	limit := func(limit string) {
		t.Helper()
		n := len(w.events("web", "LimitsSet"))
		w.declare("web", spec(limit))
		if !w.until(func() bool { return len(w.events("web", "LimitsSet")) > n }) {
			t.Fatalf("the limit did not become %s", limit)
		}
	}
	limit("1Mi")
	about("with less than is in use", "app/b/more", 0)
	limit("8Mi")
	w.ok("restart", "--gofers", "web")
	w.replaced("web", "app", 1)
	w.restart()
	about("with a new gofer and daemon", "app/b/more", 13*mib)
	w.same(was, w.running("web"), "app")
	anew := func(spec string) {
		t.Helper()
		was := w.running("web")
		w.declare("web", spec)
		w.wait("web", "replaced", func(s sandbox) bool {
			return s.Status.SandboxPID != was.Status.SandboxPID && s.Status.Phase == "Running"
		})
	}
	anew(spec("8Mi", "hostname: another"))
	about("in a new sandbox", "other/a/more", 0)
	w.declare("web", spec("8Mi", "hostname: another", "state: Suspended"))
	w.suspended("web")
	w.declare("web", spec("8Mi", "hostname: another"))
	w.running("web")
	remove("/b/more")
	about("suspended meanwhile", "app/b/more", 13*mib)
	remove("/a/kept")
	about("deleted", "app/a/more", 3*mib)
	anew(spec("32Mi", "hostname: third"))
	remove("/a/more")
	about("with more, in a new sandbox", "app/a/more", 51*mib)
	anew("volumes: [{name: a, emptyDir: {sizeLimit: 1Mi}}]\ncontainers:\n- " + box("app", "sleep", "volumeMounts: [{name: a, mountPath: /a}]"))
	about("with a limit of its own", "app/a/more", mib)
}
