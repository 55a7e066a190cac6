package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"
)

// speedKinds are what the probe does, in its order.
var speedKinds = []string{
	"file work that does not ask the gofer (open, read, write, stat)",
	"`dd bs=1` (read and write of a byte)", "getppid", "futex, a round trip", "a byte through pipes, a round trip",
	"HTTP over loopback",
}

const (
	// speedTarget is met within the spread of what stands beside it.
	speedTarget = 1.0
	// burstsPerSample of the probe, for each kind, make one sample, their 10th
	// percentile: what else the machine does is none of the costs.
	burstsPerSample = 40
)

// speed measures row 15: what applications do most, on both sides at a time.
func (b *bench) speed(ctx context.Context) error {
	took := make([][2][]float64, len(speedKinds))
	err := b.withDaemon(ctx, func(o *ours) error {
		var sides [2]func(bool) error
		for i, side := range []worker{o, b.bare} {
			sides[i] = func(counts bool) error {
				name := b.name("speed")
				if _, err := side.work(ctx, name, "speed"); err != nil {
					return err
				}
				each, err := b.bursts(ctx, name)
				if err != nil {
					return err
				}
				for kind := range took {
					if counts {
						took[kind][i] = append(took[kind][i], us(each[kind]))
					}
				}
				_, err = side.down(ctx, name)
				return err
			}
		}
		return b.pairs(ctx, "speed", b.o.n, sides)
	})
	if err != nil {
		return err
	}
	for kind, what := range speedKinds {
		b.report.within("µs", 15, what+", against bare runsc", took[kind], speedTarget)
	}
	return nil
}

// bursts is the 10th percentile of what an operation of each kind took in the
// probe's next bursts.
func (b *bench) bursts(ctx context.Context, name string) ([]time.Duration, error) {
	if err := sleep(ctx, restTime); err != nil {
		return nil, err
	}
	after := time.Now().UnixNano()
	all := make([][]int64, len(speedKinds))
	err := lines(ctx, filepath.Join(b.volume(name), "speed"), func(v []int64) (done bool, err error) {
		if len(v) != 3 || v[1] < 0 || v[1] >= int64(len(all)) {
			return false, fmt.Errorf("unexpected numbers %v", v)
		}
		if v[0] > after {
			all[v[1]] = append(all[v[1]], v[2])
		}
		return len(all[len(all)-1]) >= burstsPerSample, nil
	})
	if err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(all))
	for kind := range all {
		slices.Sort(all[kind])
		took[kind] = time.Duration(all[kind][len(all[kind])/10])
	}
	return took, nil
}

const (
	busySandboxes = 4
	busyTime      = 2 * time.Second
	// busySettled is how long they work before, which does not count: the daemon
	// notices a crowd after three seconds, somewhat more where its own turn is
	// long in coming.
	busySettled = 6 * time.Second
	busyTarget  = 1.0
)

// throughput measures row 16: what several sandboxes get done in sum that all
// want as much of the processors as there is, against bare runsc with its fast
// path on and off, whichever does more.
func (b *bench) throughput(ctx context.Context) error {
	var done [3][]float64
	n := max(3, b.o.n/2)
	err := b.withDaemon(ctx, func(o *ours) error {
		off := *b.bare
		off.flags = []string{"--systrap-disable-fast-path"}
		sides := []worker{o, b.bare, &off}
		for i := range n {
			progress("busy sandboxes: %d of %d", i, n)
			for j := range sides {
				at := (i + j) % len(sides)
				sum, err := b.crunch(ctx, sides[at])
				if err != nil {
					return err
				}
				done[at] = append(done[at], sum)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, what := range []string{"with its fast path", "with `--systrap-disable-fast-path`"} {
		b.report.atLeast("thousand/s", 16, fmt.Sprintf("operations of %d busy sandboxes on %d cores in sum, against bare runsc %s",
			busySandboxes, b.report.Machine.Cores, what), [2][]float64{done[0], done[1+i]}, busyTarget)
	}
	return nil
}

// crunch is how many thousand operations busy sandboxes of one side do in a
// second.
func (b *bench) crunch(ctx context.Context, side worker) (float64, error) {
	names := make([]string, busySandboxes)
	for i := range names {
		names[i] = b.name("busy")
		if _, err := side.work(ctx, names[i], "busy"); err != nil {
			return 0, err
		}
	}
	if err := sleep(ctx, busySettled); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := sleep(ctx, busyTime); err != nil {
		return 0, err
	}
	var sum float64
	for _, name := range names {
		var first, last, work int64 = 0, math.MinInt64, 0
		err := lines(ctx, filepath.Join(b.volume(name), "busy"), func(v []int64) (done bool, err error) {
			if len(v) != 2 {
				return false, fmt.Errorf("%d numbers, not 2", len(v))
			}
			switch at := v[0]; {
			case at <= began.UnixNano():
				first = at
			default:
				last, work = at, work+v[1]
			}
			return last >= began.Add(busyTime).UnixNano(), nil
		})
		if err != nil {
			return 0, err
		}
		sum += float64(work) / time.Duration(last-max(first, 0)).Seconds() / 1000
		if _, err := side.down(ctx, name); err != nil {
			return 0, err
		}
	}
	return sum, nil
}
