package actuator

import (
	"errors"
	"strings"
	"testing"

	"sandboxer/observed"
	"sandboxer/oom"
	"sandboxer/reconcile/plan"
)

// A container's score is its gofer's, the lowest of all the sentry's; whoever
// has none declared gets the one back that the sandbox began with.
func TestScores(t *testing.T) {
	r := newRig(t)
	a, b := app(t, "sleep"), app(t, "sleep")
	a.OOMScoreAdj, b.OOMScoreAdj, b.Name = new(300), new(200), "other"
	s := sandbox("scored", a, b)
	r.run(plan.Declare(s))
	rec := r.record("scored")
	gofers := []observed.Process{r.container("scored", "app").Gofer, r.container("scored", "app").Keeper,
		r.container("scored", "other").Gofer, r.container("scored", "other").Keeper}
	want := func(sentry int, of ...int) {
		t.Helper()
		members, err := r.members(rec.Cgroup)
		check(t, err)
		if len(members) < 3 {
			t.Errorf("%d processes in the cgroup", len(members))
		}
		for _, p := range members {
			expect := sentry
			for i, g := range gofers {
				if p == g {
					expect = of[i]
				}
			}
			if got, err := oom.Read(p); !errors.Is(err, observed.ErrGone) && (err != nil || got != expect) {
				t.Errorf("process %d (sentry %d, gofers and keepers %v) has %d, %v, want %d", p.PID, rec.Sentry.PID, gofers, got, err, expect)
			}
		}
	}
	r.must(plan.SetOOMScore, plan.Declare(s), "")
	want(200, 300, 300, 200, 200)
	s.Spec.Containers[0].OOMScoreAdj, s.Spec.Containers[1].OOMScoreAdj = nil, new(500)
	r.must(plan.SetOOMScore, plan.Declare(s), "")
	want(500, rec.OriginalOOMScoreAdj, rec.OriginalOOMScoreAdj, 500, 500)
	s.Spec.Containers[1].OOMScoreAdj = nil
	r.must(plan.SetOOMScore, plan.Declare(s), "")
	o := rec.OriginalOOMScoreAdj
	want(o, o, o, o, o)

	// A score that the kernel denies is told from every other failure, and the
	// nearest one is in force. Whoever has the capability is not denied.
	s.Spec.Containers[0].OOMScoreAdj = new(-900)
	err := r.do(plan.Action{Verb: plan.SetOOMScore, Sandbox: "scored"}, plan.Declare(s))
	got, readErr := oom.Read(rec.Sentry)
	check(t, readErr)
	switch {
	case err == nil && got == -900:
	case errors.Is(err, plan.ErrScoreDenied) && strings.Contains(err.Error(), "CAP_SYS_RESOURCE") && got > -900 && got <= rec.OriginalOOMScoreAdj:
	default:
		t.Errorf("score -900: %v, in force is %d", err, got)
	}
}

// Limits come into force in place, with headroom for the sentry on top.
func TestLimits(t *testing.T) {
	r := newRig(t)
	s := sandbox("limited", app(t, "sleep"))
	r.run(plan.Declare(s))
	sentry := r.record("limited").Sentry
	s.Spec.Containers[0].Resources.Limits.Memory = quantity("64Mi")
	d := plan.Declare(s)
	if inside, outside := limits(s); inside.MemoryBytes != 64<<20 || outside.MemoryBytes != 64<<20+sentryHeadroom+goferHeadroom {
		t.Errorf("limits %+v, %+v", inside, outside)
	}
	r.must(plan.SetLimits, d, "")
	if rec := r.record("limited"); rec.LimitsHash != d.LimitsHash || rec.Sentry != sentry {
		t.Errorf("recorded %+v", rec)
	}
	s.Spec.Containers[0].Resources.Limits.Memory = quantity("1")
	if got, _ := limits(s); got.MemoryBytes != 1 {
		t.Errorf("limits %+v", got)
	}
}
