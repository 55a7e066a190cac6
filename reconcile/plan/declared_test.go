package plan

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"sandboxer/desired"
	"sandboxer/desired/desiredtest"
	"sandboxer/observed"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(s *desired.Sandbox)
		want   string
	}{
		{"sums", func(*desired.Sandbox) {}, "cpu=1500m,memory=201326592"},
		{"one has no CPU limit", func(s *desired.Sandbox) { s.Spec.Containers[1].Resources.Limits.CPU = nil }, "cpu=none,memory=201326592"},
		{"none has a limit", func(s *desired.Sandbox) {
			for i := range s.Spec.Containers {
				s.Spec.Containers[i].Resources = desired.Resources{}
			}
		}, "cpu=none,memory=none"},
		{"an init container's, where it is more", func(s *desired.Sandbox) {
			desiredtest.Init(s)
			for i, memory := range []string{"300Mi", "10Mi"} {
				s.Spec.InitContainers[i].Resources.Limits = desired.Limits{CPU: new(resource.MustParse("1")), Memory: new(resource.MustParse(memory))}
			}
		}, "cpu=1500m,memory=314572800"},
		{"an init container has no memory limit", func(s *desired.Sandbox) {
			desiredtest.Init(s)
			for i := range s.Spec.InitContainers {
				s.Spec.InitContainers[i].Resources.Limits.CPU = new(resource.MustParse("2"))
			}
		}, "cpu=2000m,memory=none"},
		{"notation does not matter", func(s *desired.Sandbox) {
			s.Spec.Containers[0].Resources.Limits.CPU = new(resource.MustParse("0.5"))
		}, "cpu=1500m,memory=201326592"},
		{"more than an int64 holds", func(s *desired.Sandbox) {
			s.Spec.Containers[0].Resources.Limits.Memory = new(resource.MustParse("1Ei"))
			for len(s.Spec.Containers) < 16 {
				s.Spec.Containers = append(s.Spec.Containers, s.Spec.Containers[0])
			}
			s.Spec.Containers[1].Resources.Limits = s.Spec.Containers[0].Resources.Limits
		}, "cpu=8000m,memory=1152921504606846976"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newDeclared(tt.change).LimitsHash; got != tt.want {
				t.Errorf("got %q, expected %q", got, tt.want)
			}
		})
	}
	s := desiredtest.Sandbox()
	before := s.Spec.Containers[0].Resources.Limits.Memory.Value()
	SumLimits(s)
	if s.Spec.Containers[0].Resources.Limits.Memory.Value() != before {
		t.Error("summing changes what is summed")
	}
}

func TestDeclareLabels(t *testing.T) {
	plain, labelled := newDeclared(func(s *desired.Sandbox) { s.Labels = nil }), newDeclared()
	if plain.SpecHash == labelled.SpecHash || plain.WorkHash != labelled.WorkHash {
		t.Errorf("labels must change the spec's hash (%s, %s) and not the work's (%s, %s)",
			plain.SpecHash, labelled.SpecHash, plain.WorkHash, labelled.WorkHash)
	}
	if len(labelled.Labels) == 0 {
		t.Error("the labels are lost")
	}
}

func TestEnded(t *testing.T) {
	in := settled(newDeclared())
	if all, _ := Ended(in.Desired, in.Memory); all {
		t.Error("what runs has ended")
	}
	finish(&in)
	if all, failed := Ended(in.Desired, in.Memory); !all || failed {
		t.Errorf("all %t, failed %t, expected success", all, failed)
	}
	recall(&in.Memory, "web", func(c *ContainerMemory) { c.Exit = &observed.Exit{Reason: observed.ReasonSandboxLost} })
	if all, failed := Ended(in.Desired, in.Memory); !all || !failed {
		t.Errorf("all %t, failed %t, expected failure", all, failed)
	}
	redeclare(&in) // Always
	if all, _ := Ended(in.Desired, in.Memory); all {
		t.Error("what is to run again has ended")
	}
}

func TestRestartDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := desiredtest.Sandbox().Spec.RestartBackoff
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		name := rapid.String().Draw(t, "name")
		d := restartDelay(b, name, "app", n)
		want := time.Duration(0)
		if n >= 2 {
			want = min(time.Second<<min(n-2, 20), 5*time.Minute)
		}
		if d < want-want/10 || d > want+want/10 {
			t.Fatalf("delay %s, expected %s ±10 %%", d, want)
		}
		if d != restartDelay(b, name, "app", n) {
			t.Fatal("asked again it is another")
		}
	})
	spread := map[time.Duration]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		spread[restartDelay(desired.RestartBackoff{}, name, "app", 5)] = true
	}
	if len(spread) < 6 {
		t.Errorf("what fails together comes back together: %v", spread)
	}
}
