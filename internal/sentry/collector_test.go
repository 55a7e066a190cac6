package sentry

import (
	"math"
	"runtime/debug"
	"testing"
	"time"
)

// kept is where garbage is until it is garbage.
var kept []byte

// A collector that rests wakes when there is much garbage, and all is as it was.
func TestCollectorRests(t *testing.T) {
	usual := debug.SetGCPercent(150)
	defer debug.SetGCPercent(usual)
	defer debug.SetMemoryLimit(math.MaxInt64)
	limit := func() int64 { return debug.SetMemoryLimit(-1) }
	new(collector).rest()
	if limit() == math.MaxInt64 {
		t.Fatal("nothing would ever be collected")
	}
	if got := debug.SetGCPercent(-1); got != -1 {
		t.Fatalf("the percentage is %d while it rests", got)
	}
	for deadline := time.Now().Add(time.Minute); limit() != math.MaxInt64; {
		if time.Now().After(deadline) {
			t.Fatal("it rests although there is much garbage")
		}
		kept = make([]byte, 1<<20)
	}
	if got := debug.SetGCPercent(150); got != 150 {
		t.Errorf("the percentage is %d after the rest, and was 150", got)
	}
}

// It is calm after two collections in a row that were far from the one before.
func TestCalm(t *testing.T) {
	const minute = time.Minute
	for _, tc := range []struct {
		at   []time.Duration
		want bool
	}{
		{[]time.Duration{0}, false},
		{[]time.Duration{0, 2 * minute}, false},
		{[]time.Duration{0, 2 * minute, 4 * minute}, true},
		{[]time.Duration{0, 2 * minute, 3 * minute}, false},
		{[]time.Duration{0, 2 * minute, 3 * minute, 5 * minute}, false},
		{[]time.Duration{0, 1 * minute, 3 * minute, 5 * minute}, true},
	} {
		var c calm
		got, start := false, time.Now()
		for _, at := range tc.at {
			got = c.after(start.Add(at))
		}
		if got != tc.want {
			t.Errorf("collections at %v: calm %v, want %v", tc.at, got, tc.want)
		}
	}
}
