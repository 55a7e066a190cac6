package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// holdingTarget leaves room for nothing but noise.
	holdingTarget = 1.05
	// relayTarget is what one word of mapped journal for each request may cost.
	relayTarget = 1.15
	// roundsPerSample of the probe make one sample, their 10th percentile: what
	// else the machine does is none of the costs.
	roundsPerSample = 300
)

// holding measures row 13: file work in a container whose gofer's sockets are
// held by the daemon and a keeper, and in the same while both are dead; and
// beside it bare runsc.
func (b *bench) holding(ctx context.Context) error {
	// Files and requests, each on two sides.
	var held, bare [2][2][]float64
	var cpu []float64
	note := func(samples *[2][2][]float64, side int, r round, counts bool) {
		if counts {
			samples[0][side] = append(samples[0][side], us(r.file))
			samples[1][side] = append(samples[1][side], us(r.request))
		}
	}
	err := b.withDaemon(ctx, func(o *ours) error {
		name := b.name("held")
		if _, err := o.work(ctx, name, "rounds"); err != nil {
			return err
		}
		return b.pairs(ctx, "held and alone", b.o.n, [2]func(bool) error{
			func(counts bool) error {
				r, percent, err := o.held(ctx, name)
				note(&held, 0, r, counts)
				if counts {
					cpu = append(cpu, percent)
				}
				return err
			},
			func(counts bool) error {
				r, err := o.alone(ctx, name)
				note(&held, 1, r, counts)
				return err
			},
		})
	})
	if err != nil {
		return err
	}
	err = b.withDaemon(ctx, func(o *ours) error {
		var sides [2]func(bool) error
		for i, side := range []worker{o, b.bare} {
			sides[i] = func(counts bool) error {
				name := b.name("work")
				if _, err := side.work(ctx, name, "rounds"); err != nil {
					return err
				}
				r, err := b.rounds(ctx, name)
				if err != nil {
					return err
				}
				note(&bare, i, r, counts)
				_, err = side.down(ctx, name)
				return err
			}
		}
		return b.pairs(ctx, "file work beside bare runsc", b.o.n, sides)
	})
	if err != nil {
		return err
	}
	for i, what := range []string{"file work that does not ask the gofer", "a request to the gofer"} {
		b.report.compareIn("µs", 13, what+", held by daemon and keeper; beside it with both dead", held[i], holdingTarget)
	}
	b.report.limit(13, "CPU of daemon and keeper while a container does nothing but that", "% of a core", cpu, nil, daemonCPUTarget)
	b.report.within("µs", 13, "file work that does not ask the gofer, against bare runsc", bare[0], speedTarget)
	b.report.compareIn("µs", 13, "a request to the gofer, whose relay this shows, against bare runsc", bare[1], relayTarget)
	return nil
}

// worker is a side whose container can be told what to do.
type worker interface {
	upDown
	work(ctx context.Context, name, command string) (time.Duration, error)
}

func us(d time.Duration) float64 { return float64(d) / 1e3 }

// holders returns a sandbox's keepers once there are any.
func (o *ours) holders(ctx context.Context, name string) ([]int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, errors.New("no keeper came"))
	defer cancel()
	for {
		pids, err := o.keepers(name)
		if len(pids) > 0 || err != nil {
			return pids, err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%w; the daemon said: %s", err, tail(o.log.Name()))
		}
	}
}

// held measures while daemon and keeper hold what is a sandbox's gofer's, and
// what that takes of them, in % of a core.
func (o *ours) held(ctx context.Context, name string) (r round, percent float64, err error) {
	pids, err := o.holders(ctx, name)
	if err != nil {
		return r, 0, err
	}
	// What the daemon does when it has just been started is over by then.
	if err := sleep(ctx, o.b.o.settled); err != nil {
		return r, 0, err
	}
	began := time.Now()
	used := func() (sum time.Duration, err error) {
		for _, pid := range append(pids, o.cmd.Process.Pid) {
			d, err := processCPU(pid)
			if err != nil {
				return 0, err
			}
			sum += d
		}
		return sum, nil
	}
	before, err := used()
	if err != nil {
		return r, 0, err
	}
	if r, err = o.b.rounds(ctx, name); err != nil {
		return r, 0, err
	}
	after, err := used()
	return r, 100 * float64(after-before) / float64(time.Since(began)), err
}

// alone measures while a sandbox has neither daemon nor keeper.
func (o *ours) alone(ctx context.Context, name string) (r round, err error) {
	pids, err := o.holders(ctx, name)
	if err != nil {
		return r, err
	}
	if err := o.crash(); err != nil {
		return r, err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return r, err
		}
	}
	r, err = o.b.rounds(ctx, name)
	return r, errors.Join(err, o.launch(ctx))
}

// round is what one operation took.
type round struct{ file, request time.Duration }

// rounds is the 10th percentile of the probe's next rounds, of each figure by
// itself. What began while something else was going on does not count.
func (b *bench) rounds(ctx context.Context, name string) (r round, err error) {
	if err := sleep(ctx, restTime); err != nil {
		return r, err
	}
	after := time.Now().UnixNano()
	var files, requests []int64
	err = lines(ctx, filepath.Join(b.volume(name), "rounds"), func(v []int64) (done bool, err error) {
		if len(v) != 3 {
			return false, fmt.Errorf("%d numbers, not 3", len(v))
		}
		if v[0] > after {
			files, requests = append(files, v[1]), append(requests, v[2])
		}
		return len(files) >= roundsPerSample, nil
	})
	if err != nil {
		return r, err
	}
	slices.Sort(files)
	slices.Sort(requests)
	return round{time.Duration(files[len(files)/10]), time.Duration(requests[len(requests)/10])}, nil
}
