package actuator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"sandboxer/desired"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// steps are how far a witness has counted, as its log tells; it fails the test
// if a step is missing or was said twice.
func (r *rig) steps(sandbox, container string) int {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.data, "logs", sandbox, container+".log"))
	if !errors.Is(err, fs.ErrNotExist) { // it has said nothing yet
		check(r.t, err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		_, text, said := strings.Cut(strings.TrimSpace(line), " stdout F ")
		if !said { // where an instance begins
			continue
		}
		word, number, _ := strings.Cut(text, " ")
		if word != "step" {
			r.t.Fatalf("%s says %q", container, text)
		}
		if n++; number != strconv.Itoa(n) {
			r.t.Fatalf("%s: step %s follows %d", container, number, n-1)
		}
	}
	return n
}

// stepsOn waits until a witness has counted on from n.
func (r *rig) stepsOn(sandbox, container string, n int) int {
	r.t.Helper()
	for end := time.Now().Add(patience); ; {
		if now := r.steps(sandbox, container); now > n {
			return now
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s/%s stays at step %d\n%+v", sandbox, container, n, r.container(sandbox, container))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// witnesses are a sandbox with everything in it: two that count, one of them in
// its second instance and on a volume, and one that has ended.
func witnesses(r *rig, name string) (*plan.Declared, string) {
	r.t.Helper()
	a := app(r.t, "witness", "/own", "/volume/shared")
	a.VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: "/volume"}}
	b := app(r.t, "witness", "/volume/other")
	b.Name, b.VolumeMounts = "second", a.VolumeMounts
	early := app(r.t, "exit", "4")
	early.Name = "early"
	s := sandbox(name, a, b, early)
	volume := r.t.TempDir()
	s.Spec.Volumes = []desired.Volume{{Name: "v", HostPath: &desired.HostPath{Path: volume}}}
	d := plan.Declare(s)
	r.must(plan.Create, d, "")
	r.must(plan.Start, d, "early")
	if rec := r.awaitEnded(); rec.Name != "early" {
		r.t.Fatalf("%s ended", rec.ID)
	}
	r.must(plan.Start, d, "second")
	r.must(plan.Kill, d, "second")
	r.awaitEnded()
	check(r.t, os.RemoveAll(filepath.Join(r.data, "logs", name, "second.log")))
	r.must(plan.Start, d, "second")
	r.must(plan.Start, d, "app")
	r.stepsOn(name, "app", 2)
	r.stepsOn(name, "second", 2)
	return d, volume
}

// gone makes sure that no process is left, and the checkpoint is.
func (r *rig) gone(d *plan.Declared, sentry observed.Process) {
	r.t.Helper()
	if alive, err := sentry.Liveness(); err != nil || alive != observed.Gone {
		r.t.Errorf("the sentry is %v, %v", alive, err)
	}
	if _, exists, err := r.c.Cgroups.Procs(r.cgroupPath(d.Name)); err != nil || exists {
		r.t.Errorf("the cgroup exists: %v, %v", exists, err)
	}
	if image, err := r.c.Checkpoints.Read(d.Name); err != nil || image == nil || image.Unusable != "" {
		r.t.Errorf("the checkpoint: %+v, %v", image, err)
	}
	if len(r.gofers)+len(r.waiters)+len(r.answered) > 0 {
		r.t.Errorf("kept of it: %v %v %v", r.gofers, r.waiters, r.answered)
	}
}

// execute starts a command in a container from outside, as exec does.
func (r *rig) execute(sandbox, container string, argv ...string) {
	r.t.Helper()
	socket, err := unix.Open(r.record(sandbox).ControlSocket, unix.O_PATH|unix.O_CLOEXEC, 0)
	check(r.t, err)
	defer unix.Close(socket)
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d", socket))
	check(r.t, err)
	defer conn.Close()
	check(r.t, json.NewEncoder(conn).Encode(map[string]any{"method": boot.ContMgrExecuteAsync, "arg": map[string]any{
		"filename": argv[0], "argv": argv, "wd": "/", "ContainerID": r.container(sandbox, container).ID,
	}}))
	var answer struct {
		Success bool
		Err     string
	}
	check(r.t, json.NewDecoder(conn).Decode(&answer))
	if !answer.Success {
		r.t.Fatal(answer.Err)
	}
}
