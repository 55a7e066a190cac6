package daemon

import (
	"context"
	"errors"
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
	left, err := coverAll(t.Context(), sandboxes, func(s *sandboxOf) []reach {
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
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, r := range left {
		got = append(got, fmt.Sprint(r.why, r.ours))
	}
	if !slices.Equal(got, []string{"2 true", "7 false"}) {
		t.Errorf("left are %q", got)
	}
}

// A daemon that is ended while it covers does not take what it kept for reached: the next
// one would not believe its own files.
func TestCoverInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sandboxes := []sandboxOf{{d: &daemon{}, name: "web"}}
	left, err := coverAll(ctx, sandboxes, func(*sandboxOf) []reach {
		cancel()
		return []reach{{why: ctx.Err()}}
	})
	if len(left) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("left are %v, %v", left, err)
	}
	if left, err = coverAll(ctx, sandboxes, func(*sandboxOf) []reach { return nil }); len(left) > 0 || err != nil {
		t.Errorf("where all was done left are %v, %v", left, err)
	}
}
