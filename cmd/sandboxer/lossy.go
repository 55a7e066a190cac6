//go:build !client

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// lossyLines is how many lines wait for a reader that is slow.
	lossyLines = 1024
	// lossyPatience is how long the last lines wait for one at the end.
	lossyPatience = time.Second
)

// lossy hands on what it is written, in order, without its writers ever waiting
// for the reader: what a reader that is stuck has no room for is left out, and
// counted where it is missing.
type lossy struct {
	lines chan []byte // nil: the end
	done  chan struct{}

	mu   sync.Mutex
	lost int
}

func newLossy(w io.Writer) *lossy {
	l := &lossy{lines: make(chan []byte, lossyLines), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for line := <-l.lines; line != nil; line = <-l.lines {
			_, _ = w.Write(line) // a reader that is gone is nobody to tell
		}
	}()
	return l
}

// Write takes one line and never fails.
func (l *lossy) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	if l.lost > 0 {
		out = fmt.Appendf(out, "sandboxer: %d lines of the log are left out here, as nobody read them\n", l.lost)
	}
	select {
	case l.lines <- append(out, line...):
		l.lost = 0
	default:
		l.lost++
	}
	return len(line), nil
}

// finish waits a moment until all has been written.
func (l *lossy) finish() {
	late := time.After(lossyPatience)
	select {
	case l.lines <- nil:
	case <-late:
		return
	}
	select {
	case <-l.done:
	case <-late:
	}
}
