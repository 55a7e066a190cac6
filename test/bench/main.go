package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// stepTimeout bounds every single thing that is waited for.
	stepTimeout = 2 * time.Minute
	// lookEvery is how often both sides are looked at for what is left.
	lookEvery = 200 * time.Microsecond
	// restTime lies between what is measured, so that the end of one thing
	// is not counted to the next.
	restTime = 300 * time.Millisecond
	// lastRow is the highest number of a row.
	lastRow = 16
)

// options are the flags.
type options struct {
	sandboxer string
	buildDir  string
	json      string
	n         int
	bursts    int
	crowd     int
	idle      time.Duration
	settled   time.Duration // how long before idling is measured
	only      map[int]bool  // nil: all
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	met, err := run(ctx, o)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	case !met:
		os.Exit(3)
	}
}

func parse(args []string) (options, error) {
	var o options
	var only string
	var quick bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.sandboxer, "sandboxer", "bin/sandboxer", "the `program` to measure")
	f.StringVar(&o.buildDir, "build-dir", ".cache/bench", "`directory` that keeps what is built for the benchmark")
	f.StringVar(&o.json, "json", "", "`file` that takes every sample, summary and fact about the machine")
	f.StringVar(&only, "only", "", "the `rows` to measure, such as 1,2,4; default all")
	f.IntVar(&o.n, "n", 15, "repetitions of rows 1, 2, 4, 8 and 13 to 15; rows 3, 9 and 10 get a fifth of them, 16 half as many, 11 and 12 twice as many")
	f.IntVar(&o.crowd, "crowd", 50, "sandboxes in rows 3, 6 and 7; another number than 50 is for trying things out")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long idling is measured in rows 6 and 7")
	f.BoolVar(&quick, "quick", false, "few repetitions and a short idle time: to try the benchmark, not the program")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.settled = 5 * time.Second
	if quick {
		o.n, o.idle, o.settled = min(o.n, 3), min(o.idle, 10*time.Second), time.Second
	}
	if o.n < 1 || o.crowd < 1 || o.idle <= 0 {
		return o, errors.New("-n, -crowd and -idle must be more than 0")
	}
	o.bursts = max(1, o.n/5)
	if only != "" {
		o.only = map[int]bool{}
		for field := range strings.SplitSeq(only, ",") {
			row, err := strconv.Atoi(strings.TrimSpace(field))
			if err != nil || row < 1 || row > lastRow {
				return o, fmt.Errorf("-only %s: want numbers from 1 to %d with commas between them", only, lastRow)
			}
			o.only[row] = true
		}
	}
	if os.Geteuid() != 0 {
		return o, errors.New("must run as root: both sides make namespaces and cgroups")
	}
	return o, nil
}

// wants reports whether one of the rows is to be measured.
func (o options) wants(rows ...int) bool {
	for _, r := range rows {
		if o.only == nil || o.only[r] {
			return true
		}
	}
	return false
}
