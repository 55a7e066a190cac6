package cgroup

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

func contents(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// inForce reads the limits back in the words of Limits.
func inForce(t *testing.T, c *Cgroup) Limits {
	t.Helper()
	mem, cpu := c.host.dir("memory", c.name), c.host.dir("cpu", c.name)
	var l Limits
	if c.host.mode == V2 {
		l.MemoryBytes, _ = strconv.ParseInt(contents(t, mem+"/memory.max"), 10, 64)
		quota, period, _ := strings.Cut(contents(t, cpu+"/cpu.max"), " ")
		q, _ := strconv.ParseFloat(quota, 64)
		p, _ := strconv.ParseFloat(period, 64)
		l.CPUQuota = q / p
		return l
	}
	limit := contents(t, mem+"/memory.limit_in_bytes")
	if memsw, err := os.ReadFile(mem + "/memory.memsw.limit_in_bytes"); err == nil && strings.TrimSpace(string(memsw)) != limit {
		t.Errorf("memory is limited to %s, with swap to %s", limit, memsw)
	}
	l.MemoryBytes, _ = strconv.ParseInt(limit, 10, 64)
	if l.MemoryBytes > math.MaxInt64/2 {
		l.MemoryBytes = 0
	}
	quota, _ := strconv.ParseFloat(contents(t, cpu+"/cpu.cfs_quota_us"), 64)
	period, _ := strconv.ParseFloat(contents(t, cpu+"/cpu.cfs_period_us"), 64)
	l.CPUQuota = max(quota, 0) / period
	return l
}

func TestLimitsInPlace(t *testing.T) {
	h := detect(t)
	name := parent(t, h) + "/web"
	c := create(t, h, name, Limits{MemoryBytes: 64 * mib, CPUQuota: 0.5})
	for i, l := range []Limits{
		{MemoryBytes: 64 * mib, CPUQuota: 0.5},
		{MemoryBytes: 128 * mib, CPUQuota: 2},
		{MemoryBytes: 32 * mib, CPUQuota: 0.01},
		{CPUQuota: 1.25},
		{MemoryBytes: 96 * mib},
		{},
		{},
		{MemoryBytes: 16 * mib},
	} {
		if err := c.Set(l); err != nil {
			t.Fatalf("Set %d: %v", i, err)
		}
		if got := inForce(t, c); got != l {
			t.Errorf("Set %d: %+v is in force; want %+v", i, got, l)
		}
	}
	// Create of what exists puts its limits in force too, raising and lowering.
	for _, l := range []Limits{{MemoryBytes: 256 * mib}, {MemoryBytes: 8 * mib}, {}} {
		create(t, h, name, l)
		if got := inForce(t, c); got != l {
			t.Errorf("%+v is in force after Create with %+v", got, l)
		}
	}
}

func TestLimitBelowUse(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{MemoryBytes: 256 * mib})
	cmd := start(t, c, "use="+strconv.Itoa(64*mib))
	err := c.Set(Limits{MemoryBytes: 32 * mib})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Set = %v", err)
	}
	if got := inForce(t, c).MemoryBytes; got != 256*mib {
		t.Errorf("a refused limit left %d MiB in force", got/mib)
	}
	if err := cmd.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("a refused limit killed: %v", err)
	}
}

func TestUsage(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{MemoryBytes: 512 * mib})
	before := time.Now()
	start(t, c, "use="+strconv.Itoa(64*mib))
	u, err := c.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.MemoryBytes < 64*mib || u.MemoryBytes > 512*mib || u.MemoryPeakBytes < u.MemoryBytes ||
		u.MemoryLimitBytes != 512*mib || u.CPU <= 0 || u.CPU > 64*time.Since(before) || u.Tasks < 1 || u.OOMKills != 0 {
		t.Errorf("Usage = %+v", u)
	}
	if cpu, err := h.CPU(c.Path()); err != nil || cpu < u.CPU || cpu > 64*time.Since(before) {
		t.Errorf("CPU = %s, %v; before it was %s", cpu, err, u.CPU)
	}
}

// What a process writes counts at once, though the kernel defers it, and what a
// child wrote still counts when that has ended.
func TestUsageOfStorage(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{})
	dir, err := os.MkdirTemp("/var/tmp", "sandboxer-test-") // on a disk, which /tmp may not be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	start(t, c, "write="+dir)
	u, err := c.Usage()
	if err != nil || u.WrittenBytes < 8*mib || u.WrittenBytes > 9*mib {
		t.Errorf("Usage = %+v, %v", u, err)
	}
}

func TestOOMKills(t *testing.T) {
	h := detect(t)
	c := create(t, h, parent(t, h), Limits{})
	inner := create(t, h, c.Path()+"/inner", Limits{MemoryBytes: 64 * mib})
	cmd, said := launch(t, inner, "use="+strconv.Itoa(512*mib))
	awaitZombie(t, cmd)
	for _, c := range []*Cgroup{inner, c} {
		if n, err := c.OOMKills(); err != nil || n != 1 {
			t.Errorf("OOMKills of %s = %d, %v (the process said %q)", c.Path(), n, err, said)
		}
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OOMKills(); !errors.Is(err, ErrNotFound) {
		t.Errorf("OOMKills after Delete = %v", err)
	}
	if _, err := c.Usage(); !errors.Is(err, ErrNotFound) {
		t.Errorf("Usage after Delete = %v", err)
	}
	if _, err := h.CPU(c.Path()); !errors.Is(err, ErrNotFound) {
		t.Errorf("CPU after Delete = %v", err)
	}
}

func TestBadLimits(t *testing.T) {
	h := detect(t)
	name := parent(t, h)
	for _, l := range []Limits{{MemoryBytes: -1}, {MemoryHighBytes: -1}, {CPUQuota: -1}, {CPUQuota: math.NaN()}, {CPUQuota: math.Inf(1)}} {
		if _, err := h.Create(name, l); err == nil {
			t.Errorf("%+v was taken", l)
		}
	}
	bare := &Host{mode: V2, root: t.TempDir()}
	for _, l := range []Limits{{MemoryBytes: 1}, {CPUQuota: 1}} {
		if _, err := bare.Create("/web", l); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v on a host without controllers: %v", l, err)
		}
	}
	if _, err := h.Load(name); !errors.Is(err, ErrNotFound) {
		t.Errorf("refused limits left something: %v", err)
	}
}

func TestCreateThatFailsLeavesNothing(t *testing.T) {
	h := detect(t)
	if h.Mode() != V1 {
		t.Skip("a v2 kernel takes every limit that Limits can express")
	}
	// v1 refuses a child more CPU than its parent has.
	top := create(t, h, parent(t, h), Limits{CPUQuota: 0.5})
	name := top.Path() + "/web"
	for _, there := range []bool{false, true} {
		if there {
			create(t, h, name, Limits{})
		}
		if _, err := h.Create(name, Limits{CPUQuota: 1}); !errors.Is(err, unix.EINVAL) {
			t.Fatalf("Create = %v", err)
		}
		if _, err := h.Load(name); there != (err == nil) {
			t.Errorf("was there before: %v; Load = %v", there, err)
		}
	}
}

func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		cores float64
		want  int64
		ok    bool
	}{{0, 0, false}, {1, 100_000, true}, {0.25, 25_000, true}, {0.001, 1_000, true}, {1e300, math.MaxInt32, true}} {
		if got, ok := (Limits{CPUQuota: tt.cores}).quota(); got != tt.want || ok != tt.ok {
			t.Errorf("%v cores: %d, %v; want %d, %v", tt.cores, got, ok, tt.want, tt.ok)
		}
	}
}

// fakeV2 is a directory that looks like a v2 host's. It shows what is written
// where; that a kernel takes it only a pure v2 host shows, through the tests
// that begin with detect.
func fakeV2(t *testing.T) *Host {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "p", "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"cgroup.controllers":       "cpuset cpu io memory hugetlb pids\n",
		"cgroup.subtree_control":   "",
		"p/cgroup.subtree_control": "",
		"p/web/memory.current":     "1048576\n",
		"p/web/memory.swap.max":    "max\n",
		"p/web/memory.reclaim":     "",
		"p/web/cgroup.procs":       "",
		"p/web/cgroup.controllers": "cpu memory pids\n",
		"p/web/memory.events":      "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n",
		"p/web/memory.peak":        "2097152\n",
		"p/web/memory.stat":        "anon 5\n",
		"p/web/cpu.stat":           "usage_usec 1500\n",
		"p/web/pids.current":       "4\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := newV2(root)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestV2Files(t *testing.T) {
	h := fakeV2(t)
	c := create(t, h, "/p/web", Limits{MemoryBytes: 64 * mib, MemoryHighBytes: 32 * mib, CPUQuota: 0.5})
	want := map[string]string{
		"cgroup.subtree_control":   "+cpu +memory +pids",
		"p/cgroup.subtree_control": "+cpu +memory +pids",
		"p/web/memory.max":         "67108864",
		"p/web/memory.high":        "33554432",
		"p/web/memory.swap.max":    "0",
		"p/web/cpu.max":            "50000 100000",
	}
	check := func() {
		t.Helper()
		for name, value := range want {
			if got := contents(t, filepath.Join(h.root, name)); got != value {
				t.Errorf("%s holds %q; want %q", name, got, value)
			}
		}
	}
	check()
	// More than the limit is in use, and this host reclaims nothing.
	if err := c.Set(Limits{MemoryBytes: 4096}); !errors.Is(err, ErrBusy) {
		t.Errorf("Set below use = %v", err)
	}
	want["p/web/memory.reclaim"] = strconv.Itoa(mib - 4096)
	check()
	if err := c.Set(Limits{}); err != nil {
		t.Fatal(err)
	}
	want["p/web/memory.max"] = strconv.Itoa(math.MaxInt64)
	want["p/web/memory.high"] = strconv.Itoa(math.MaxInt64)
	want["p/web/memory.swap.max"] = strconv.Itoa(math.MaxInt64)
	want["p/web/cpu.max"] = "max 100000"
	check()
	u, err := c.Usage()
	if wantU := (Usage{MemoryBytes: mib, MemoryPeakBytes: 2 * mib, CPU: 1500 * time.Microsecond, Tasks: 4, OOMKills: 3}); err != nil || u != wantU {
		t.Errorf("Usage = %+v, %v; want %+v", u, err, wantU)
	}
}
