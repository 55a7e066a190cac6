package daemon

import "testing"

// What the processors have done only grows, and grows while something is done.
func TestProcessors(t *testing.T) {
	var p processors
	first, err := p.used()
	if err != nil {
		t.Fatal(err)
	}
	for last := first; last == first; {
		now, err := p.used()
		if err != nil {
			t.Fatal(err)
		}
		if now < last {
			t.Fatalf("%v after %v", now, last)
		}
		last = now
	}
}
