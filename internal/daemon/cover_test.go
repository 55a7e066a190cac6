package daemon

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"sandboxer/internal/claims"
)

// A sandbox that takes its time holds up none of the others.
func TestCoverAll(t *testing.T) {
	var sandboxes []sandboxOf
	for i := range 5 * atOnce {
		sandboxes = append(sandboxes, sandboxOf{d: &daemon{c: Config{StateDir: "/s"}}, claim: claims.Claim{StateDir: fmt.Sprint("/s", i)}, name: fmt.Sprint(i)})
	}
	sandboxes[2].claim.StateDir = "/s"
	var others sync.WaitGroup
	others.Add(len(sandboxes) - 1)
	left := coverAll(sandboxes, func(s *sandboxOf) []reach {
		if s.name == "2" {
			others.Wait()
		} else {
			others.Done()
		}
		if s.name == "2" || s.name == "7" {
			return []reach{{why: fmt.Errorf("%s", s.name)}}
		}
		return nil
	})
	var got []string
	for _, r := range left {
		got = append(got, fmt.Sprint(r.why, r.ours))
	}
	if !slices.Equal(got, []string{"2 true", "7 false"}) {
		t.Errorf("left are %q", got)
	}
}
