package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// window is how much time one line of stalls tells of.
	window = 20 * time.Millisecond
	// pause lies between operations: without it the probe would take all
	// processors, and its operations would mostly wait for each other.
	pause = 200 * time.Microsecond
)

// longest is the longest of the operations of a window.
type longest struct {
	mu    sync.Mutex
	took  time.Duration
	count int
}

// stalls works on files for ever and writes a line for every window: when it
// ended (ns since 1970), and for operations that do not ask the gofer and for
// requests to it the longest (ns) and the number of those that ended in it.
func stalls(dir, file string) error {
	log, err := os.OpenFile(dir+"/stalls", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	files, err := unasked(dir)
	if err != nil {
		return err
	}
	// Nobody's operation is to wait for a processor of Go's.
	runtime.GOMAXPROCS(4)
	var kinds [2]longest
	go kinds[0].repeat(files)
	go kinds[1].repeat([]operation{asking(file)})
	for range time.Tick(window) {
		line := fmt.Sprint(time.Now().UnixNano())
		for i := range kinds {
			took, count := kinds[i].take()
			line += fmt.Sprint(" ", took.Nanoseconds(), " ", count)
		}
		if _, err := log.WriteString(line + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func (l *longest) repeat(operations []operation) {
	for {
		for _, do := range operations {
			began := time.Now()
			check(do())
			took := time.Since(began)
			l.mu.Lock()
			l.took, l.count = max(l.took, took), l.count+1
			l.mu.Unlock()
		}
		time.Sleep(pause)
	}
}

// take returns what the window had, and begins another.
func (l *longest) take() (time.Duration, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took, count := l.took, l.count
	l.took, l.count = 0, 0
	return took, count
}
