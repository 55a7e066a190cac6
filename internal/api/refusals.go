package api

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// Of refused requests so many are logged within that time, and how many more
// there were: who may do nothing must not be able to fill the log.
const (
	refusalsMost = 20
	refusalsTime = 10 * time.Second
)

// refusals logs refused requests.
type refusals struct {
	log logr.Logger

	mu     sync.Mutex
	logged int // since the timer was set; 0: it is not set
	more   int
}

// note logs one, with what is known of it.
func (r *refusals) note(keysAndValues ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logged == 0 {
		time.AfterFunc(refusalsTime, r.over)
	}
	if r.logged == refusalsMost {
		r.more++
		return
	}
	r.logged++
	r.log.Info("a request was refused", keysAndValues...)
}

// over tells of those that were not logged.
func (r *refusals) over() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more > 0 {
		r.log.Info("more requests were refused", "requests", r.more, "within", refusalsTime.String())
	}
	r.logged, r.more = 0, 0
}

// brief is as much of a path as tells which it is.
func brief(path string) string {
	const most = 200
	if len(path) <= most {
		return path
	}
	return path[:most] + "…"
}
