package gvisor

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/cgroup"
	"sandboxer/internal/sentry"
)

// children starts and waits without a reaper beside it.
type children struct{}

func (children) Start(c *exec.Cmd) error { return c.Start() }
func (children) Wait(c *exec.Cmd) error  { return c.Wait() }

func creation(t *testing.T, id string) Create {
	t.Helper()
	image, err := os.Open(os.DevNull)
	check(t, err)
	t.Cleanup(func() { image.Close() })
	host, err := cgroup.Detect()
	check(t, err)
	cg, err := host.Create("/sandboxer-launch-test-"+strings.ToLower(rand.Text()[:10]), cgroup.Limits{})
	check(t, err)
	t.Cleanup(func() { check(t, cg.Delete(context.WithoutCancel(t.Context()))) })
	return Create{
		LaunchConfig: LaunchConfig{ID: id, Dir: t.TempDir()},
		Exe:          "/proc/self/exe", Image: image, Cgroup: cg, Children: children{},
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

// A launcher that fails, or says nothing, makes an error that says why, and
// leaves no descriptor behind.
func TestLauncherFails(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	check(t, os.WriteFile(data, nil, 0o700))
	// What is made once stays open.
	_, err := CreateSandbox(context.Background(), creation(t, "silent"))
	if err == nil {
		t.Error("a silent launcher has made a sandbox")
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*Create)
	}{
		{"silent", "without a result", func(c *Create) {}},
		{"data", "exec", func(c *Create) { c.Exe = data }},
		{"exe", "starting the launcher", func(c *Create) { c.Exe = "/no/such/program" }},
		{"dir", "no such file", func(c *Create) { c.Dir = "/no/such/dir" }},
	} {
		create := creation(t, c.name)
		c.spoil(&create)
		before := openFiles(t)
		if _, err := CreateSandbox(context.Background(), create); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if after := openFiles(t); after > before {
			t.Errorf("%s: %d descriptors, %d before", c.name, after, before)
		}
	}
}

// A launcher that hangs is killed when there is no more time.
func TestLauncherHangs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := CreateSandbox(ctx, creation(t, "stuck")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// The sandbox has namespaces of its own, users too unless it has the host's
// network; what is on disk of it is for root alone.
func TestInfraSpec(t *testing.T) {
	for _, host := range []bool{false, true} {
		spec, err := infraSpec(LaunchConfig{ID: "s", HostNetwork: host})
		check(t, err)
		kinds := map[string]bool{}
		for _, ns := range spec.Linux.Namespaces {
			kinds[string(ns.Type)] = true
		}
		for _, kind := range []string{"pid", "ipc", "uts", "mount"} {
			if !kinds[kind] {
				t.Errorf("host network %v: no %s namespace", host, kind)
			}
		}
		if kinds["user"] == host || (len(spec.Linux.UIDMappings) > 0) == host || kinds["network"] {
			t.Errorf("host network %v: %v, users %v", host, kinds, spec.Linux.UIDMappings)
		}
		if c := spec.Process.Capabilities; len(c.Bounding)+len(c.Effective)+len(c.Permitted) > 0 || !spec.Process.NoNewPrivileges {
			t.Errorf("the infra container has %+v", c)
		}
		dir := filepath.Join(t.TempDir(), Bundle)
		check(t, writeSpec(dir, spec))
		for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "config.json"): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
}

// The infra container goes by a name that any sandbox's has, so that one can be
// restored from the checkpoint of another.
func TestInfraSpecRestored(t *testing.T) {
	for _, restore := range []bool{false, true} {
		spec, err := infraSpec(LaunchConfig{ID: "s", Restore: restore})
		check(t, err)
		if name := specutils.ContainerName(spec); name != sentry.InfraName {
			t.Errorf("it is called %s", name)
		}
	}
}

func TestVisibleLimits(t *testing.T) {
	v := visible{memory: 1 << 30, cpus: 1.5}
	if m, err := v.MemoryLimit(); err != nil || m != 1<<30 {
		t.Errorf("memory %d, %v", m, err)
	}
	if q, err := v.CPUQuota(); err != nil || q != 150_000 {
		t.Errorf("CPUs %v, %v", q, err)
	}
	if m, _ := (visible{}).MemoryLimit(); m != 1<<63-1 {
		t.Errorf("no limit shows as %d", m)
	}
	if q, _ := (visible{}).CPUQuota(); q > 0 {
		t.Errorf("no quota shows as %v", q)
	}
}

func TestConfig(t *testing.T) {
	for host, network := range map[bool]string{false: "none", true: "host"} {
		c, err := runscConfig("/d", host)
		check(t, err)
		if c.Network.String() != network || c.Platform != "systrap" || !c.DirectFS || c.RootDir != "/d" || c.GetHostUDS().AllowOpen() || c.EnableRaw {
			t.Errorf("host network %v: %+v", host, c)
		}
	}
}
