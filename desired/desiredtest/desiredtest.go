// Package desiredtest has declarations for the tests of whoever acts on them.
package desiredtest

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"sandboxer/desired"
)

// Sandbox is the base case: two containers, one score.
func Sandbox(changes ...func(*desired.Sandbox)) *desired.Sandbox {
	quantity := func(s string) *resource.Quantity { return new(resource.MustParse(s)) }
	s := &desired.Sandbox{
		Name:   "box",
		Source: "box.yaml",
		Labels: map[string]string{"tier": "front"},
		Spec: desired.Spec{
			State:         desired.Running,
			Runtime:       desired.RuntimeGVisor,
			Hostname:      "box",
			RestartPolicy: desired.Always,
			RestartBackoff: desired.RestartBackoff{
				Initial:    desired.Duration(time.Second),
				Max:        desired.Duration(5 * time.Minute),
				ResetAfter: desired.Duration(10 * time.Minute),
			},
			TerminationGracePeriodSeconds: new(int64(30)),
			Network:                       desired.Network{Mode: desired.NetworkNone},
			Containers: []desired.Container{
				{
					Name: "app", Rootfs: &desired.Rootfs{Path: "/srv/app"}, Command: []string{"/bin/app"},
					RestartPolicy: desired.Always, OOMScoreAdj: new(200), Lifecycle: desired.Lifecycle{StopSignal: "SIGINT"},
					Resources: desired.Resources{Limits: desired.Limits{CPU: quantity("500m"), Memory: quantity("64Mi")}},
				},
				{
					Name: "web", Rootfs: &desired.Rootfs{Path: "/srv/web"}, Command: []string{"/bin/web"},
					RestartPolicy: desired.Always, Lifecycle: desired.Lifecycle{StopSignal: "SIGTERM"},
					Resources: desired.Resources{Limits: desired.Limits{CPU: quantity("1"), Memory: quantity("128Mi")}},
				},
			},
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// State has the sandbox declared in another state.
func State(s desired.State) func(*desired.Sandbox) {
	return func(d *desired.Sandbox) { d.Spec.State = s }
}

// Policy gives every container that restart policy.
func Policy(p desired.RestartPolicy) func(*desired.Sandbox) {
	return func(d *desired.Sandbox) {
		for i := range d.Spec.Containers {
			d.Spec.Containers[i].RestartPolicy = p
		}
	}
}

// Any draws a declaration of up to three containers of which some have
// the base case's names and content.
func Any(t *rapid.T) *desired.Sandbox {
	s := Sandbox()
	s.Spec.State = AnyState().Draw(t, "state")
	s.Spec.RestoreFrom = rapid.SampledFrom([]string{"", "", "", "/srv/image"}).Draw(t, "restore from")
	s.Spec.Hostname = rapid.SampledFrom([]string{"box", "box", "other"}).Draw(t, "hostname")
	s.Spec.TerminationGracePeriodSeconds = new(rapid.SampledFrom([]int64{0, 5, 30}).Draw(t, "grace"))
	s.Spec.Containers = append(s.Spec.Containers, desired.Container{Name: "db", Command: []string{"/bin/db"}})
	s.Spec.RestartPolicy = rapid.SampledFrom([]desired.RestartPolicy{desired.Always, desired.OnFailure, desired.Never}).Draw(t, "sandbox policy")
	s.Spec.InitContainers = []desired.Container{{Name: "make", Bundle: "/make", OOMScoreAdj: new(-700)}, {Name: "fill", Bundle: "/fill"}}[:rapid.IntRange(0, 2).Draw(t, "init containers")]
	s.Spec.DependsOn = []string{"db", "cache"}[:rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "dependencies")]
	n := rapid.IntRange(1, 3).Draw(t, "containers")
	s.Spec.Containers = s.Spec.Containers[:n]
	for i := range s.Spec.Containers {
		c := &s.Spec.Containers[i]
		c.RestartPolicy = rapid.SampledFrom([]desired.RestartPolicy{desired.Always, desired.OnFailure, desired.Never}).Draw(t, "policy")
		c.Args = rapid.SampledFrom([][]string{nil, {"v2"}}).Draw(t, "args")
		c.OOMScoreAdj = rapid.SampledFrom([]*int{nil, new(0), new(300), new(-500)}).Draw(t, "score")
		c.Lifecycle.PreStop = rapid.SampledFrom([]*desired.PreStop{nil, {Sleep: &desired.SleepAction{Seconds: 5}}}).Draw(t, "preStop")
		c.LivenessProbe = rapid.SampledFrom([]*desired.Probe{nil, {TerminationGracePeriodSeconds: new(int64(1))}}).Draw(t, "liveness")
	}
	return s
}

// AnyState draws a state, those oftener that more is done for.
func AnyState() *rapid.Generator[desired.State] {
	return rapid.SampledFrom([]desired.State{desired.Running, desired.Running, desired.Paused, desired.Stopped, desired.Suspended, desired.Suspended, desired.Created})
}

// Needs has the sandbox depend on others.
func Needs(names ...string) func(*desired.Sandbox) {
	return func(s *desired.Sandbox) { s.Spec.DependsOn = names }
}

// Init declares two init containers.
func Init(s *desired.Sandbox) {
	s.Spec.InitContainers = []desired.Container{
		{Name: "make", Bundle: "/make", OOMScoreAdj: new(100)},
		{Name: "fill", Bundle: "/fill"},
	}
}

// Probed has app declared with all three probes.
func Probed(s *desired.Sandbox) {
	p := desired.Probe{TCPSocket: &desired.TCPSocketAction{Port: 80}, PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}
	live, up := p, p
	up.TerminationGracePeriodSeconds = new(int64(7))
	app := &s.Spec.Containers[0]
	app.LivenessProbe, app.ReadinessProbe, app.StartupProbe = &live, &p, &up
}
