package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Targets of the rows about idle sandboxes and about plans.
const (
	planTarget      = 5.0  // µs
	idleTarget      = 0.15 // % of a core
	memoryTarget    = 40.0 // MB
	daemonCPUTarget = 0.1  // % of a core
	bareIdle        = 5    // containers of bare runsc that idle beside

	// Of one sandbox and its share of the daemon, to one container of bare runsc.
	idleRatioTarget   = 1.0
	memoryRatioTarget = 0.75
)

var planLine = regexp.MustCompile(`(?m)^BenchmarkPlanUnchanged\S*\s+\d+\s+([\d.]+) ns/op`)

// plans measures row 5 with the package's own benchmark.
func (b *bench) plans(ctx context.Context) error {
	progress("plan of an unchanged sandbox")
	out, err := b.goTool(ctx, "test", "-run", "^$", "-bench", "^BenchmarkPlanUnchanged$", "-count", strconv.Itoa(min(b.o.n, 5)), "./reconcile/plan")
	if err != nil {
		return err
	}
	var samples []float64
	for _, m := range planLine.FindAllStringSubmatch(out, -1) {
		ns, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return err
		}
		samples = append(samples, ns/1000)
	}
	if len(samples) == 0 {
		return fmt.Errorf("no BenchmarkPlanUnchanged in: %s", out)
	}
	b.report.limit(5, "plan of one unchanged sandbox", "µs", samples, nil, planTarget)
	return nil
}

// idling measures rows 6 and 7 with one crowd, and a few containers of bare
// runsc beside it.
func (b *bench) idling(ctx context.Context) error {
	return b.withDaemon(ctx, func(o *ours) error {
		progress("%d idle sandboxes, for %s", b.o.crowd, b.o.idle)
		if _, err := o.crowd(ctx, b.o.crowd); err != nil {
			return err
		}
		beside := make([]string, bareIdle)
		for i := range beside {
			beside[i] = b.name("idle")
			if _, err := b.bare.up(ctx, beside[i]); err != nil {
				return err
			}
		}
		if err := sleep(ctx, b.o.settled); err != nil {
			return err
		}
		if err := o.enclosed(); err != nil {
			return err
		}
		if err := b.idleCPU(ctx, o, beside); err != nil {
			return err
		}
		if err := b.memory(o); err != nil {
			return err
		}
		return b.bare.clear(ctx)
	})
}

// used is CPU time at one moment.
type used struct {
	at      time.Time
	tree    time.Duration // sentries, gofers and whatever else runs in the cgroups
	keepers time.Duration // of that
	outside time.Duration // the daemon, and helpers outside of the cgroups
	beside  []time.Duration
}

// use reads the CPU clocks. A helper that comes and goes between two readings
// is counted to its parent, which has waited for it.
func (b *bench) use(o *ours, beside []string) (u used, err error) {
	u.at = time.Now()
	if u.tree, err = o.tree.cpu(""); err != nil {
		return u, err
	}
	outside, keepers, err := o.helpers()
	if err != nil {
		return u, err
	}
	for sum, pids := range map[*time.Duration][]int{&u.outside: outside, &u.keepers: keepers} {
		for _, pid := range pids {
			d, err := processCPU(pid)
			if err != nil {
				return u, err
			}
			*sum += d
		}
	}
	waited, err := childrenCPU(o.cmd.Process.Pid)
	if err != nil {
		return u, err
	}
	u.outside += waited
	for _, name := range beside {
		d, err := b.bare.tree.cpu(name)
		if err != nil {
			return u, err
		}
		u.beside = append(u.beside, d)
	}
	return u, nil
}

func (b *bench) idleCPU(ctx context.Context, o *ours, beside []string) error {
	before, err := b.use(o, beside)
	if err != nil {
		return err
	}
	if err := sleep(ctx, b.o.idle); err != nil {
		return err
	}
	after, err := b.use(o, beside)
	if err != nil {
		return err
	}
	percent := func(d time.Duration) float64 { return 100 * float64(d) / float64(after.at.Sub(before.at)) }
	outside := percent(after.outside - before.outside)
	all := percent(after.tree-before.tree) + outside
	var each []float64
	for i := range beside {
		each = append(each, percent(after.beside[i]-before.beside[i]))
	}
	if b.o.wants(6) {
		b.report.limit(6, fmt.Sprintf("CPU of everything with 50 idle sandboxes, over %s (bare: **each** container)", b.o.idle),
			"% of a core", []float64{all}, each, idleTarget)
		b.report.compareIn("% of a core", 6, "the same for one sandbox, against one container of bare runsc",
			[2][]float64{{all / float64(b.o.crowd)}, each}, idleRatioTarget)
	}
	if b.o.wants(7) {
		b.report.limit(7, "CPU of the daemon and its helpers, keepers included, meanwhile", "% of a core",
			[]float64{outside + percent(after.keepers-before.keepers)}, nil, daemonCPUTarget)
	}
	return nil
}
