package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// Targets of the rows that compare: at most so many times what bare runsc
// takes.
const (
	upTarget       = 0.65
	downTarget     = 0.4
	crowdTarget    = 0.4
	restartTarget  = 0.25
	startCPUTarget = 0.6
)

// pairs calls both sides n times, in turns as to which is first, after one
// round that warms caches and does not count.
func (b *bench) pairs(ctx context.Context, what string, n int, sides [2]func(counts bool) error) error {
	for i := range n + 1 {
		progress("%s: %d of %d", what, i, n)
		for j := range sides {
			if err := sides[(i+j)%2](i > 0); err != nil {
				return err
			}
			if err := sleep(ctx, restTime); err != nil {
				return err
			}
		}
	}
	return nil
}

// ms notes a time, if it counts.
func ms(samples *[]float64, d time.Duration, counts bool) {
	if counts {
		*samples = append(*samples, float64(d)/1e6)
	}
}

// upDown is a side that makes and removes one container at a time.
type upDown interface {
	up(ctx context.Context, name string) (time.Duration, error)
	down(ctx context.Context, name string) (time.Duration, error)
	// spent is the CPU time of all that a container has to do with, so far,
	// and of all that was there before.
	spent(name string) (time.Duration, error)
}

// lifecycles measures rows 1, 2 and 14 with the same sandboxes.
func (b *bench) lifecycles(ctx context.Context) error {
	var ups, downs, cpu [2][]float64
	err := b.withDaemon(ctx, func(o *ours) error {
		var sides [2]func(bool) error
		for i, side := range []upDown{o, b.bare} {
			sides[i] = func(counts bool) error {
				name := b.name("life")
				before, err := side.spent(name)
				if err != nil {
					return err
				}
				took, err := side.up(ctx, name)
				if err != nil {
					return err
				}
				ms(&ups[i], took, counts)
				if err := sleep(ctx, restTime); err != nil {
					return err
				}
				after, err := side.spent(name)
				if err != nil {
					return err
				}
				ms(&cpu[i], after-before, counts)
				if took, err = side.down(ctx, name); err != nil {
					return err
				}
				ms(&downs[i], took, counts)
				return nil
			}
		}
		return b.pairs(ctx, "up and down", b.o.n, sides)
	})
	if err != nil {
		return err
	}
	if b.o.wants(1) {
		b.report.compare(1, "manifest renamed into place → command runs, against `runsc create` + `runsc start`", ups, upTarget)
	}
	if b.o.wants(2) {
		b.report.compare(2, "manifest removed → nothing left, against `runsc delete --force` (with `--settle 0s`)", downs, downTarget)
	}
	if b.o.wants(14) {
		b.report.compare(14, "CPU of all processes for one start, against `runsc create` + `runsc start`", cpu, startCPUTarget)
	}
	return nil
}

// crowds measures row 3.
func (b *bench) crowds(ctx context.Context) error {
	var took [2][]float64
	for i := range b.o.bursts {
		progress("%d at once: %d of %d", b.o.crowd, i+1, b.o.bursts)
		sides := []func() error{
			func() error {
				return b.withDaemon(ctx, func(o *ours) error {
					d, err := o.crowd(ctx, b.o.crowd)
					ms(&took[0], d, true)
					return err
				})
			},
			func() error {
				d, err := b.bare.crowd(ctx, b.o.crowd)
				ms(&took[1], d, true)
				if err != nil {
					return err
				}
				return b.bare.clear(ctx)
			},
		}
		for j := range sides {
			if err := sides[(i+j)%2](); err != nil {
				return err
			}
		}
	}
	b.report.compare(3, "50 manifests at once → all run, against 50 × create + start one after the other", took, crowdTarget)
	return nil
}

// crowd declares n sandboxes at once and returns how long it took until the
// last command ran.
func (o *ours) crowd(ctx context.Context, n int) (time.Duration, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = o.b.name("crowd")
		if err := o.manifest(names[i], "idle"); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	for _, name := range names {
		if err := o.declare(name); err != nil {
			return 0, err
		}
	}
	last := began
	for _, name := range names {
		at, err := o.ran(ctx, name)
		if err != nil {
			return 0, err
		}
		last = later(last, at)
	}
	return last.Sub(began), nil
}

// crowd makes n containers one after the other and returns how long it took
// until the last command ran.
func (r *bare) crowd(ctx context.Context, n int) (time.Duration, error) {
	names, dirs := make([]string, n), make([]string, n)
	var err error
	for i := range names {
		names[i] = r.b.name("crowd")
		if dirs[i], err = r.bundle(names[i]); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	for i := range names {
		if err := r.start(ctx, names[i], dirs[i]); err != nil {
			return 0, err
		}
	}
	last := began
	for _, name := range names {
		at, err := r.b.marks.wait(ctx, name)
		if err != nil {
			return 0, err
		}
		last = later(last, at)
	}
	return last.Sub(began), nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// restarts measures row 4: each sandbox's first restart, which has no
// back-off.
func (b *bench) restarts(ctx context.Context) error {
	var took [2][]float64
	err := b.withDaemon(ctx, func(o *ours) error {
		return b.pairs(ctx, "restart", b.o.n, [2]func(bool) error{
			func(counts bool) error {
				d, err := o.restart(ctx, b.name("again"))
				ms(&took[0], d, counts)
				return err
			},
			func(counts bool) error {
				name := b.name("again")
				d, err := b.bare.up(ctx, name)
				if err != nil {
					return err
				}
				ms(&took[1], d, counts)
				_, err = b.bare.down(ctx, name)
				return err
			},
		})
	})
	if err != nil {
		return err
	}
	b.report.compare(4, "a command ends by itself → runs again (first restart), against create + start", took, restartTarget)
	return nil
}

// restart declares a sandbox whose command ends by itself and returns how long
// it took from its last act to the first act of its next run.
func (o *ours) restart(ctx context.Context, name string) (time.Duration, error) {
	if err := o.manifest(name, "again"); err != nil {
		return 0, err
	}
	if err := o.declare(name); err != nil {
		return 0, err
	}
	again, err := o.ran(ctx, name+".2")
	if err != nil {
		return 0, err
	}
	ended, err := o.ran(ctx, name+".end")
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, restTime); err != nil {
		return 0, err
	}
	if _, err := o.down(ctx, name); err != nil {
		return 0, err
	}
	return again.Sub(ended), os.RemoveAll(filepath.Join(o.b.work, "bundles", name))
}
