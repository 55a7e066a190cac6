package test

import (
	"path/filepath"
	"strings"
	"testing"
)

// What two containers do in a volume, or in /dev/shm, is what two processes of one
// Linux do there: locks of all kinds, a database beside a sidecar, mappings,
// names, sockets, FIFOs, inotify; whatever became of gofers, daemons, one of
// them, or both on a disk. testdata/siblings.py holds on Linux itself, too.
func TestSiblingsMeetInVolumes(t *testing.T) {
	w := newWorld(t)
	root, err := filepath.Abs(debian)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	spec := func(more ...string) string {
		mounts := "volumeMounts: [{name: e, mountPath: /e}, {name: m, mountPath: /m}, {name: h, mountPath: /h}, {name: c, mountPath: /c, readOnly: true}]"
		box := func(name, command string) string {
			return "- {name: " + name + ", rootfs: {path: " + root + "}, command: [" + words(command) + "], " + mounts + "}"
		}
		return strings.Join(append(more, "volumes:", "- {name: e, emptyDir: {}}", "- {name: m, emptyDir: {sizeLimit: 64Mi}}",
			"- {name: h, hostPath: {path: DIR/h, type: DirectoryOrCreate}}", "- {name: c, hostPath: {path: "+scripts+"}}",
			"containers:", box("one", "python3 /c/siblings.py serve /e/socket"), box("two", "sleep infinity")), "\n")
	}
	meet := func(when string) {
		t.Helper()
		if got := w.ok("exec", "web/two", "--", "python3", "/c/siblings.py", "check", "/e/socket", "/e", "/m", "/h", "/dev/shm"); got != "all is well\n" {
			t.Errorf("%s:\n%s", when, got)
		}
	}
	w.declare("web", spec())
	was := w.running("web")
	w.said("web/one", "serving")
	meet("at first")
	killAll(w.helpers("web", "gofer"))
	w.replaced("web", "one", 1)
	meet("with other gofers")
	w.restart()
	w.running("web")
	w.ok("restart", "web/two")
	w.wait("web", "made anew", func(s sandbox) bool { return running(s) && s.box("two").ID != was.box("two").ID })
	meet("by one that was made anew, under another daemon")
	w.declare("web", spec("state: Suspended"))
	w.suspended("web")
	w.declare("web", spec())
	w.running("web")
	meet("after a restore")
}
