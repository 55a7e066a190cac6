package sentry

import "testing"

// The fast path goes and comes back as it was, however often either is asked for.
func TestFastPath(t *testing.T) {
	defer func(limit uint32, timeout uint64) { fastPathContextLimit, deepSleepTimeout = limit, timeout }(fastPathContextLimit, deepSleepTimeout)
	fastPathContextLimit, deepSleepTimeout = 8, 60000
	var f fastPath
	for i, on := range []bool{true, false, false, true, true, false, true} {
		if _, err := f.set(map[string]any{"on": on}, nil); err != nil {
			t.Fatal(err)
		}
		limit, timeout := uint32(8), uint64(60000)
		if !on {
			limit, timeout = 0, 0
		}
		if fastPathContextLimit != limit || deepSleepTimeout != timeout {
			t.Errorf("%d: on %v: limit %d, timeout %d", i, on, fastPathContextLimit, deepSleepTimeout)
		}
	}
	if _, err := f.set(nil, nil); err == nil {
		t.Error("it was not said whether it is to be on")
	}
}
