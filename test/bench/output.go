package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	outputTarget = 1.0
	carryTarget  = 5.0 // ms of CPU per MB

	pouredMB   = 32 // what the probe writes
	entrySize  = 100 + len("2006-01-02T15:04:05.000000000Z stdout F ")
	pouredLogs = pouredMB * 1e6 / 100 * entrySize
)

// output measures rows 9 and 10: a container that writes lines as fast as it
// can, until all of them are in its log.
func (b *bench) output(ctx context.Context) error {
	var took [2][]float64
	var cpu []float64
	err := b.withDaemon(ctx, func(o *ours) error {
		return b.pairs(ctx, "output", b.o.bursts, [2]func(bool) error{
			func(counts bool) error {
				d, used, err := o.pour(ctx, b.name("pour"))
				ms(&took[0], d, counts)
				if counts {
					cpu = append(cpu, float64(used)/1e6/pouredMB)
				}
				return err
			},
			func(counts bool) error {
				d, err := b.bare.pour(ctx, b.name("pour"))
				ms(&took[1], d, counts)
				return err
			},
		})
	})
	if err != nil {
		return err
	}
	if b.o.wants(9) {
		b.report.compare(9, fmt.Sprintf("%d MB of lines from a container's stdout → all in its log, against stdout on a plain file", pouredMB), took, outputTarget)
	}
	if b.o.wants(10) {
		b.report.limit(10, "CPU of the daemon for it", "ms per MB", cpu, nil, carryTarget)
	}
	return nil
}

// pour runs a container that writes, and returns how long that took until all
// was in the log, and the daemon's CPU time.
func (o *ours) pour(ctx context.Context, name string) (took, cpu time.Duration, err error) {
	if err := o.manifest(name, "pour"); err != nil {
		return 0, 0, err
	}
	if err := o.declare(name); err != nil {
		return 0, 0, err
	}
	began, err := o.ran(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	before, err := processCPU(o.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if _, err := o.ran(ctx, name+".end"); err != nil {
		return 0, 0, err
	}
	for {
		var size int64
		logs, err := filepath.Glob(filepath.Join(o.data, "logs", name, "*"))
		if err != nil {
			return 0, 0, err
		}
		for _, path := range logs {
			if st, err := os.Stat(path); err == nil { // else it is renamed at this moment
				size += st.Size()
			}
		}
		if size >= int64(pouredLogs) {
			break
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return 0, 0, err
		}
	}
	took = time.Since(began)
	after, err := processCPU(o.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	_, err = o.down(ctx, name)
	return took, after - before, err
}

// pour runs a container that writes to a file, and returns how long that took.
func (r *bare) pour(ctx context.Context, name string) (time.Duration, error) {
	dir, err := r.b.bundle(name, "pour", filepath.Join(r.tree.name, name))
	if err != nil {
		return 0, err
	}
	out, err := os.Create(filepath.Join(r.b.work, name+".log"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	r.live[name] = true
	if err := r.runTo(ctx, out, "create", "--bundle", dir, name); err != nil {
		return 0, err
	}
	if err := r.run(ctx, "start", name); err != nil {
		return 0, err
	}
	began, err := r.b.marks.wait(ctx, name)
	if err != nil {
		return 0, err
	}
	ended, err := r.b.marks.wait(ctx, name+".end")
	if err != nil {
		return 0, err
	}
	_, err = r.down(ctx, name)
	return ended.Sub(began), err
}
