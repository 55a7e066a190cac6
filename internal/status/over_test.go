package status

import (
	"testing"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// What is over has ended, and is not to run again.
func TestOver(t *testing.T) {
	for _, c := range []struct {
		name    string
		declare func(*desired.Sandbox)
		change  func(*Input)
		want    bool
	}{
		{"it runs", nil, func(*Input) {}, false},
		{"it is paused", func(s *desired.Sandbox) { s.Spec.State = desired.Paused },
			func(in *Input) { in.Pass.Observed.Containers[0].State = observed.Paused }, false},
		{"it is restarted", nil, func(in *Input) { ends(in, 0, exit(1, "Error"), time.Second) }, false},
		{"it has ended for good", never, func(in *Input) { ends(in, 0, exit(1, "Error"), 0) }, true},
		{"it has done what it should", func(s *desired.Sandbox) { s.Spec.Containers[0].RestartPolicy = desired.OnFailure },
			func(in *Input) { ends(in, 0, exit(0, "Completed"), 0) }, true},
		{"it has ended for good, and something else is declared now", never, func(in *Input) {
			ends(in, 0, exit(1, "Error"), 0)
			cm := in.Pass.Memory.Containers["app"]
			cm.Hash = "old"
			in.Pass.Memory.Containers["app"] = cm
		}, false},
		{"it is stopping", func(s *desired.Sandbox) { s.Spec.State = desired.Stopped }, func(*Input) {}, false},
		{"it is stopped", func(s *desired.Sandbox) { s.Spec.State = desired.Stopped },
			func(in *Input) { ends(in, 0, exit(0, "Completed"), 0) }, true},
		{"it was not started yet", nil, func(in *Input) { bare(in) }, false},
		{"it is declared no more", func(s *desired.Sandbox) { s.Spec.Containers = s.Spec.Containers[1:] }, func(*Input) {}, true},
		{"nobody can see it", never, func(in *Input) { ends(in, 0, exit(1, "Error"), 0); in.Pass.Blind = true }, false},
		{"the sandbox is declared no more", never, func(in *Input) { ends(in, 0, exit(1, "Error"), 0); in.Pass.Declared = nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base(c.declare)
			c.change(&in)
			if got := Over(in.Pass, "app"); got != c.want {
				t.Errorf("it is %v, want %v", got, c.want)
			}
		})
	}
}

func never(s *desired.Sandbox) { s.Spec.Containers[0].RestartPolicy = desired.Never }
