package actuator

import (
	"testing"

	"sandboxer/desired"
	"sandboxer/gofer"
	"sandboxer/reconcile/plan"
)

// A daemon that dies when a volume's gofer is on record, and the sandbox was not told
// of it, leaves nothing that keeps a container from its volume.
func TestDiesBeforeShare(t *testing.T) {
	r := newRig(t)
	host := t.TempDir()
	c := app(t, "print", "x")
	c.VolumeMounts = []desired.VolumeMount{{Name: "v", MountPath: "/v"}}
	s := sandbox("share", c)
	s.Spec.Volumes = []desired.Volume{{Name: "v", HostPath: &desired.HostPath{Path: host}}}
	d := plan.Declare(s)
	r.must(plan.Create, d, "")
	w, err := r.load(plan.Action{Verb: plan.Start, Sandbox: "share", Container: "app", Sentry: r.record("share").Sentry})
	check(t, err)
	m, err := r.serveVolume(r.paths(), s, &s.Spec.Volumes[0], false)
	check(t, err)
	o, err := objectOf(m)
	check(t, err)
	g, err := gofer.Open(1)
	check(t, err)
	left, err := r.startServer(t.Context(), &w, g, []share{{"v-left", "v", o}}, []served{m})
	check(t, err)
	closeServed([]served{m})
	g.Close()
	r.restart()
	check(t, r.Adopt())

	r.must(plan.Start, d, "app")
	ended := r.awaitEnded()
	if ended.Exit == nil || ended.Exit.Code != 0 {
		t.Errorf("it ended as %+v", ended.Exit)
	}
	loaded, err := r.c.Records.Load("share")
	check(t, err)
	if len(loaded.Servers) != 1 || loaded.Servers[0].ID == left.ID {
		t.Errorf("the volume is served by %+v", loaded.Servers)
	}
}
