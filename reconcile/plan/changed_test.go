package plan

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
)

// Each change of what is declared of a sandbox that runs: who is acted on, in
// which class, and the reason that names the field.
func TestPlanOfEachClass(t *testing.T) {
	app := func(s *desired.Sandbox) *desired.Container { return &s.Spec.Containers[0] }
	limits := func(cpu, memory string) func(*desired.Sandbox) {
		return func(s *desired.Sandbox) {
			app(s).Resources.Limits = desired.Limits{CPU: new(resource.MustParse(cpu)), Memory: new(resource.MustParse(memory))}
		}
	}
	const was = "the limits in force (cpu=1500m,memory=201326592) were not those declared "
	for _, c := range []struct {
		name   string
		change func(*desired.Sandbox)
		want   string // action container class reason, a line each
	}{
		{"labels", func(s *desired.Sandbox) { s.Labels = nil }, ""},
		{"restart policy", desiredtest.Policy(desired.Never), ""},
		{"back-off", func(s *desired.Sandbox) { s.Spec.RestartBackoff.Max = 7 }, ""},
		{"grace period", func(s *desired.Sandbox) { s.Spec.TerminationGracePeriodSeconds = new(int64(1)) }, ""},
		{"stop signal", func(s *desired.Sandbox) { app(s).Lifecycle.StopSignal = "SIGHUP" }, ""},
		{"restoreFrom", func(s *desired.Sandbox) { s.Spec.RestoreFrom = "/c" }, ""},
		{"state", desiredtest.State(desired.Paused), `pause "" in place: the declared state is Paused`},
		{"score", func(s *desired.Sandbox) { app(s).OOMScoreAdj = new(300) },
			`setOOMScore "" in place: process 4711 of the sandbox had the OOM score 200 and not 300 (declared)`},
		{"limits raised", limits("2", "1Gi"), `setLimits "" in place: ` + was + `(cpu=3000m,memory=1207959552)`},
		{"limits lowered", limits("100m", "32Mi"), `setLimits "" in place: ` + was + `(cpu=1100m,memory=167772160)`},
		{"no limits", func(s *desired.Sandbox) { app(s).Resources = desired.Resources{} }, `setLimits "" in place: ` + was + `(cpu=none,memory=none)`},

		{"args", func(s *desired.Sandbox) { app(s).Args = []string{"x"} }, `signal "app" container: container "app" was changed: args; it has 30s to end`},
		{"user and variable", func(s *desired.Sandbox) {
			app(s).Env, app(s).SecurityContext.RunAsUser = []desired.EnvVar{{Name: "A", Value: "1"}}, new(int64(5))
		}, `signal "app" container: container "app" was changed: env, securityContext; it has 30s to end`},
		{"a container more", func(s *desired.Sandbox) {
			s.Spec.Containers = append(s.Spec.Containers, desired.Container{Name: "new", RestartPolicy: desired.Always, Resources: app(s).Resources})
			for i := range s.Spec.Containers {
				s.Spec.Containers[i].Resources.Limits = desired.Limits{CPU: new(resource.MustParse("500m")), Memory: new(resource.MustParse("64Mi"))}
			}
		}, `start "new" container: container "new" was added`},
		{"a container less", func(s *desired.Sandbox) {
			s.Spec.Containers = s.Spec.Containers[:1]
			limits("1500m", "192Mi")(s)
		}, `signal "web" container: container "web" is declared no more; it has 30s to end`},

		{"hostname", func(s *desired.Sandbox) { s.Spec.Hostname = "h" },
			`signal "app" sandbox: the sandbox was changed: hostname; container "app" has 30s to end
signal "web" sandbox: the sandbox was changed: hostname; container "web" has 30s to end`},
		{"network and a volume", func(s *desired.Sandbox) {
			s.Spec.Network.Mode = desired.NetworkHost
			s.Spec.Volumes = []desired.Volume{{Name: "v", EmptyDir: &desired.EmptyDir{}}}
			s.Spec.TerminationGracePeriodSeconds = new(int64(0))
		}, `stop "" sandbox: the sandbox was changed: network.mode, volumes; it has no grace period`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := settled(newDeclared())
			if c.name == "a container more" {
				// What the sum of limits is does not change.
				in.Observed.Record.LimitsHash = newDeclared(c.change).LimitsHash
			}
			redeclare(&in, c.change)
			var got []string
			for _, a := range Decide(in).Actions {
				got = append(got, strings.Join([]string{string(a.Verb), `"` + a.Container + `"`, a.Class + ": " + a.Reason}, " "))
			}
			if got := strings.Join(got, "\n"); got != c.want {
				t.Errorf("planned:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// A volume that nobody could write when the sandbox was made is one file system
// for all only if the sandbox is made anew for the first who is to. Who writes
// no more, or again, is alone made anew.
func TestPlanOfAVolumeToBeWritten(t *testing.T) {
	mounts := func(readOnly ...bool) func(*desired.Sandbox) {
		return func(s *desired.Sandbox) {
			s.Spec.Volumes = []desired.Volume{{Name: "v", EmptyDir: &desired.EmptyDir{}}, {Name: "f", Files: map[string]string{"a": "b"}}}
			for i, r := range readOnly {
				s.Spec.Containers[i].VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: r}, {Name: "f", MountPath: "/f"}}
			}
		}
	}
	const anew = `sandbox: volume "v" was served to be read only, as no container wrote it, and one is to write it now; container "`
	const alone = `container: container "web" was changed: volumeMounts[v].readOnly; it has 30s to end`
	for _, c := range []struct {
		name    string
		written []string
		was, is []bool
		want    []string
	}{
		{"by one", []string{}, []bool{true, true}, []bool{true, false}, []string{anew + `app" has 30s to end`, anew + `web" has 30s to end`}},
		{"again", []string{"v"}, []bool{true, true}, []bool{true, false}, []string{alone}},
		{"no more", []string{"v"}, []bool{true, false}, []bool{true, true}, []string{alone}},
		{"by one more", []string{"v"}, []bool{false, true}, []bool{false, false}, []string{alone}},
		{"in a sandbox of an earlier version", nil, []bool{true, true}, []bool{true, false}, []string{alone}},
	} {
		in := settled(newDeclared(mounts(c.was...)))
		in.Observed.Record.Written = c.written
		redeclare(&in, mounts(c.is...))
		var got []string
		for _, a := range Decide(in).Actions {
			got = append(got, a.Class+": "+a.Reason)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: planned %q, want %q", c.name, got, c.want)
		}
	}
}

// A container that is not there yet, in a sandbox in which none ran, was not
// added to it; and a reason does not name fields without end.
func TestReasonsOfChanges(t *testing.T) {
	in := settled(newDeclared())
	in.Observed.Containers, in.Memory = nil, Memory{}
	for _, a := range Decide(in).Actions {
		if a.Verb == Start && !strings.HasPrefix(a.Reason, "first start of ") {
			t.Errorf("the reason is %q", a.Reason)
		}
	}
	in = settled(newDeclared(func(s *desired.Sandbox) {
		s.Spec.Containers[0].Env = []desired.EnvVar{{Name: "A"}}
	}))
	redeclare(&in, func(s *desired.Sandbox) {
		for _, name := range strings.Split("ABCDEFGHI", "") {
			s.Spec.Containers[0].Env = append(s.Spec.Containers[0].Env, desired.EnvVar{Name: name})
		}
	})
	const want = `container "app" was changed: env[B], env[C], env[D], env[E], env[F], env[G] and 2 more; it has 30s to end`
	if got := Decide(in).Actions; len(got) != 1 || got[0].Reason != want {
		t.Errorf("planned %+v", got)
	}
}

// What a container runs with and is not on the host any more is told of, and no
// reason to do anything.
func TestReplacedSourcesAreNoReason(t *testing.T) {
	in := settled(newDeclared())
	containerOf(&in, "app").Replaced = []string{"the root directory /r was replaced", "variable A's file /a was removed"}
	want := []Condition{{SourceReplaced, SourceReplaced, "the root directory /r was replaced, variable A's file /a was removed since container " +
		`"app" was started; "sandboxer restart box" takes up what is there now`}}
	if r := Decide(in); len(r.Actions) > 0 || !slices.Equal(r.Conditions, want) {
		t.Errorf("planned %+v, with %+v", r.Actions, r.Conditions)
	}
	end(&in, "app", 0, 0)
	if c := Decide(in).Conditions; len(c) > 0 {
		t.Errorf("of a container that has ended: %+v", c)
	}
}
