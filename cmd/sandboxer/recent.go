//go:build !client

package main

import (
	"bytes"
	"sync"
)

// recentBytes is how much of the daemon's log is kept in memory, for a bug report.
const recentBytes = 64 << 10

// recent keeps the end of what is written to it, from the beginning of a line on.
type recent struct {
	mu   sync.Mutex
	kept []byte
	cut  bool // something is kept no more
}

// Write takes one line and never fails.
func (r *recent) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept = append(r.kept, line...); len(r.kept) > 2*recentBytes {
		r.kept, r.cut = append([]byte(nil), r.kept[len(r.kept)-recentBytes:]...), true
	}
	return len(line), nil
}

// bytes are whole lines, oldest first.
func (r *recent) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, cut := r.kept, r.cut
	if n := len(kept) - recentBytes; n > 0 {
		kept, cut = kept[n:], true
	}
	if cut {
		_, kept, _ = bytes.Cut(kept, []byte("\n"))
	}
	return bytes.Clone(kept)
}
