package actuator

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sandboxer/actuator/gvisor"
	"sandboxer/internal/logs"
	"sandboxer/observed"
	"sandboxer/reconcile/plan"
)

const mib = 1 << 20

// memoryOf asks the sentry itself.
func (r *rig) memoryOf(name string, ids ...string) map[string]int64 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	used, err := gvisor.Sentry{Socket: r.record(name).ControlSocket}.Memory(ctx, ids)
	check(r.t, err)
	return used
}

// awaitOutput follows a container's output until it holds text.
func (r *rig) awaitOutput(name, container, text string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := &search{text: text, found: cancel}
	if err := r.c.Logs.Read(ctx, name, container, logs.Options{Follow: true, Tail: logs.All}, out); !strings.Contains(out.all.String(), text) {
		r.t.Fatalf("%s of %s did not say %q but %q: %v", container, name, text, out.all.String(), err)
	}
}

// search is a writer that tells when text was written to it.
type search struct {
	text  string
	found func()
	all   strings.Builder
}

func (s *search) Write(b []byte) (int, error) {
	s.all.Write(b)
	if strings.Contains(s.all.String(), s.text) {
		s.found()
	}
	return len(b), nil
}

func between(t *testing.T, what string, got, from, to int64) {
	t.Helper()
	if got < from || got > to {
		t.Errorf("%s uses %d KiB, not %d to %d MiB", what, got/1024, from/mib, to/mib)
	}
}

// The sentry tells containers' memory apart: what their processes and their
// children's have, what they share once, and their file systems in memory; not
// what is on a disk; and nothing of an instance that has ended, not even what
// that has left in /dev/shm.
func TestMemoryByContainer(t *testing.T) {
	r := newRig(t)
	first := app(t, "allocate", "40", "then", "fill", "/dev/shm/x", "20", "then", "spawn", "2", "then", "print", "ready", "then", "sleep")
	second := app(t, "fill", "/x", "60", "then", "map", "/x", "then", "map", "/big", "then", "sleep")
	second.Name = "second"
	check(t, os.WriteFile(filepath.Join(second.Rootfs.Path, "big"), make([]byte, 50*mib), 0o644))
	d := plan.Declare(sandbox("mem", first, second))
	r.run(d)
	r.awaitOutput("mem", "app", "ready")
	r.awaitOutput("mem", "second", "mapped 52428800")
	used := r.memoryOf("mem", "mem.app.1", "mem.second.1", "mem.none.1", "mem")
	between(t, "app", used["mem.app.1"], 60*mib, 72*mib)
	between(t, "second", used["mem.second.1"], 0, 8*mib)
	between(t, "the infra container", used["mem"], 0, mib)
	between(t, "none", used["mem.none.1"], 0, 0)

	r.must(plan.Kill, d, "app")
	r.awaitEnded()
	changed := *d.Sandbox
	changed.Spec.Containers[0].Command = []string{"/workload", "map", "/dev/shm/x", "then", "print", "again", "then", "sleep"}
	d = plan.Declare(&changed)
	r.must(plan.Start, d, "app")
	r.awaitOutput("mem", "app", "again")
	between(t, "app, made anew,", r.memoryOf("mem", "mem.app.2")["mem.app.2"], 0, 8*mib)
}

// The loop is poked when a sandbox's memory reaches the mark that was set, and
// a look then knows each container's; nobody is asked before.
func TestMemoryWatch(t *testing.T) {
	r := newRig(t)
	const much = 64
	d := plan.Declare(sandbox("mem", app(t, "sleep", "1", "then", "allocate", strconv.Itoa(much), "100", "then", "sleep")))
	r.run(d)
	rec := r.record("mem")
	look := func() observed.Memory {
		t.Helper()
		sb, err := r.looker.Look(context.Background(), "mem")
		check(t, err)
		return sb.Memory
	}
	if m := look(); m.Containers != nil || m.UsageBytes == 0 || m.PeakBytes < m.UsageBytes {
		t.Errorf("before a mark is set: %+v", m)
	}
	mark := look().UsageBytes + 40*mib
	r.WatchMemory(rec, mark)
	if m := look(); m.Containers != nil {
		t.Errorf("below the mark: %+v", m)
	}
	for len(r.pokes) > 0 {
		<-r.pokes
	}
	r.awaitPoke("mem", func() bool { return look().UsageBytes >= mark })
	m := look()
	between(t, "app", m.Containers["mem.app.1"], 30*mib, (much+8)*mib)
	between(t, "the cgroup, when app was asked about,", m.ContainersAt, mark, mark+much*mib)
	// An answer is believed for a while, and asked for again then.
	for same, last := 0, int64(0); same < 10; { // until all is allocated
		now := look().UsageBytes
		if same++; now-last > mib/4 || last-now > mib/4 {
			same, last = 0, now
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.WatchMemory(rec, look().UsageBytes+1000*mib)
	look() // what has changed little by little
	age := func(by time.Duration, want bool) {
		t.Helper()
		r.mu.Lock()
		w := r.memory[rec.Cgroup]
		w.asked = w.asked.Add(-by)
		was := w.asked
		r.mu.Unlock()
		look()
		r.mu.Lock()
		defer r.mu.Unlock()
		if asked := w.asked != was; asked != want {
			t.Errorf("of an answer that is %s older it was asked: %v", by, asked)
		}
	}
	age(0, false)
	age(answerTime, true)
	r.WatchMemory(rec, mark)
	// A mark that is passed already is told of too.
	for len(r.pokes) > 0 {
		<-r.pokes
	}
	r.WatchMemory(rec, mark-mib)
	select {
	case <-r.pokes:
	case <-time.After(patience):
		t.Error("a mark that is passed already is not told of")
	}
	r.WatchMemory(rec, 0)
	if len(r.memory) > 0 {
		t.Errorf("kept after the end: %v", r.memory)
	}
	// A sentry that does not answer costs the answer and not the look, and is asked
	// again though the mark is not passed a second time.
	rec.ControlSocket = "/no/such/socket"
	r.WatchMemory(rec, mark)
	for len(r.pokes) > 0 {
		<-r.pokes
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m, err := r.Memory(ctx, rec, []string{"mem.app.1"}); err != nil || m.Containers != nil || m.UsageBytes < mark {
		t.Errorf("of a sentry that does not answer: %+v, %v", m, err)
	}
	select {
	case <-r.pokes:
	case <-time.After(patience):
		t.Error("a question that had no answer is never put again")
	}
}
