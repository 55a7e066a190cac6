package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{MemoryBytes: 256 * mib})
	cmd, _, say := converse(t, c, "grow")
	say(strconv.Itoa(32 * mib))
	m, err := h.Memory(c.Path())
	if err != nil || m.Limit != 256*mib || m.Usage < 32*mib || m.Peak < m.Usage || m.Peak > m.Limit || m.Kills != 0 || m.Full {
		t.Errorf("%+v, %v", m, err)
	}
	if _, ok := h.Victim(c.Path()); ok {
		t.Error("a victim before any kill")
	}
	if said := say(strconv.Itoa(1024 * mib)); said != "" {
		t.Fatalf("it said %q", said)
	}
	awaitZombie(t, cmd)
	m, err = h.Memory(c.Path())
	if err != nil || m.Kills != 1 || m.Peak < 240*mib || m.Full {
		t.Errorf("after the kill: %+v, %v", m, err)
	}
	if _, err := os.Open("/dev/kmsg"); err == nil {
		if pid, ok := h.Victim(c.Path()); !ok || pid != cmd.Process.Pid {
			t.Errorf("the victim is %d, %v; want %d", pid, ok, cmd.Process.Pid)
		}
	} else {
		t.Logf("the kernel's log can't be read here, and does not name the victim: %v", err)
	}
	if err := c.Set(Limits{}); err != nil {
		t.Fatal(err)
	}
	if m, err = h.Memory(c.Path()); err != nil || m.Limit != 0 {
		t.Errorf("without a limit: %+v, %v", m, err)
	}
	if m, err = h.Memory(c.Path() + "/none"); err != nil || m != (Memory{}) {
		t.Errorf("of no cgroup: %+v, %v", m, err)
	}
}

func TestMemoryV2(t *testing.T) {
	h := fakeV2(t)
	want := Memory{Usage: mib, Limit: 64 * mib, Peak: 2 * mib, Kills: 3}
	create(t, h, "/p/web", Limits{MemoryBytes: want.Limit, MemoryHighBytes: 32 * mib})
	if m, err := h.Memory("/p/web"); err != nil || m != want {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
	if err := os.WriteFile(filepath.Join(h.root, "p/web/memory.high"), []byte(strconv.Itoa(8*mib)), 0o600); err != nil {
		t.Fatal(err)
	}
	want.Full = true
	if m, err := h.Memory("/p/web"); err != nil || m != want {
		t.Errorf("with memory.high in reach: %+v, %v; want %+v", m, err, want)
	}
	// Before Linux 5.19 there is no peak; and "max" is no limit.
	if err := os.Remove(filepath.Join(h.root, "p/web/memory.peak")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.root, "p/web/memory.max"), []byte("max\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want.Peak, want.Limit = 0, 0
	if m, err := h.Memory("/p/web"); err != nil || m != want {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
}

// What the kernel's log says is read to the letter: whoever names a process
// must not be able to speak for the kernel.
func TestVictim(t *testing.T) {
	const line = "6,2295,12569184766,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0," +
		"oom_memcg=/p/web,task_memcg=/p/web,task=%s,pid=27825,uid=0\n SUBSYSTEM=x\n"
	for _, c := range []struct {
		record, cgroup string
		want           int
		ok             bool
	}{
		{fmt.Sprintf(line, "exe"), "/p/web", 27825, true},
		{fmt.Sprintf(line, "a,pid=1,uid=0"), "/p/web", 27825, true},
		{fmt.Sprintf(line, "exe"), "/p/we", 0, false},
		{fmt.Sprintf(line, "exe"), "/web", 0, false},
		{"6,1,2,-;x: oom-kill:,task_memcg=/p/web,task=x,pid=1,uid=0\n", "/p/web", 0, false},
		{"6,1,2,-;Memory cgroup out of memory: Killed process 27825 (exe)\n", "/p/web", 0, false},
		{"6,1,2,-;oom-kill:,task_memcg=/p/web,task=x,pid=x,uid=0\n", "/p/web", 0, false},
		{"", "/p/web", 0, false},
	} {
		if pid, ok := victim([]byte(c.record), c.cgroup); pid != c.want || ok != c.ok {
			t.Errorf("%q of %s: %d, %v", c.record, c.cgroup, pid, ok)
		}
	}
}

// alarms runs Alarms until stop is called or the test ends.
func alarms(t *testing.T, h *Host) (a *Alarms, stop func()) {
	t.Helper()
	a, err := NewAlarms(h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return a, stop
}

// told waits until something is told.
func told(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("not told of %s", what)
	}
}

// A use that reaches the mark is told of, and so is a kill. The race detector
// takes as much again and more for itself.
func TestAlarms(t *testing.T) {
	h := detect(t)
	a, stop := alarms(t, h)
	c := create(t, h, parent(t, h), Limits{MemoryBytes: 1024 * mib, MemoryHighBytes: 160 * mib})
	cmd, _, say := converse(t, c, "grow")
	news := make(chan struct{}, 1000)
	tell := func() { news <- struct{}{} }
	if err := a.Set(c.Path(), 160*mib, tell); err != nil {
		t.Fatal(err)
	}
	say(strconv.Itoa(32 * mib))
	if len(news) > 0 {
		t.Error("told below the mark")
	}
	for range 12 {
		if len(news) == 0 { // beyond it v2 slows whoever wants more
			say(strconv.Itoa(12 * mib))
		}
	}
	told(t, "the mark", news)
	if h.Mode() == V1 {
		if err := a.Set(c.Path(), 600*mib, tell); err != nil {
			t.Fatal(err)
		}
		for len(news) > 0 {
			<-news
		}
		for range 12 {
			if len(news) == 0 {
				say(strconv.Itoa(48 * mib))
			}
		}
		told(t, "the next mark", news)
	}
	other := make(chan struct{}, 1000)
	if err := a.Set(c.Path(), 1<<40, func() { other <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	for len(news) > 0 {
		<-news
	}
	if err := c.Set(Limits{MemoryBytes: 1024 * mib}); err != nil {
		t.Fatal(err)
	}
	say(strconv.Itoa(2048 * mib))
	awaitZombie(t, cmd)
	told(t, "the kill", other)
	if len(news) > 0 {
		t.Error("what was replaced is told")
	}
	a.Clear(c.Path())
	a.Clear(c.Path())
	a.mu.Lock()
	if len(a.byName)+len(a.byFD) > 0 {
		t.Errorf("%v, %v is held", a.byName, a.byFD)
	}
	a.mu.Unlock()
	if err := a.Set(c.Path()+"/none", mib, tell); !errors.Is(err, ErrNotFound) {
		t.Errorf("Set of no cgroup = %v", err)
	}
	stop()
	if err := a.Set(c.Path(), mib, tell); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Set after the end = %v", err)
	}
}

// A cgroup that is removed is told of at most once more, and not for ever.
func TestAlarmsOfTheRemoved(t *testing.T) {
	h := detect(t)
	a, stop := alarms(t, h)
	c := create(t, h, parent(t, h), Limits{MemoryBytes: 64 * mib})
	news := make(chan struct{}, 1000)
	if err := a.Set(c.Path(), 32*mib, func() { news <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	// One that is set later and told of shows that the first is done.
	next := create(t, h, c.Path(), Limits{MemoryBytes: 64 * mib})
	later := make(chan struct{}, 1000)
	if err := a.Set(next.Path(), 32*mib, func() { later <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	cmd, _, say := converse(t, next, "grow")
	say(strconv.Itoa(512 * mib))
	awaitZombie(t, cmd)
	told(t, "the kill", later)
	stop()
	if len(news) > 2 {
		t.Errorf("told %d times of a cgroup that is gone", len(news))
	}
}
