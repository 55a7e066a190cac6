package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeze has the kernel freeze or thaw every process of a sandbox, as an
// operator can.
func freeze(t *testing.T, s sandbox, frozen bool) {
	t.Helper()
	v1, v2 := "THAWED", "0"
	if frozen {
		v1, v2 = "FROZEN", "1"
	}
	for _, top := range hierarchies() {
		dir := filepath.Join(top, s.Status.Cgroup)
		if os.WriteFile(filepath.Join(dir, "freezer.state"), []byte(v1), 0) == nil ||
			os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(v2), 0) == nil {
			return
		}
	}
	t.Fatal("no cgroup of the sandbox can be frozen")
}

// gVisor kills a process that does not give up its CPU for 30 s when others of
// its sandbox wait for one. A pause is no such thing, however long it is and
// however busy all were: SANDBOXER_PAUSE says how long (make storm-pause).
func TestPausedWhileBusy(t *testing.T) {
	length := time.Second
	if d, err := time.ParseDuration(os.Getenv("SANDBOXER_PAUSE")); err == nil {
		length = d
	}
	for name, pause := range map[string]func(w *world, resumed func()){
		"declared": func(w *world, resumed func()) {
			spec := w.busy()
			w.declare("web", "state: Paused\n"+spec)
			w.wait("web", "paused", phase("Paused"))
			time.Sleep(length)
			w.declare("web", spec)
			resumed()
		},
		// Both without a daemon, which would take a sentry that is silent for so
		// long for lost.
		"cgroup frozen": func(w *world, resumed func()) {
			s := w.running("web")
			w.kill()
			freeze(w.t, s, true)
			time.Sleep(length)
			freeze(w.t, s, false)
			w.start()
			resumed()
		},
		"sentry stopped": func(w *world, resumed func()) {
			s := w.running("web")
			w.kill()
			kill(w.t, s.Status.SandboxPID, syscall.SIGSTOP)
			time.Sleep(length)
			kill(w.t, s.Status.SandboxPID, syscall.SIGCONT)
			w.start()
			resumed()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			w.declare("web", w.busy())
			was := w.running("web")
			// All are past their start: a sentry whose cgroup is frozen in the moment in
			// which it makes processes of the host's, for the first ones, may not survive it.
			for _, c := range was.Status.Containers {
				if c.Name != "witness" {
					w.said("web/"+c.Name, "busy")
				}
			}
			n := w.witnessed("web/witness", 2)
			pause(w, func() {
				now := w.running("web")
				for _, c := range was.Status.Containers {
					w.same(was, now, c.Name)
				}
				w.witnessed("web/witness", n+20)
			})
		})
	}
}

// busy is a sandbox whose processes compete for fewer CPUs.
func (w *world) busy() string {
	limit := "resources: {limits: {cpu: 100m}}"
	spec := []string{"restartPolicy: Never", "containers:", "- " + box("witness", "witness /own", limit)}
	for i := range 4 {
		spec = append(spec, "- "+box(fmt.Sprint("busy", i), "print busy then spin 100000", limit))
	}
	return strings.Join(spec, "\n")
}
