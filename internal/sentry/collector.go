package sentry

import (
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// restRoom is how much more memory a sentry may use until its garbage is
	// collected while the collector rests. It begins resting: one with a container
	// or two does not get there.
	restRoom = 12 << 20
	// restAfter is how far two collections in a row have to be apart for the
	// collector to rest. Go has one every two minutes whether or not there is
	// garbage.
	restAfter = 100 * time.Second
	// restCalm is how many such there must be: what was used comes back to the host
	// after the second.
	restCalm = 2
)

// collector has Go's garbage collector rest while there is hardly any garbage. At
// its start a sentry would be collected three times, each time to find little;
// and one that is idle every two minutes, for ever. While it rests, the limit that
// Go knows for all of its memory is what has it collect. Then all is as ever until
// the sentry is calm again.
type collector struct {
	usual int // Go's own percentage, while it rests
	rests bool
	calm  calm
}

// rest begins a rest.
func (c *collector) rest() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + restRoom)
	c.usual, c.rests = debug.SetGCPercent(-1), true
	c.await()
}

// await has collected called after the next collection.
func (c *collector) await() {
	runtime.AddCleanup(new([16]*byte), (*collector).collected, c)
}

// collected is called once after each collection.
func (c *collector) collected() {
	if c.rests {
		c.rests, c.calm = false, calm{}
		debug.SetGCPercent(c.usual)
		debug.SetMemoryLimit(math.MaxInt64)
	}
	if c.calm.after(time.Now()) {
		c.rest()
		return
	}
	c.await()
}

// calm tells from the times of collections whether there is hardly any garbage.
type calm struct {
	last  time.Time
	apart int // collections in a row that were
}

// after says whether it is calm after another collection.
func (c *calm) after(now time.Time) bool {
	if c.apart++; c.last.IsZero() || now.Sub(c.last) < restAfter {
		c.apart = 0
	}
	c.last = now
	return c.apart >= restCalm
}
