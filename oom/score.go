package oom

// Declared is what one container of a sandbox says about its OOM score.
type Declared struct {
	// Score is oomScoreAdj, −1000..1000; nil where nothing is declared, which
	// is not the same as a declared 0.
	Score *int
	// Infra marks the sandbox's own root container: nobody declared it.
	Infra bool
	// FinishedInit marks an init container that has ended well and will not
	// run again: it would pin the score for ever (gvisor #512).
	FinishedInit bool
}

// Score is the score of a sandbox's sentry and the processes below it: the
// lowest that a container declares, so that no container is killed earlier
// than it asked for. set is false when none declares one; the caller then
// goes back to the score that the sentry had to begin with.
//
// It looks at the whole set at once and remembers nothing, so containers that
// come and go at the same time can't leave a stale score (gvisor #238).
func Score(declared []Declared) (score int, set bool) {
	for _, d := range declared {
		if d.Score == nil || d.Infra || d.FinishedInit {
			continue
		}
		if !set || *d.Score < score {
			score, set = *d.Score, true
		}
	}
	return score, set
}
