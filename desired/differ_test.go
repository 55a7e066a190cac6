package desired

import (
	"slices"
	"testing"
)

// What is named is what makes the hashes differ, and where; what is changed in
// place is not.
func TestDifferences(t *testing.T) {
	base := func() *Sandbox {
		return &Sandbox{Name: "s", Spec: Spec{
			State: Running, Runtime: RuntimeGVisor, Hostname: "s", Network: Network{Mode: NetworkNone},
			Volumes: []Volume{{Name: "v", Files: map[string]string{"a.conf": "1"}}},
			Containers: []Container{
				{Name: "app", Rootfs: &Rootfs{Path: "/a"}, Args: []string{"x"}, RestartPolicy: Always, Env: []EnvVar{{Name: "A", Value: "1"}}},
				{Name: "log", Rootfs: &Rootfs{Path: "/b"}},
			},
			InitContainers: []Container{{Name: "make", Bundle: "/m"}, {Name: "fill", Bundle: "/f"}},
		}}
	}
	for _, c := range []struct {
		name   string
		change func(*Spec)
		want   []string
	}{
		{"nothing", func(*Spec) {}, nil},
		{"in place", func(s *Spec) {
			s.State, s.RestartPolicy, s.RestoreFrom, s.DependsOn = Suspended, Never, "/c", []string{"db"}
			s.InitContainers[0].OOMScoreAdj = new(3)
			s.Containers[0].OOMScoreAdj, s.Containers[0].RestartPolicy = new(3), Never
			s.Containers[0].Lifecycle.StopSignal = "SIGHUP"
		}, nil},
		{"order of containers", func(s *Spec) { slices.Reverse(s.Containers) }, nil},
		{"host name", func(s *Spec) { s.Hostname = "t" }, []string{"spec.hostname"}},
		{"literal file", func(s *Spec) { s.Volumes[0].Files["a.conf"] = "2" }, []string{"spec.volumes[v].files[a.conf]"}},
		{"no volume", func(s *Spec) { s.Volumes = nil }, []string{"spec.volumes"}},
		{"a container", func(s *Spec) { s.Containers = s.Containers[:1] }, []string{"spec.containers[log]"}},
		{"an init container", func(s *Spec) { s.InitContainers[1].Args = []string{"y"} }, []string{"spec.initContainers[fill].args"}},
		{"no init container", func(s *Spec) { s.InitContainers = nil }, []string{"spec.initContainers"}},
		{"order of init containers", func(s *Spec) { slices.Reverse(s.InitContainers) }, []string{"spec.initContainers"}},
		{"several", func(s *Spec) {
			s.Containers[0].Args, s.Containers[1].Rootfs.Path, s.Containers[0].Env[0].Value = []string{"y"}, "/c", "2"
		}, []string{"spec.containers[app].args", "spec.containers[app].env[A].value", "spec.containers[log].rootfs.path"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := base(), base()
			c.change(&b.Spec)
			if got := Differences(&a.Spec, &b.Spec); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if got := Differences(&b.Spec, &a.Spec); !slices.Equal(got, c.want) {
				t.Errorf("the other way round: %v, want %v", got, c.want)
			}
			same := a.SandboxHash() == b.SandboxHash() && slices.Equal(hashes(a), hashes(b))
			if c.name != "order of containers" && same != (len(c.want) == 0) {
				t.Errorf("the hashes say the same: %v", same)
			}
		})
	}
}

func hashes(s *Sandbox) (list []string) {
	for i := range s.Spec.Containers {
		list = append(list, s.Spec.Containers[i].Hash())
	}
	return list
}
