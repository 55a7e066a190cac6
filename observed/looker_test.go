package observed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

func TestLookAtARunningSandbox(t *testing.T) {
	w := newWorld(t)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	var inherited int
	fmt.Sscan(string(own), &inherited)
	const raised = 1000 // which every process may choose
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", w.appGofer.PID), []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
	var asked []string
	w.config.Prober = prober(func(ctx context.Context, r observed.Record, ids []string, now bool) (map[string]observed.ContainerState, error) {
		asked = ids
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 2*time.Second {
			t.Error("the runtime has no deadline")
		}
		return all(observed.Running)(ctx, r, ids, now)
	})
	sb := w.look(t)
	loaded := load(t, w.records, "web")
	want := observed.Sandbox{
		Name: "web", Record: loaded.Record, Sentry: observed.Alive, CgroupExists: true, CgroupProcs: 4,
		Containers: []observed.Container{
			{ContainerRecord: loaded.Containers[0], State: observed.Running, GoferRun: observed.Alive},
			{ContainerRecord: loaded.Containers[1], State: observed.Running, GoferRun: observed.Alive},
		},
		Scores: []observed.Score{
			{PID: w.sentry.PID, Value: inherited},
			{PID: w.stub.PID, Value: inherited},
			{PID: w.appGofer.PID, Container: "app", Value: raised},
			{PID: w.sideGofer.PID, Container: "side", Value: inherited},
		},
	}
	if !reflect.DeepEqual(sb, want) {
		t.Errorf("Look = %+v\nwant %+v", sb, want)
	}
	if !slices.Equal(asked, []string{"web.app.3", "web.side.3"}) {
		t.Errorf("the runtime was asked about %q", asked)
	}
	if again := w.look(t); !reflect.DeepEqual(again, sb) {
		t.Errorf("the same world looks different: %+v", again)
	}
}

func TestLookAfterTheSentryDied(t *testing.T) {
	w := newWorld(t)
	w.endSentry()
	w.config.Prober = unasked(t)
	sb := w.look(t)
	if sb.Sentry != observed.Gone || sb.Unresponsive || sb.CgroupProcs != 3 || len(sb.Scores) != 3 {
		t.Errorf("Look = %+v", sb)
	}
	for _, c := range sb.Containers {
		if c.State != observed.Stopped || c.Exit == nil || c.Exit.Known || c.Exit.Reason != "SandboxLost" {
			t.Errorf("container %+v", c)
		}
	}
}

func TestLookAtReusedPIDs(t *testing.T) {
	w := newWorld(t)
	w.rec.Sentry = reused(w.sentry)
	w.containers[0].Gofer = reused(w.appGofer)
	w.save(t)
	w.config.Prober = unasked(t)
	sb := w.look(t)
	if sb.Sentry != observed.Gone || sb.Containers[0].GoferRun != observed.Gone || sb.Containers[1].GoferRun != observed.Alive {
		t.Errorf("Look = %+v", sb)
	}
	for _, s := range sb.Scores {
		if s.PID == w.appGofer.PID && s.Container != "" {
			t.Errorf("a stranger counts as the gofer of %q", s.Container)
		}
	}
}

func TestLookAfterAGoferDied(t *testing.T) {
	w := newWorld(t)
	w.endAppGofer()
	sb := w.look(t)
	if sb.Containers[0].GoferRun != observed.Gone || sb.Containers[0].State != observed.Running || sb.CgroupProcs != 3 {
		t.Errorf("Look = %+v", sb)
	}
}

// A gofer ends with its container, and may be seen to before the container's
// end is recorded: that is no loss.
func TestLookWhileAContainerEnds(t *testing.T) {
	w := newWorld(t)
	w.endAppGofer()
	w.config.Prober = prober(func(_ context.Context, _ observed.Record, _ []string, now bool) (map[string]observed.ContainerState, error) {
		if !now {
			t.Error("an old answer would do")
		}
		return map[string]observed.ContainerState{"web.app.3": observed.Stopped, "web.side.3": observed.Running}, nil
	})
	if c := w.look(t).Containers[0]; c.GoferRun != observed.None || c.State != observed.Running {
		t.Errorf("container %+v", c)
	}
}

func TestLookAtASilentSandbox(t *testing.T) {
	w := newWorld(t)
	w.rec.State = observed.SandboxPaused
	w.save(t)
	synctest.Test(t, func(t *testing.T) {
		w.config.ProbeTimeout = time.Hour
		w.config.Prober = prober(func(ctx context.Context, _ observed.Record, _ []string, _ bool) (map[string]observed.ContainerState, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("asking: %w", ctx.Err())
		})
		begin := time.Now()
		sb := w.look(t)
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("the runtime had %v", took)
		}
		if !sb.Unresponsive || sb.Sentry != observed.Alive || sb.ProbeError != "asking: context deadline exceeded" ||
			!slices.Equal(states(sb), []observed.ContainerState{observed.Paused, observed.Paused}) {
			t.Errorf("Look = %+v", sb)
		}
	})
}

func TestLookThatIsCalledOff(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.config.Prober = prober(func(ctx context.Context, _ observed.Record, _ []string, _ bool) (map[string]observed.ContainerState, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if sb, err := w.looker(t).Look(ctx, "web"); !errors.Is(err, context.Canceled) || !reflect.DeepEqual(sb, observed.Sandbox{}) {
		t.Errorf("Look = %+v, %v", sb, err)
	}
}

func TestSentryThatDiesUnderTheQuestion(t *testing.T) {
	w := newWorld(t)
	w.config.Prober = prober(func(context.Context, observed.Record, []string, bool) (map[string]observed.ContainerState, error) {
		w.endSentry()
		return nil, unix.ECONNRESET
	})
	sb := w.look(t)
	if sb.Sentry != observed.Gone || sb.Unresponsive || sb.ProbeError != "" || sb.Containers[0].State != observed.Stopped {
		t.Errorf("Look = %+v", sb)
	}
}

func TestLookAsksOnlyWhereThereIsSomebodyToAnswer(t *testing.T) {
	for state, asked := range map[observed.SandboxState]bool{
		observed.SandboxCreating: false, observed.SandboxUp: true, observed.SandboxPausing: true,
		observed.SandboxPaused: true, observed.SandboxResuming: true,
		observed.SandboxStopping: false, observed.SandboxStopped: false,
	} {
		for _, sentry := range []bool{true, false} { // false: another runtime's
			w := newWorld(t)
			w.rec.State = state
			if !sentry {
				w.rec.Sentry = observed.Process{}
			}
			w.save(t)
			was := false
			w.config.Prober = prober(func(context.Context, observed.Record, []string, bool) (map[string]observed.ContainerState, error) {
				was = true
				return nil, nil // it knows none of them
			})
			sb := w.look(t)
			if was != asked {
				t.Errorf("%s: asked is %v", state, was)
			}
			if asked && (sb.Containers[0].State != observed.Stopped || sb.Containers[0].Exit.Known) {
				t.Errorf("%s: a container that the runtime does not know is %+v", state, sb.Containers[0])
			}
		}
	}
}

func TestLookAtBrokenRecords(t *testing.T) {
	w := newWorld(t)
	dir := w.records.Dir("web")
	spoil := func(file string) {
		t.Helper()
		for _, path := range []string{file, filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".copy")} {
			if err := os.WriteFile(filepath.Join(dir, path), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	spoil("containers/app.json")
	loseSpares(t, dir)
	sb := w.look(t)
	if len(sb.Containers) != 1 || sb.BrokenContainers["app"] == "" || sb.CgroupProcs != 4 {
		t.Errorf("Look = %+v", sb)
	}
	spoil("sandbox.json")
	w.config.Prober = unasked(t)
	if sb := w.look(t); sb.Record != nil || sb.Broken == "" || sb.CgroupExists || len(sb.Containers) != 1 {
		t.Errorf("Look = %+v", sb)
	}
	// Its processes are found again where its cgroup should be.
	w.config.CgroupPath = func(name string) string { return "/sandboxer/" + name }
	if sb := w.look(t); !sb.CgroupExists || sb.CgroupProcs != 4 || len(sb.Scores) != 4 {
		t.Errorf("Look = %+v", sb)
	}
}

func TestLookAtNothing(t *testing.T) {
	w := newWorld(t)
	l := w.looker(t)
	if sb, err := l.Look(t.Context(), "other"); err != nil || !reflect.DeepEqual(sb, observed.Sandbox{Name: "other"}) {
		t.Errorf("Look = %+v, %v", sb, err)
	}
	if _, err := l.Look(t.Context(), "../web"); !errors.Is(err, observed.ErrName) {
		t.Errorf("Look = %v", err)
	}
	if names, err := l.List(); err != nil || !slices.Equal(names, []string{"web"}) {
		t.Errorf("List = %q, %v", names, err)
	}
}

func TestFailedLookIsNotAnEmptyWorld(t *testing.T) {
	w := newWorld(t)
	l := w.looker(t)
	var err error
	noDescriptors(t, func() { _, err = l.Look(t.Context(), "web") })
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("Look without descriptors = %v", err)
	}
	w.config.CgroupProcs = func(string) ([]int, bool, error) { return nil, false, unix.EIO }
	if _, err := w.looker(t).Look(t.Context(), "web"); !errors.Is(err, unix.EIO) {
		t.Errorf("Look with unreadable cgroups = %v", err)
	}
	// /proc that can't be read says nothing of whether the sentry lives.
	w = newWorld(t)
	w.config.ProcRoot = filepath.Join(t.TempDir(), "proc")
	for _, pid := range []int{w.sentry.PID, w.appGofer.PID} {
		if err := os.MkdirAll(fmt.Sprintf("%s/%d/stat", w.config.ProcRoot, pid), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.looker(t).Look(t.Context(), "web"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("Look with an unreadable /proc = %v", err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	w := newWorld(t)
	for _, spoil := range []func(*observed.Config){
		func(c *observed.Config) { c.Records = nil },
		func(c *observed.Config) { c.Prober = nil },
		func(c *observed.Config) { c.CgroupProcs = nil },
	} {
		c := w.config
		spoil(&c)
		if _, err := observed.New(c); err == nil {
			t.Error("New succeeded")
		}
	}
}

// The sandbox has two containers and a sentry with 30 processes below it.
func BenchmarkLook(b *testing.B) {
	w := newWorld(b)
	pids := []int{w.sentry.PID, w.stub.PID, w.appGofer.PID, w.sideGofer.PID}
	for range 29 {
		p, _ := child(b)
		pids = append(pids, p.PID)
	}
	w.config.CgroupProcs = func(string) ([]int, bool, error) { return pids, true, nil }
	l := w.looker(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Look(b.Context(), "web"); err != nil {
			b.Fatal(err)
		}
	}
}
