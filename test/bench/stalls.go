package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Targets of the rows about gofers, ms.
const (
	filesTarget    = 1.0
	requestsTarget = 15.0
)

// A line of the probe's log tells of so much time.
const stallWindow = 20 * time.Millisecond

// stall is what one kind of operation took at most: while a gofer was replaced,
// and in as much time in which nothing happened.
type stall [2][]float64

// stalls measures rows 11 and 12 with one sandbox, whose gofer is replaced in
// two ways in turns.
func (b *bench) stalls(ctx context.Context) error {
	var files, requests [2]stall
	err := b.withDaemon(ctx, func(o *ours) error {
		name := b.name("stall")
		g, stop := o.follow(ctx, name)
		defer stop()
		if _, err := o.work(ctx, name, "stalls"); err != nil {
			return err
		}
		ways := [2]func(pid int) error{
			func(pid int) error { return unix.Kill(pid, unix.SIGKILL) },
			func(int) error {
				_, err := o.client.Restart(ctx, name, "", true)
				return err
			},
		}
		for i := range 2*b.o.n + 1 {
			progress("gofer replaced: %d of %d", i, 2*b.o.n)
			for way, replace := range ways {
				during, calm, err := o.replacement(ctx, name, g, replace)
				if err != nil {
					return err
				}
				for j, w := range []window{during, calm} {
					ms(&files[way][j], w.files, i > 0)
					ms(&requests[way][j], w.requests, i > 0)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for way, what := range []string{"gofer killed", "`restart --gofer`"} {
		if b.o.wants(11) {
			b.report.exceed(11, "longest wait of file work that does not ask the gofer (open, read, write, stat in a directory), "+what+
				"; beside it as much time with nothing going on", "ms", files[way], filesTarget)
		}
	}
	for way, what := range []string{"gofer killed", "`restart --gofer`"} {
		if b.o.wants(12) {
			b.report.limit(12, "longest wait of a request to the gofer (a volume of one file opened with truncation), "+what+
				"; beside it as much time with nothing going on", "ms", requests[way][0], requests[way][1], requestsTarget)
		}
	}
	return nil
}

// replacement has a gofer replaced and returns the longest waits from then
// until the next one serves, and those of as much time afterwards.
func (o *ours) replacement(ctx context.Context, name string, g *gofers, replace func(pid int) error) (during, calm window, err error) {
	before, err := g.await(ctx, 0)
	if err != nil {
		return during, calm, err
	}
	// One that has lived for so long is replaced at once.
	if err := sleep(ctx, restTime); err != nil {
		return during, calm, err
	}
	began := time.Now()
	if err := replace(*before.GoferPID); err != nil {
		return during, calm, err
	}
	if _, err := g.await(ctx, before.GoferRestarts+1); err != nil {
		return during, calm, fmt.Errorf("%w; the daemon said: %s", err, tail(o.log.Name()))
	}
	log := filepath.Join(o.b.volume(name), "stalls")
	// Two more, for what is still on its way.
	busy, err := windows(ctx, log, began, int(time.Since(began)/stallWindow)+2)
	if err != nil {
		return during, calm, err
	}
	if err := sleep(ctx, restTime); err != nil {
		return during, calm, err
	}
	quiet, err := windows(ctx, log, time.Now(), len(busy))
	if err != nil {
		return during, calm, err
	}
	return worst(busy), worst(quiet), nil
}

// window is a line of the probe's log of stalls.
type window struct {
	ended           time.Time
	files, requests time.Duration // the longest
	asked           int64         // how many requests ended
}

// windows returns the first n that ended after a moment, once they are there,
// and more until one tells that requests are being answered.
func windows(ctx context.Context, log string, after time.Time, n int) ([]window, error) {
	var all []window
	err := lines(ctx, log, func(v []int64) (done bool, err error) {
		if len(v) != 5 {
			return false, fmt.Errorf("%d numbers, not 5", len(v))
		}
		w := window{ended: time.Unix(0, v[0]), files: time.Duration(v[1]), requests: time.Duration(v[3]), asked: v[4]}
		if !w.ended.After(after) {
			return false, nil
		}
		all = append(all, w)
		return len(all) >= n && w.asked > 0, nil
	})
	return all, err
}

// worst takes the longest of every kind.
func worst(all []window) (w window) {
	for _, x := range all {
		w.files, w.requests = max(w.files, x.files), max(w.requests, x.requests)
	}
	return w
}
