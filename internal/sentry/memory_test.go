package sentry

import "testing"

// A container keeps its number over its instances, and shares it with none of
// its siblings nor with gVisor's own.
func TestNumber(t *testing.T) {
	if number("web.app.1") != number("web.app.23") {
		t.Error("an instance has a number of its own")
	}
	seen := map[uint32]string{}
	for _, id := range []string{"web", "web.app.1", "web.ap.1", "web.1.1", "web.app-1.1", "other.app.1", "x", "x.x.x"} {
		n := number(id)
		if other, ok := seen[n]; ok {
			t.Errorf("%s and %s have the same number", id, other)
		}
		if seen[n] = id; n < 1<<31 {
			t.Errorf("%s has gVisor's number %d", id, n)
		}
	}
}
