package logs

import (
	"testing"
	"time"
)

// A pipe is left to fill for as long as it takes to have something in it, and
// never so long that it is full.
func TestRests(t *testing.T) {
	const size = pipeSize
	for _, tc := range []struct {
		name string
		rate int // bytes each millisecond
		want [2]time.Duration
	}{
		{"a line now and then", 1, [2]time.Duration{gather, gather}},
		{"what somebody may read along", 1 << 10, [2]time.Duration{gather, gather}},
		{"much", 8 << 10, [2]time.Duration{15 * time.Millisecond, gatherMuch}},
		{"more than a rest has room for", 1 << 20, [2]time.Duration{0, time.Millisecond}},
	} {
		rest := gather
		for range 100 {
			rest = nextRest(rest, int(rest*time.Duration(tc.rate)/time.Millisecond), size)
		}
		if rest < tc.want[0] || rest > tc.want[1] {
			t.Errorf("%s: it rests %v, want %v", tc.name, rest, tc.want)
		}
		if rest = nextRest(rest, 100, size); rest > gather {
			t.Errorf("%s: it rests %v after a pause", tc.name, rest)
		}
	}
}
