package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

// leastInterval is the shortest that stats measures CPU over: the kernel of a
// sandbox counts in hundredths of a second.
const leastInterval = 100 * time.Millisecond

func (c *cli) statsCommand() *cobra.Command {
	outputs := []string{"table", "wide", "json"}
	var output string
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "stats [NAME[/CONTAINER]...]",
		Short: "Show what sandboxes and their containers use",
		Long: `Shows what sandboxes and their containers use; without a NAME, all that run.
With --watch, it goes on until you interrupt it, also over restarts of the
daemon. Of NAME/CONTAINER it leaves out the sandbox's other containers.

A sandbox's line is what the host counts for all of its processes: with memory
goes page cache, and gVisor's own use with everything. Its containers' lines are
what gVisor counts. %CPU is of one CPU, over the interval; PIDS are threads and
processes; READ and WRITTEN are of storage, not of page cache.`,
		Example: "  sandboxer stats\n  sandboxer stats web db --watch --interval 5s\n" +
			"  sandboxer stats web -o json",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeTargets(0, anyContainer),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			if interval < leastInterval {
				return usagef("--interval %s: want %s or more", interval, leastInterval)
			}
			client := c.client()
			defer client.Close()
			return c.stats(cmd.Context(), client, names, interval, watch, c.statsPrinter(output, len(names) == 1, watch))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json (with --watch: a line each time)")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on measuring")
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how long CPU is measured")
	return cmd
}

// usage is what a sandbox uses, with its share of a CPU.
type usage struct {
	api.Stats
	// CPUPercent is of one CPU; nil: it did not run, as this sandbox or
	// instance of a container, for the whole interval.
	CPUPercent *float64         `json:"cpuPercent"`
	Containers []containerUsage `json:"containers"`
}

type containerUsage struct {
	api.ContainerStats
	CPUPercent *float64 `json:"cpuPercent"`
}

// A sandbox that does not answer within measureTime is left out, and in a watch
// not asked again before silentTime is over: it holds up no other.
const (
	measureTime = 5 * time.Second
	silentTime  = 30 * time.Second
)

// measureMost is how many are asked at once. Each takes a connection, of which the
// daemon has only so many for a user.
const measureMost = 100

// stats measures, waits and measures again.
func (c *cli) stats(ctx context.Context, client *api.Client, names []string, interval time.Duration, watch bool, show func([]usage) error) error {
	m := meter{client: client, names: names, lenient: len(names) == 0, only: map[string]string{}, silent: map[string]time.Time{}}
	before, faults, err := m.measure(ctx)
	if err != nil {
		return err
	}
	failed := c.report(faults)
	if len(before) == 0 && len(names) == 1 && failed != nil {
		return failed
	}
	for {
		if len(before) > 0 || watch {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// What ends meanwhile is left out of a watch, and told of otherwise, once.
		m.lenient = m.lenient || watch || failed != nil
		now, faults, err := m.measure(ctx)
		if away(err) && watch {
			err = outlast(ctx, retryFor, func() (err error) { now, faults, err = m.measure(ctx); return err })
		}
		if err != nil {
			return err
		}
		if failed == nil {
			failed = c.report(faults)
		}
		var list []usage
		for _, s := range now {
			list = append(list, since(s, before, m.only[s.Sandbox]))
		}
		if err := show(list); err != nil {
			return err
		}
		if !watch {
			return failed
		}
		before = now
	}
}

// meter measures sandboxes: those that are named, or else all that run.
type meter struct {
	client  *api.Client
	names   []string
	lenient bool                 // one that does not run is no fault
	only    map[string]string    // the container of each sandbox that is meant; empty: all
	silent  map[string]time.Time // when those that did not answer are asked again
}

// measure asks many side by side. Those that can't be measured are left out and
// are faults.
func (m *meter) measure(ctx context.Context) (all []api.Stats, faults []error, err error) {
	list, err := m.client.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	names, faults := m.mean(list.Items)
	names = slices.DeleteFunc(names, func(name string) bool { return time.Now().Before(m.silent[name]) })
	found, errs := make([]api.Stats, len(names)), make([]error, len(names))
	sideBySide(len(names), measureMost, func(i int) {
		ctx, cancel := context.WithTimeoutCause(ctx, measureTime, fmt.Errorf("it did not answer within %s", measureTime))
		defer cancel()
		if found[i], errs[i] = m.client.Stats(ctx, names[i]); errs[i] != nil && ctx.Err() != nil {
			errs[i] = context.Cause(ctx)
		}
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	for i, name := range names {
		var refused *api.Error
		isRefused := errors.As(errs[i], &refused)
		if !isRefused && away(errs[i]) {
			return nil, nil, errs[i] // it is so with all of them
		}
		switch {
		case errs[i] == nil:
			all = append(all, found[i])
			continue
		case !isRefused:
			m.silent[name] = time.Now().Add(silentTime)
		case m.lenient && (refused.Code == http.StatusConflict || refused.Code == http.StatusNotFound):
			continue
		}
		faults = append(faults, fmt.Errorf("measuring %s: %w", name, errs[i]))
	}
	return all, faults, nil
}

// sideBySide calls do with all numbers below n, and no more than most at once.
func sideBySide(n, most int, do func(i int)) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, most)
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			do(i)
		})
	}
	wg.Wait()
}

// mean are the sandboxes to measure, each once, and of each which container.
func (m *meter) mean(items []api.Sandbox) (names []string, faults []error) {
	if len(m.names) == 0 {
		for _, s := range items {
			if s.Status.SandboxPID != 0 {
				names = append(names, s.Name)
			}
		}
		return names, nil
	}
	clear(m.only)
	for _, n := range m.names {
		t, err := find(items, n)
		if err != nil {
			if !m.lenient {
				faults = append(faults, err)
			}
			continue
		}
		name := t.sandbox.Name
		if slices.Contains(names, name) {
			m.only[name] = "" // more than one of its containers
			continue
		}
		names, m.only[name] = append(names, name), t.container
	}
	return names, faults
}

// since adds what share of a CPU was used since an earlier measurement. Of the
// containers it keeps the one that is meant; empty: all.
func since(now api.Stats, earlier []api.Stats, only string) usage {
	var before api.Stats
	for _, s := range earlier {
		if s.Sandbox == now.Sandbox {
			before = s
		}
	}
	elapsed := now.Time.Sub(before.Time).Seconds()
	percent := func(now, before float64) *float64 {
		if now < before || elapsed <= 0 {
			return nil // another one by now
		}
		return new(100 * (now - before) / elapsed)
	}
	u := usage{Stats: now, Containers: []containerUsage{}}
	if before.Sandbox != "" {
		u.CPUPercent = percent(now.CPUSeconds, before.CPUSeconds)
	}
	for _, c := range now.Containers {
		if only != "" && c.Name != only {
			continue
		}
		v := containerUsage{ContainerStats: c}
		for _, b := range before.Containers {
			if b.ID == c.ID {
				v.CPUPercent = percent(c.CPUSeconds, b.CPUSeconds)
			}
		}
		u.Containers = append(u.Containers, v)
	}
	return u
}

// statsPrinter returns what prints one measurement; one says that it is of one
// sandbox that was named.
func (c *cli) statsPrinter(output string, one, watch bool) func([]usage) error {
	if output == "json" {
		return func(list []usage) error {
			var v any = map[string][]usage{"items": append([]usage{}, list...)}
			if one && len(list) == 1 {
				v = list[0]
			}
			if watch {
				return json.NewEncoder(c.stdout).Encode(v)
			}
			return printValue(c.stdout, v, false)
		}
	}
	again := false
	return func(list []usage) error {
		if again {
			if _, err := io.WriteString(c.stdout, "\n"); err != nil {
				return err
			}
		}
		again = true
		if len(list) == 0 {
			_, err := fmt.Fprintln(c.stdout, "No sandbox runs.")
			return err
		}
		return c.statsTable(list, output == "wide")
	}
}

func (c *cli) statsTable(list []usage, wide bool) error {
	t := &table{w: c.stdout, width: columns(c.stdout), wide: wide, columns: []column{{title: "NAME", most: 18}, {title: "%CPU"}, {title: "TIME"},
		{title: "MEMORY"}, {title: "PEAK"}, {title: "LIMIT"}, {title: "PIDS"}, {title: "READ"}, {title: "WRITTEN"}, {title: "LAYER"}}}
	var rows [][]string
	for _, s := range list {
		rows = append(rows, []string{s.Sandbox, percentText(s.CPUPercent), cpuTime(s.CPUSeconds), bytesText(s.MemoryBytes),
			sizeOrDash(s.MemoryPeakBytes), sizeOrDash(s.MemoryLimitBytes), strconv.FormatInt(s.PIDs, 10),
			bytesText(int64(s.ReadBytes)), bytesText(int64(s.WrittenBytes)), "-"})
		for _, c := range s.Containers {
			rows = append(rows, []string{s.Sandbox + "/" + c.Name, percentText(c.CPUPercent), cpuTime(c.CPUSeconds),
				bytesText(c.MemoryBytes), "-", sizeOrDash(c.MemoryLimitBytes), strconv.FormatInt(c.PIDs, 10), "-", "-", layerText(c)})
		}
	}
	t.fit(rows)
	if err := t.head(); err != nil {
		return err
	}
	for _, r := range rows {
		if err := t.row(r); err != nil {
			return err
		}
	}
	return nil
}

// layerText is what is in a container's writable layer, and of how much.
func layerText(c containerUsage) string {
	if c.StorageLimitBytes == 0 {
		return bytesText(c.StorageBytes)
	}
	return bytesText(c.StorageBytes) + "/" + bytesText(c.StorageLimitBytes)
}

func percentText(p *float64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *p)
}

// sizeOrDash is a size, or a dash for 0.
func sizeOrDash(n int64) string {
	if n == 0 {
		return "-"
	}
	return bytesText(n)
}
