package gvisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/runsc/specutils"

	"sandboxer/internal/cgroup"
	"sandboxer/internal/sentry"
)

func creation(t *testing.T, id string) Create {
	t.Helper()
	image, err := os.Open(os.DevNull)
	check(t, err)
	t.Cleanup(func() { image.Close() })
	host, err := cgroup.Detect()
	check(t, err)
	cg, err := host.Create("/sandboxer-create-test-"+strings.ToLower(rand.Text()[:10]), cgroup.Limits{})
	check(t, err)
	t.Cleanup(func() { check(t, cg.Delete(context.WithoutCancel(t.Context()))) })
	return Create{
		ID: id, Dir: t.TempDir(), Exe: "/proc/self/exe", Image: image, Cgroup: cg,
	}
}

// Sockets are found whatever their directory is called.
func TestSockets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a[b]*?\`)
	if found, err := Sockets(dir); err != nil || len(found) > 0 {
		t.Errorf("where there is no directory: %q, %v", found, err)
	}
	check(t, os.Mkdir(dir, 0o700))
	want := socketIn(dir, "web")
	for _, name := range []string{want, filepath.Join(dir, "sandbox.json"), filepath.Join(dir, "other.sock")} {
		check(t, os.WriteFile(name, nil, 0o600))
	}
	if found, err := Sockets(dir); err != nil || !slices.Equal(found, []string{want}) {
		t.Errorf("found %q, %v", found, err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

// A sentry that ends without a word, or does not even become one, makes an error
// that says so, and leaves no descriptor behind.
func TestSentryFails(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	check(t, os.WriteFile(data, nil, 0o700))
	// What is made once stays open.
	_, err := CreateSandbox(context.Background(), creation(t, "silent"))
	if err == nil {
		t.Error("a silent sentry has become a sandbox")
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*Create)
	}{
		{"silent", "ended before it answered", func(c *Create) {}},
		{"data", "exec", func(c *Create) { c.Exe = data }},
		{"exe", "starting the sentry", func(c *Create) { c.Exe = "/no/such/program" }},
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

// A sentry that hangs is killed when there is no more time.
func TestSentryHangs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := CreateSandbox(ctx, creation(t, "stuck")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// The sandbox has namespaces of its own, users too unless it has the host's
// network.
func TestInfraSpec(t *testing.T) {
	for _, host := range []bool{false, true} {
		spec, err := infraSpec("s", "", host)
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
	}
}

// The infra container goes by a name that any sandbox's has, so that one can be
// restored from the checkpoint of another.
func TestInfraSpecRestored(t *testing.T) {
	spec, err := infraSpec("s", "", false)
	check(t, err)
	if name := specutils.ContainerName(spec); name != sentry.InfraName {
		t.Errorf("it is called %s", name)
	}
}

// Applications see what they may use, on two processors at least.
func TestVisibleLimits(t *testing.T) {
	for _, c := range []struct {
		create     Create
		want, lack []string
	}{
		{Create{}, []string{fmt.Sprintf("--cpu-num=%d", runtime.NumCPU())}, []string{"--cpu-quota"}},
		{Create{MemoryBytes: 1 << 30, CPUs: 1.5}, []string{"--total-memory=1073741824", "--cpu-quota=150000", "--cpu-period=100000", "--cpu-num=2"}, nil},
		{Create{CPUs: 0.1}, []string{"--cpu-quota=10000", "--cpu-num=2"}, nil},
		{Create{MemoryBytes: 1 << 60, CPUs: 10000}, []string{fmt.Sprintf("--cpu-num=%d", runtime.NumCPU())}, []string{"--total-memory=1152921504606846976"}},
	} {
		args, err := c.create.seen()
		check(t, err)
		said := strings.Join(args, " ")
		for _, want := range c.want {
			if !slices.Contains(args, want) {
				t.Errorf("%+v: %s lacks %s", c.create, said, want)
			}
		}
		for _, lack := range c.lack {
			if strings.Contains(said, lack) {
				t.Errorf("%+v: %s has %s", c.create, said, lack)
			}
		}
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
