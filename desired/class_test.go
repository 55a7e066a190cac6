package desired

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

// A field without a class would be in no hash: a change of it would go unseen.
func TestEveryFieldHasAClass(t *testing.T) {
	for _, c := range []struct {
		of      reflect.Type
		classes map[string]Class
	}{{reflect.TypeFor[Spec](), specClasses}, {reflect.TypeFor[Container](), containerClasses}} {
		fields := map[string]bool{}
		for i := range c.of.NumField() {
			fields[fieldName(c.of.Field(i))] = true
		}
		for f := range fields {
			if c.classes[f] == "" {
				t.Errorf("%s: %q has no class: say in class.go what a change of it does", c.of, f)
			}
		}
		for f := range c.classes {
			if !fields[f] {
				t.Errorf("%s has no field %q", c.of, f)
			}
		}
	}
}

// Each change is named with its class and its deepest field, and what is named
// is what makes the hashes differ.
func TestChanges(t *testing.T) {
	base := func() *Sandbox {
		return &Sandbox{Name: "s", Labels: map[string]string{"tier": "front"}, Spec: Spec{
			State: Running, Runtime: RuntimeGVisor, Hostname: "s", Network: Network{Mode: NetworkNone},
			Volumes: []Volume{{Name: "v", Files: map[string]string{"a.conf": "1"}}},
			Containers: []Container{
				{Name: "app", Rootfs: &Rootfs{Path: "/a"}, Args: []string{"x"}, RestartPolicy: Always, Env: []EnvVar{{Name: "A", Value: "1"}}},
				{Name: "log", Rootfs: &Rootfs{Path: "/b"}},
			},
			InitContainers: []Container{{Name: "make", Bundle: "/m"}},
		}}
	}
	for _, c := range []struct {
		name   string
		change func(*Sandbox)
		want   []Change
	}{
		{"nothing", func(*Sandbox) {}, nil},
		{"labels", func(s *Sandbox) { s.Labels = map[string]string{"tier": "back", "new": "1"} },
			[]Change{{ClassInPlace, "", []string{"labels.new", "labels.tier"}}}},
		{"a terminal", func(s *Sandbox) { s.Spec.Containers[0].Terminal, s.Spec.Containers[0].Stdin = true, true },
			[]Change{{ClassContainer, "app", []string{"stdin", "terminal"}}}},
		{"a user log", func(s *Sandbox) { s.Spec.Containers[0].UserLog = "/u" },
			[]Change{{ClassSandbox, "", []string{"containers"}}}},
		{"what comes first", func(s *Sandbox) { s.Spec.DependsOn = []string{"db"} }, []Change{{ClassInPlace, "", []string{"dependsOn"}}}},
		{"init container in place", func(s *Sandbox) { s.Spec.InitContainers[0].OOMScoreAdj = new(3) },
			[]Change{{ClassInPlace, "make", []string{"oomScoreAdj"}}}},
		{"init container", func(s *Sandbox) { s.Spec.InitContainers[0].Args = []string{"y"} },
			[]Change{{ClassSandbox, "", []string{"initContainers[make].args"}}}},
		{"in place", func(s *Sandbox) {
			s.Spec.State, s.Spec.TerminationGracePeriodSeconds, s.Spec.RestartBackoff.Initial = Paused, new(int64(3)), 9
			s.Spec.Containers[0].OOMScoreAdj, s.Spec.Containers[0].Lifecycle.StopSignal = new(3), "SIGHUP"
			s.Spec.Containers[1].Resources.Limits.Memory = new(resource.MustParse("64Mi"))
		}, []Change{
			{ClassInPlace, "", []string{"restartBackoff", "state", "terminationGracePeriodSeconds"}},
			{ClassInPlace, "app", []string{"lifecycle", "oomScoreAdj"}},
			{ClassInPlace, "log", []string{"resources"}},
		}},
		{"a limit", func(s *Sandbox) { s.Spec.Containers[0].RestartPolicy = Never },
			[]Change{{ClassInPlace, "app", []string{"restartPolicy"}}}},
		{"of a container", func(s *Sandbox) {
			app := &s.Spec.Containers[0]
			app.Args, app.Env, app.SecurityContext.RunAsUser = []string{"y"}, append(app.Env, EnvVar{Name: "B", Value: "2"}), new(int64(0))
		}, []Change{{ClassContainer, "app", []string{"args", "env[B]", "securityContext"}}}},
		{"a variable", func(s *Sandbox) { s.Spec.Containers[0].Env[0].Value = "2" },
			[]Change{{ClassContainer, "app", []string{"env[A].value"}}}},
		{"of the sandbox", func(s *Sandbox) {
			s.Spec.Hostname = "t"
			s.Spec.Volumes[0].Files["a.conf"] = "2"
		}, []Change{{ClassSandbox, "", []string{"hostname", "volumes[v].files[a.conf]"}}}},
		{"a container more", func(s *Sandbox) { s.Spec.Containers = append(s.Spec.Containers, Container{Name: "new"}) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := base(), base()
			c.change(b)
			got := Changes(a, b)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			has := func(class Class) bool {
				return slices.ContainsFunc(got, func(c Change) bool { return c.Class == class })
			}
			if (a.SandboxHash() != b.SandboxHash()) != has(ClassSandbox) {
				t.Error("the sandbox's hash does not say the same")
			}
			if slices.Equal(hashes(a), hashes(b)[:2]) == has(ClassContainer) {
				t.Error("the containers' hashes do not say the same")
			}
		})
	}
}

// Digests tell nothing but that something is different, and nobody is told of a
// change where there is nothing to compare with.
func TestFields(t *testing.T) {
	c := Container{Name: "app", Env: []EnvVar{{Name: "TOKEN", Value: "secret"}}}
	want := map[string]string{"name": digest("app")[:8], "env": "", "env[TOKEN]": "", "env[TOKEN].name": digest("TOKEN")[:8], "env[TOKEN].value": digest("secret")[:8]}
	if got := c.Fields(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := ChangedFields(nil, c.Fields()); got != nil {
		t.Errorf("%v has changed since nobody knows what", got)
	}
}
