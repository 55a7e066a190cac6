package actuator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/infra"
	"sandboxer/internal/logs"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

// patience bounds every wait of a test for what takes milliseconds.
const patience = 60 * time.Second

// rig is an Actuator with everything that it works with, all of its own.
type rig struct {
	*Actuator
	t           *testing.T
	state, data string
	looker      *observed.Looker
	// ended gets every end that was recorded.
	ended    chan observed.ContainerRecord
	declared []*desired.Sandbox
	pokes    chan string
}

// newRig makes one. Whatever the test leaves behind is removed after it, and
// a cgroup or a process that is left then fails it.
func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir())
}

// guard keeps the rig's own from containers.
func (r *rig) guard() (shelf.Guard, error) {
	return shelf.Guard{Things: []shelf.Thing{
		{What: "the state directory", Path: r.state, Hidden: true}, {What: "the data directory", Path: r.data, Hidden: true},
	}}, nil
}

func newRigIn(t *testing.T, state string) *rig {
	t.Helper()
	r := &rig{t: t, state: state, data: t.TempDir(),
		ended: make(chan observed.ContainerRecord, 100), pokes: make(chan string, 1000)}
	watcher, err := observed.NewWatcher()
	check(t, err)
	cgroups, err := cgroup.Detect()
	check(t, err)
	alarms, err := cgroup.NewAlarms(cgroups)
	check(t, err)
	reaper := observed.NewReaper(nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{watcher.Run, reaper.Run, alarms.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })

	bootID, err := observed.BootID()
	check(t, err)
	records, err := observed.NewRecords(observed.RecordsConfig{StateDir: r.state, BootID: bootID, Key: []byte("key"), Spares: filepath.Join(r.data, "records")})
	check(t, err)
	image, err := infra.File()
	check(t, err)
	t.Cleanup(func() { image.Close() })
	parent := fmt.Sprintf("/sandboxer-acttest-%d", rand.Int64())
	t.Cleanup(func() {
		if gone, err := cgroups.Prune(parent); err != nil || !gone {
			t.Errorf("cgroup %s is left: %v", parent, err)
		}
	})
	r.Actuator = r.attach(Config{
		Written: written.New(filepath.Join(r.data, "written"), r.state, func(string) error { return nil }),
		Exe:     program, StateDir: r.state, DataDir: r.data, Guard: r.guard, Claims: func() (string, error) { return "", nil }, Declared: func() []*desired.Sandbox { return r.declared },
		Image: image, CgroupParent: parent, Cgroups: cgroups, Alarms: alarms, Records: records, Watcher: watcher, Reaper: reaper,
		Checkpoints: checkpoint.Store{Dir: filepath.Join(r.data, "checkpoints"), Runtime: "test"},
		Poke:        func(name string) { r.pokes <- name },
		Ended:       func(rec observed.ContainerRecord) { r.ended <- rec },
	})
	t.Cleanup(r.end)
	return r
}

// attach makes an Actuator with logs of its own, as a daemon's start does.
func (r *rig) attach(c Config) *Actuator {
	r.t.Helper()
	var err error
	c.Logs, err = logs.New(logs.Config{StateDir: r.state, DataDir: r.data})
	check(r.t, err)
	a, err := New(c)
	check(r.t, err)
	r.looker, err = observed.New(observed.Config{
		Records: c.Records, Prober: a, CgroupProcs: c.Cgroups.Procs, CgroupPath: a.cgroupPath, Memory: a.Memory, Image: c.Checkpoints.Read,
	})
	check(r.t, err)
	return a
}

// restart replaces the Actuator by a new one, as if the daemon had ended
// without a word and another had been started.
func (r *rig) restart() {
	r.t.Helper()
	r.detach()
	r.Actuator = r.attach(r.c)
}

func (r *rig) detach() {
	r.Close()
	if err := r.c.Logs.Close(); err != nil {
		r.t.Error(err)
	}
}

// end destroys what the test left.
func (r *rig) end() {
	defer r.detach()
	names, err := r.c.Records.List()
	if err != nil {
		r.t.Error(err)
	}
	below, err := r.c.Cgroups.List(r.c.CgroupParent)
	if err != nil {
		r.t.Error(err)
	}
	for _, name := range append(names, below...) {
		if err := r.do(plan.Action{Verb: plan.Destroy, Sandbox: name}, nil); err != nil {
			r.t.Errorf("destroying sandbox %s: %v", name, err)
		}
	}
}

// do carries out an action that expects to meet what is there.
func (r *rig) do(do plan.Action, d *plan.Declared) error {
	r.t.Helper()
	loaded, err := r.c.Records.Load(do.Sandbox)
	check(r.t, err)
	if loaded.Record != nil {
		do.Sentry = loaded.Record.Sentry
	}
	for _, c := range loaded.Containers {
		if c.Name == do.Container {
			do.ContainerID = c.ID
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return r.Do(ctx, do, d)
}

// must carries out an action that has to succeed.
func (r *rig) must(verb plan.Verb, d *plan.Declared, container string) {
	r.t.Helper()
	if err := r.do(plan.Action{Verb: verb, Sandbox: d.Name, Container: container, Signal: "SIGTERM"}, d); err != nil {
		r.t.Fatalf("%s %s %s: %v", verb, d.Name, container, err)
	}
}

// run creates the sandbox and starts its containers.
func (r *rig) run(d *plan.Declared) {
	r.t.Helper()
	r.must(plan.Create, d, "")
	for i := range d.Spec.Containers {
		r.must(plan.Start, d, d.Spec.Containers[i].Name)
	}
}

// awaitEnded waits for the next end that is recorded.
func (r *rig) awaitEnded() observed.ContainerRecord {
	r.t.Helper()
	select {
	case rec := <-r.ended:
		return rec
	case <-time.After(patience):
		r.t.Fatal("no container's end was recorded")
	}
	return observed.ContainerRecord{}
}

// awaitPoke waits until the loop is poked for a sandbox and what is so.
func (r *rig) awaitPoke(name string, is func() bool) {
	r.t.Helper()
	end := time.After(patience)
	for !is() {
		select {
		case <-r.pokes:
		case <-end:
			r.t.Fatalf("sandbox %s is not as expected", name)
		}
	}
}

func (r *rig) record(name string) observed.Record {
	r.t.Helper()
	loaded, err := r.c.Records.Load(name)
	check(r.t, err)
	if loaded.Record == nil {
		r.t.Fatalf("sandbox %s has no record: %s", name, loaded.Broken)
	}
	return *loaded.Record
}

func (r *rig) container(name, container string) observed.ContainerRecord {
	r.t.Helper()
	loaded, err := r.c.Records.Load(name)
	check(r.t, err)
	for _, c := range loaded.Containers {
		if c.Name == container {
			return c
		}
	}
	r.t.Fatalf("container %s of sandbox %s has no record", container, name)
	return observed.ContainerRecord{}
}

// output is what a container that has ended wrote, its lines joined.
func (r *rig) output(c observed.ContainerRecord) string {
	r.t.Helper()
	check(r.t, r.c.Logs.Finish(c.Sandbox, c.Name, c.ID))
	var text strings.Builder
	check(r.t, r.c.Logs.Read(r.t.Context(), c.Sandbox, c.Name, logs.Options{Tail: logs.All}, &text))
	return text.String()
}

// root is a root file system with the workload in it.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, err := os.ReadFile(workload)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "workload"), b, 0o755))
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// app is a container that runs the workload on a root of its own.
func app(t *testing.T, args ...string) desired.Container {
	t.Helper()
	return desired.Container{
		Name: "app", Rootfs: &desired.Rootfs{Path: root(t)}, Command: append([]string{"/workload"}, args...),
		RestartPolicy: desired.Never,
	}
}

// sandbox declares one with containers.
func sandbox(name string, containers ...desired.Container) *desired.Sandbox {
	return &desired.Sandbox{Name: name, Spec: desired.Spec{
		State: desired.Running, Runtime: desired.RuntimeGVisor, Hostname: name, RestartPolicy: desired.Never,
		TerminationGracePeriodSeconds: new(int64(5)), Network: desired.Network{Mode: desired.NetworkNone},
		Containers: containers,
	}}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
