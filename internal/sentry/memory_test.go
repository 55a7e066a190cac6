package sentry

import "testing"

// An instance of a container shares its number with no other, none of its
// siblings', nor with gVisor's own.
func TestNumber(t *testing.T) {
	seen := map[uint32]string{}
	for _, id := range []string{"web", "web.app.1", "web.app.2", "web.app.23", "web.ap.1", "web.1.1", "web.app-1.1", "other.app.1", "x", "x.x.x"} {
		n := number(id)
		if other, ok := seen[n]; ok {
			t.Errorf("%s and %s have the same number", id, other)
		}
		if seen[n] = id; n < 1<<31 {
			t.Errorf("%s has gVisor's number %d", id, n)
		}
	}
}
