package main

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// However many there are, all have their turn, and no more than may at once: those
// that don't answer hold up no more than they must.
func TestSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			sideBySide(250, 100, func(i int) {
				asked.Add(1)
				if i != 7 {
					<-answer
				}
			})
		}()
		synctest.Wait()
		if n := asked.Load(); n != 101 {
			t.Errorf("%d are asked at once, of which one has answered", n)
		}
		close(answer)
		<-done
		if n := asked.Load(); n != 250 {
			t.Errorf("%d have had their turn", n)
		}
	})
}
