package sentry

import (
	"errors"
	"sync"
	"sync/atomic"
	_ "unsafe" // for linkname

	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/seccheck"
)

// FastPathSink names what switches systrap's fast path off and on again: a sink,
// in gVisor's words, of a trace session that traces nothing. Its configuration
// holds "on".
const FastPathSink = "sandboxer-fast-path"

// gVisor switches the fast path by its own measurements, and can be told at its
// start alone never to. These are what it looks at each time: how many contexts
// may run while the application's side spins, and for how long, in the
// processor's ticks, the kernel's side does. A gVisor without them does not link.
//
//go:linkname fastPathContextLimit gvisor.dev/gvisor/pkg/sentry/platform/systrap.fastPathContextLimit
var fastPathContextLimit uint32

//go:linkname deepSleepTimeout gvisor.dev/gvisor/pkg/sentry/platform/systrap.deepSleepTimeout
var deepSleepTimeout uint64

// fastPath switches it. gVisor has set both numbers before an application runs.
type fastPath struct {
	mu      sync.Mutex
	off     bool
	limit   uint32 // gVisor's own, while off
	timeout uint64
}

// set is the sink's constructor.
func (f *fastPath) set(config map[string]any, from *fd.FD) (seccheck.Sink, error) {
	if from != nil {
		from.Close()
	}
	on, ok := config["on"].(bool)
	if !ok {
		return nil, errors.New("it is not said whether it is to be on")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off != on {
		return sink{}, nil
	}
	if f.off = !on; f.off {
		f.limit, f.timeout = atomic.LoadUint32(&fastPathContextLimit), atomic.LoadUint64(&deepSleepTimeout)
		atomic.StoreUint32(&fastPathContextLimit, 0)
		atomic.StoreUint64(&deepSleepTimeout, 0)
		return sink{}, nil
	}
	atomic.StoreUint32(&fastPathContextLimit, f.limit)
	atomic.StoreUint64(&deepSleepTimeout, f.timeout)
	return sink{}, nil
}
