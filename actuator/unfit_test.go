package actuator

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sandboxer/desired"
	"sandboxer/reconcile/plan"
)

// What a container would be made from and is not there, or is something else, is
// told of it alone; what a mount or a variable may hold is no reason.
func TestUnfit(t *testing.T) {
	a := newRig(t).Actuator
	a.c.AllowUnsafeOwners = true
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	gone := filepath.Join(filepath.Dir(file), "gone")
	of := func(change func(*desired.Sandbox, *desired.Container)) *plan.Declared {
		c := desired.Container{Name: "app", Rootfs: &desired.Rootfs{Path: root(t)}, Command: []string{"/workload"}}
		s := sandbox("box", c)
		s.Spec.Containers = append(s.Spec.Containers, desired.Container{Name: "other", Rootfs: &desired.Rootfs{Path: gone}, Command: []string{"/x"}})
		change(s, &s.Spec.Containers[0])
		return plan.Declare(s)
	}
	mounted := func(h *desired.HostPath, at string) func(*desired.Sandbox, *desired.Container) {
		return func(s *desired.Sandbox, c *desired.Container) {
			s.Spec.Volumes = []desired.Volume{{Name: "unused", HostPath: &desired.HostPath{Path: gone}}, {Name: "v", HostPath: h}}
			c.VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: at}}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*desired.Sandbox, *desired.Container)
		want   string
	}{
		{"nothing", func(*desired.Sandbox, *desired.Container) {}, ""},
		{"root", func(_ *desired.Sandbox, c *desired.Container) { c.Rootfs.Path = gone }, "rootfs.path: there is no directory " + gone + ": make it, with the container's files in it"},
		{"a file as root", func(_ *desired.Sandbox, c *desired.Container) { c.Rootfs.Path = file }, "rootfs.path: " + file + " is not a directory"},
		{"command", func(_ *desired.Sandbox, c *desired.Container) { c.Command = []string{"/none"} }, "command[0]: /none is not in the root "},
		{"command in an empty root", func(_ *desired.Sandbox, c *desired.Container) { c.Rootfs.Path = t.TempDir() }, "which is empty: put the container's files there"},
		{"console socket", func(_ *desired.Sandbox, c *desired.Container) { c.ConsoleSocket = gone }, "consoleSocket: there is no socket " + gone},
		{"command of a variable", func(_ *desired.Sandbox, c *desired.Container) { c.Command = []string{"$(PROGRAM)"} }, ""},
		{"command in a volume", func(s *desired.Sandbox, c *desired.Container) {
			c.Command = []string{"/data/x/none"}
			mounted(&desired.HostPath{Path: filepath.Dir(file)}, "/data")(s, c)
		}, ""},
		{"bundle", func(_ *desired.Sandbox, c *desired.Container) {
			c.Rootfs, c.Bundle = nil, inBundle(t, `{"domainname": "x"}`)
		}, "domainname"},
		{"hook", func(_ *desired.Sandbox, c *desired.Container) { c.Hooks.Poststop = []desired.Hook{{Path: file}} },
			"hooks.poststop[0].path: " + file + " is not executable"},
		{"value", func(_ *desired.Sandbox, c *desired.Container) {
			c.Env = []desired.EnvVar{{Name: "A", ValueFrom: &desired.EnvSource{File: gone}}}
		}, "env[0].valueFrom.file: stat " + gone},
		{"host path", mounted(&desired.HostPath{Path: gone}, "/data"), "spec.volumes[1].hostPath.path: stat " + gone},
		{"host path of another type", mounted(&desired.HostPath{Path: file, Type: "Directory"}, "/data"), file + " is not a directory"},
		{"one that is made", mounted(&desired.HostPath{Path: gone, Type: "DirectoryOrCreate"}, "/data"), ""},
		{"one that is made, and is a file", mounted(&desired.HostPath{Path: file, Type: "DirectoryOrCreate"}, "/data"), file + " is not a directory"},
	} {
		got := a.Unfit(of(c.change), []string{"app"})
		if len(got) > 1 || !strings.Contains(got["app"], c.want) || (c.want == "") != (got["app"] == "") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if _, err := os.Lstat(gone); err == nil {
		t.Error("it has made what was to be looked at")
	}
	d := of(func(s *desired.Sandbox, _ *desired.Container) { s.Spec.RestoreFrom = gone })
	whole := strings.SplitN(a.Unfit(d, []string{plan.Whole})[plan.Whole], "; ", 2)
	if len(whole) != 2 || !strings.HasPrefix(whole[0], "restoreFrom: ") || !slices.Contains(whole, `container "other": rootfs.path: there is no directory `+gone+": make it, with the container's files in it") {
		t.Errorf("of the sandbox: %q", whole)
	}
}
