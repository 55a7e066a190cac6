package plan

import (
	"hash/fnv"
	"strconv"
	"time"

	"sandboxer/desired"
	"sandboxer/observed"
)

// The manifest page's back-off, for what a declaration leaves out.
const (
	defaultInitial    = time.Second
	defaultMax        = 5 * time.Minute
	defaultResetAfter = 10 * time.Minute
)

// restartDelay is the wait before the restart that follows the n-th end in a
// row: none after the first, then b.Initial doubling to b.Max, ±10 %.
func restartDelay(b desired.RestartBackoff, sandbox, container string, n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return jitter(double(b, n-2), sandbox, container, n)
}

// createDelay is the wait after the n-th creation in a row that failed: none
// of them is free, because a failed creation is dear.
func createDelay(b desired.RestartBackoff, sandbox string, n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return jitter(double(b, n-1), sandbox, "", n)
}

// double is b.Initial doubled n times, at most b.Max.
func double(b desired.RestartBackoff, n int) time.Duration {
	d, limit := or(b.Initial, defaultInitial), or(b.Max, defaultMax)
	for range n {
		if d >= limit {
			break
		}
		d *= 2
	}
	return min(d, limit)
}

// jitter moves d by up to a tenth, the same way each time it is asked for the
// same thing: a plan has no randomness, and what failed together must not come
// back together.
func jitter(d time.Duration, sandbox, container string, n int) time.Duration {
	h := fnv.New64a()
	for _, s := range []string{sandbox, container, strconv.Itoa(n)} {
		h.Write([]byte(s)) // never fails
		h.Write([]byte{0})
	}
	const steps = 2001 // −1000 … +1000 ten-thousandths
	shift := int64(mix(h.Sum64())%steps) - steps/2
	return d + time.Duration(int64(d)/10_000*shift)
}

// mix spreads what differs in FNV's last input byte over all bits.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

func or(d desired.Duration, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d.D()
}

// ranLongEnough reports whether a run was so long that what failed before it
// is forgiven.
func ranLongEnough(b desired.RestartBackoff, from, to time.Time) bool {
	return !from.IsZero() && to.Sub(from) >= or(b.ResetAfter, defaultResetAfter)
}

// Restarts reports whether policy wants a container to run again after exit.
// An end that nobody saw is no success, nor is that of a container that was
// stopped for a probe's sake, so OnFailure starts again; Never does not: what it
// guards must not run twice.
func Restarts(policy desired.RestartPolicy, exit *observed.Exit) bool {
	switch policy {
	case desired.Never:
		return false
	case desired.OnFailure:
		return !exit.Known || exit.Code != 0 || exit.Reason == observed.ReasonUnhealthy
	default:
		return true
	}
}

// A gofer that keeps dying is replaced at longer and longer intervals, while
// its container runs on.
const (
	goferInitial = 100 * time.Millisecond
	goferMax     = 5 * time.Second
)

// goferDelay is how long after the start of the last gofer the next one comes,
// where failures gofers in a row have died soon.
func goferDelay(failures int) time.Duration {
	d := goferInitial
	for ; failures > 1 && d < goferMax; failures-- {
		d *= 2
	}
	return min(d, goferMax)
}
