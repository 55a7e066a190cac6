package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/events"
	"sandboxer/internal/logs"
	"sandboxer/internal/status"
	"sandboxer/observed"
	"sandboxer/reconcile"
	"sandboxer/reconcile/plan"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The first part that ends, ends all, and every error but the ending itself
// is told.
func TestGroup(t *testing.T) {
	g := newGroup(context.Background())
	g.run("waiting", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.run("failing", func(context.Context) error { return os.ErrClosed })
	if err := g.wait(); !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), "failing: ") || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// What has not ended is named, once.
func TestGroupLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(context.Background())
		over := make(chan struct{})
		wait := func(context.Context) error { <-over; return nil }
		g.run("listening", wait)
		g.run("listening", wait)
		g.run("reading", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		synctest.Wait()
		if got := g.left(); !slices.Equal(got, []string{"listening", "reading"}) {
			t.Errorf("before the end there are %q", got)
		}
		g.cancel()
		synctest.Wait()
		if got := g.left(); !slices.Equal(got, []string{"listening"}) {
			t.Errorf("left are %q", got)
		}
		close(over)
		check(t, g.wait())
		if got := g.left(); len(got) > 0 {
			t.Errorf("after the end there are %q", got)
		}
	})
}

// What is remembered is there again; a file that was torn counts for nothing,
// and costs nothing else.
func TestMemories(t *testing.T) {
	damages := 0
	m := memories{dir: t.TempDir(), damaged: func(string, string) { damages++ }}
	mem := plan.Memory{CreateFailures: 3, LastError: "why", NextCreate: time.Unix(5, 0).UTC()}
	check(t, m.Save("web", mem, true))
	check(t, m.Save("db", mem, false))
	if got, err := m.Load("web"); err != nil || !got.Equal(mem) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := m.Load("none"); err != nil || !got.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	file := m.path("web")
	info, err := os.Stat(file)
	check(t, err)
	for size := info.Size() - 1; size >= 0; size-- {
		check(t, m.Save("web", mem, true))
		check(t, os.Truncate(file, size))
		got, err := m.Load("web")
		if err != nil || !strings.Contains(got.Damage, "its copy is used") || damages != 1 {
			t.Fatalf("torn at %d: %+v, %v", size, got, err)
		}
		if got.Damage = ""; !got.Equal(mem) {
			t.Fatalf("torn at %d: %+v", size, got)
		}
		if _, err := os.Stat(file + ".damaged"); err != nil {
			t.Fatal(err)
		}
		damages = 0
	}
	// Nor does the loss of all that there was.
	for _, f := range []string{file, filepath.Join(m.dir, ".web.json.copy")} {
		check(t, os.WriteFile(f, []byte("{"), 0o600))
	}
	if got, err := m.Load("web"); err != nil || !strings.Contains(got.Damage, "start anew") || got.CreateFailures != 0 || damages != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// That of another sandbox is none.
	data, err := os.ReadFile(m.path("db"))
	check(t, err)
	check(t, os.WriteFile(m.path("other"), data, 0o600))
	if got, err := m.Load("other"); err != nil || !strings.Contains(got.Damage, `it is of sandbox "db"`) {
		t.Errorf("%+v, %v", got, err)
	}
	check(t, m.Save("web", mem, true))
	check(t, os.WriteFile(filepath.Join(m.dir, ".web.json123"), nil, 0o600))
	if names, err := m.Names(); err != nil || strings.Join(names, " ") != "db web" {
		t.Errorf("%q, %v", names, err)
	}
	check(t, m.Delete("web"))
	check(t, m.Delete("web"))
	if err := m.Save("../web", mem, true); !errors.Is(err, observed.ErrName) {
		t.Errorf("%v", err)
	}
	check(t, os.Mkdir(m.path("odd"), 0o700))
	if got, err := m.Load("odd"); err != nil || got.Damage == "" {
		t.Errorf("what can't be read passes for nothing: %+v, %v", got, err)
	}
}

// Each problem makes one event for as long as it lasts, and another one when
// it comes back.
func TestTellNew(t *testing.T) {
	log, err := events.Open(events.Config{Dir: t.TempDir()})
	check(t, err)
	defer log.Close()
	d := &daemon{events: log}
	held := &desired.Set{Held: map[string]string{"web": "too many at once"}}
	none := &desired.Set{}
	before := none
	for _, c := range []struct {
		set  *desired.Set
		want int
	}{{held, 1}, {held, 1}, {none, 1}, {held, 2}} {
		d.tellNew(before, c.set)
		before = c.set
		if got := len(log.List("web")); got != c.want {
			t.Errorf("%d events, want %d", got, c.want)
		}
	}
}

// What a full disk costs shows as events and as one condition.
func TestLostOutput(t *testing.T) {
	log, err := events.Open(events.Config{Dir: t.TempDir()})
	check(t, err)
	defer log.Close()
	loop, err := reconcile.New(reconcile.Config{Looker: nobody{}, Actor: nobody{}, Source: nobody{}, Store: memories{}})
	check(t, err)
	d := &daemon{events: log, loop: loop}
	loss := logs.Loss{Lines: 2, Bytes: 14, Why: "no space left on device"}
	d.outputChanged(logs.Change{Sandbox: "web", Container: "app", Losing: true, Loss: loss})
	d.outputChanged(logs.Change{Sandbox: "web", Container: "app", Loss: loss})
	var got []string
	for _, e := range log.List("web") {
		got = append(got, string(e.Type)+" "+e.Reason+" "+e.Message)
	}
	want := []string{`Warning OutputLost output of container "app" is being lost: its log can't be written: no space left on device`,
		`Normal OutputKept output of container "app" is written to its log again; 2 lines (14 bytes) of output were lost: no space left on device`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
	if got, want := outputLost(map[string]logs.Loss{"b": loss, "a": loss}), `container "a": `+loss.String()+`; container "b": `+loss.String(); got != want {
		t.Errorf("the condition says %q, want %q", got, want)
	}
}

// nobody does nothing: what it is part of does not run.
type nobody struct {
	reconcile.Looker
	reconcile.Actor
	reconcile.Source
}

// What failed says why it was tried, too.
func TestActionEvents(t *testing.T) {
	log, err := events.Open(events.Config{Dir: t.TempDir()})
	check(t, err)
	defer log.Close()
	d := &daemon{events: log}
	do := plan.Action{Verb: plan.Start, Sandbox: "web", Container: "app", Reason: `first start of container "app"`}
	d.acted(do, nil, time.Second)
	d.acted(do, os.ErrNotExist, time.Second)
	d.containerEnded(observed.ContainerRecord{Sandbox: "web", Name: "app", Exit: &observed.Exit{Known: true, Code: 137, Signal: 9, Message: "ended by SIGKILL"}})
	var got []string
	for _, e := range log.List("web") {
		got = append(got, string(e.Type)+" "+e.Reason+" "+e.Message)
	}
	want := []string{`Normal Started first start of container "app"`, `Warning ActionFailed first start of container "app": file does not exist`,
		`Warning Ended container "app" was ended by SIGKILL`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
}

// silent is a runtime that never answers.
type silent struct{}

func (silent) Probe(ctx context.Context, _ observed.Record, _ []string, _ bool) (map[string]observed.ContainerState, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// However many sentries are silent, a plan takes the time that one may take.
func TestPlanLooksAtAllAtOnce(t *testing.T) {
	records, err := observed.NewRecords(observed.RecordsConfig{StateDir: t.TempDir(), BootID: "boot", Key: []byte("key"), Spares: t.TempDir()})
	check(t, err)
	self, err := observed.Identify(os.Getpid())
	check(t, err)
	for i := range 20 {
		check(t, records.Save(observed.Record{Name: fmt.Sprint("box", i), State: observed.SandboxUp, Sentry: self, ControlSocket: "s"}))
	}
	const timeout = 2 * time.Second
	looker, err := observed.New(observed.Config{Records: records, Prober: silent{}, ProbeTimeout: timeout,
		CgroupProcs: func(string) ([]int, bool, error) { return nil, false, nil }})
	check(t, err)
	cgroups, err := cgroup.Detect()
	check(t, err)
	loop, err := reconcile.New(reconcile.Config{Looker: nobody{}, Actor: nobody{}, Source: nobody{}, Store: memories{}})
	check(t, err)
	dir := t.TempDir()
	d := &daemon{c: Config{CgroupParent: "/sandboxer-none"}, loop: loop, looker: looker, cgroups: cgroups, memories: memories{dir: t.TempDir()},
		answers: answers.New("/proc/self/exe", nil)}
	defer d.answers.Close()
	synctest.Test(t, func(t *testing.T) {
		var err error
		d.directory, err = desired.New(desired.Config{Dirs: []string{dir}, Resync: time.Hour, NoEvents: true})
		check(t, err)
		go func() { check(t, d.directory.Run(t.Context(), func([]string) {})) }()
		began := time.Now()
		_, err = d.Plan(t.Context(), []string{dir})
		check(t, err)
		if took := time.Since(began); took != timeout {
			t.Errorf("a plan with 20 silent sentries takes %s, want %s", took, timeout)
		}
	})
}

// Ready is who has read the manifests and looked at all that they and the host
// have; what comes later changes nothing of that.
func TestStartup(t *testing.T) {
	s := newStartup()
	s.seen("web") // before the manifests were read, which counts for nothing
	if err := s.err(); err == nil || !strings.Contains(err.Error(), "manifests") {
		t.Errorf("before the manifests were read: %v", err)
	}
	s.read([]string{"web", "db", "web"})
	s.seen("web")
	s.seen("web")
	s.seen("stranger")
	if err := s.err(); err == nil || !strings.Contains(err.Error(), "1 of 2 sandboxes") {
		t.Errorf("with one left to look at: %v", err)
	}
	s.seen("db")
	s.seen("db")
	if err := s.err(); err != nil || !s.done() {
		t.Errorf("after all was looked at: %v", err)
	}
	if s = newStartup(); s.done() {
		t.Error("ready from the start")
	}
	if s.read(nil); !s.done() {
		t.Error("with nothing to look at it is not ready")
	}
}

// What was published of a sandbox that is gone is not published again, also
// where its declaration changes in the same moment.
func TestGoneStaysGone(t *testing.T) {
	dir := t.TempDir()
	directory, err := desired.New(desired.Config{Dirs: []string{dir}, Resync: time.Hour})
	check(t, err)
	output, err := logs.New(logs.Config{StateDir: dir, DataDir: dir})
	check(t, err)
	d := &daemon{board: status.NewBoard(), logs: output, directory: directory}
	there := reconcile.Pass{Name: "web", Observed: observed.Sandbox{Name: "web", Record: &observed.Record{Name: "web"}}}
	for range 2000 {
		d.publishNext(there)
		if _, ok := d.board.Get("web"); !ok {
			t.Fatal("what is there does not show")
		}
		var again sync.WaitGroup
		begun := make(chan struct{})
		again.Go(func() {
			d.publishAgain("web")
			close(begun)
			for range 10 {
				d.publishAgain("web")
			}
		})
		<-begun
		d.publishNext(reconcile.Pass{Name: "web", Observed: observed.Sandbox{Name: "web"}})
		again.Wait()
		if s, ok := d.board.Get("web"); ok {
			t.Fatalf("what is gone shows as %+v", s)
		}
	}
}
