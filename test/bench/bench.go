package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sandboxer/observed"
)

// bench is one run of the benchmark.
type bench struct {
	o         options
	sandboxer string // absolute
	module    string // the module's directory
	work      string // what is on disk: roots, manifests, the daemon's data
	run       string // where runtimes usually keep what a reboot may take: records
	rootfs    string
	marks     *marks
	reaper    *observed.Reaper
	bare      *bare
	report    report
	daemons   int // how many were started
	names     int // how many were given out
}

// run measures and reports; met says whether every target was.
func run(ctx context.Context, o options) (met bool, err error) {
	b := &bench{o: o}
	if err := b.build(ctx); err != nil {
		return false, err
	}
	if err := observed.BecomeSubreaper(); err != nil {
		return false, err
	}
	b.reaper = observed.NewReaper(nil, nil)
	reaping, stopReaping := context.WithCancel(context.WithoutCancel(ctx))
	reaped := make(chan error, 1)
	go func() { reaped <- b.reaper.Run(reaping) }()
	defer func() {
		stopReaping()
		err = errors.Join(err, <-reaped)
	}()

	for dir, under := range map[*string]string{&b.work: "", &b.run: "/run"} {
		if *dir, err = os.MkdirTemp(under, "sandboxer-bench-"); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(*dir)) }()
		// Containers' users reach their root file system through it.
		if err := os.Chmod(*dir, 0o755); err != nil {
			return false, err
		}
	}
	if err := b.prepare(); err != nil {
		return false, err
	}
	defer func() {
		// Also when ctx has ended: nothing is left behind.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
		defer cancel()
		err = errors.Join(err, b.bare.clear(cleanup), b.bare.tree.remove(cleanup), b.bare.unmount())
		err = errors.Join(err, endOrphans(cleanup))
		b.bare.log.Close()
		b.marks.close()
	}()
	err = b.measure(ctx)
	fmt.Print(b.report.markdown()) // what was measured is told also where the rest failed
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	return b.report.met(), err
}

// measure measures the rows that are wanted.
func (b *bench) measure(ctx context.Context) error {
	for _, part := range []struct {
		rows    []int
		measure func(context.Context) error
	}{
		{[]int{1, 2, 14}, b.lifecycles},
		{[]int{3}, b.crowds},
		{[]int{4}, b.restarts},
		{[]int{5}, b.plans},
		{[]int{6, 7}, b.idling},
		{[]int{8}, b.execs},
		{[]int{9, 10}, b.output},
		{[]int{11, 12}, b.stalls},
		{[]int{13}, b.holding},
		{[]int{15}, b.speed},
		{[]int{16}, b.throughput},
	} {
		if !b.o.wants(part.rows...) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("row %d: %w", part.rows[0], err)
		}
	}
	return nil
}

// build builds runsc and the probe, and finds the program to measure.
func (b *bench) build(ctx context.Context) error {
	mod, err := b.goTool(ctx, "env", "GOMOD")
	if err != nil {
		return err
	}
	if mod == "" || mod == os.DevNull {
		return errors.New("run it in the module's directory: it builds runsc from the gVisor that go.mod pins")
	}
	b.module = filepath.Dir(mod)
	if b.sandboxer, err = filepath.Abs(b.o.sandboxer); err != nil {
		return err
	}
	if _, err := os.Stat(b.sandboxer); err != nil {
		return fmt.Errorf("%w: build it with make build, or name it with -sandboxer", err)
	}
	if b.o.buildDir, err = filepath.Abs(b.o.buildDir); err != nil {
		return err
	}
	if b.report.Machine, err = b.machine(ctx); err != nil {
		return err
	}
	progress("building runsc and the probe (the first time takes minutes)")
	for name, pkg := range map[string]string{"runsc": "gvisor.dev/gvisor/runsc", "probe": "./test/bench/probe"} {
		if _, err := b.goTool(ctx, "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(b.o.buildDir, name), pkg); err != nil {
			return err
		}
	}
	return nil
}

// goTool runs the go command in the module and returns what it printed.
func (b *bench) goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	start, wait := (*exec.Cmd).Start, (*exec.Cmd).Wait
	if b.reaper != nil {
		start = func(c *exec.Cmd) error { return b.reaper.Start(c) }
		wait = func(c *exec.Cmd) error { return b.reaper.Wait(c) }
	}
	err := start(cmd)
	if err == nil {
		err = wait(cmd)
	}
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// prepare makes what both sides use.
func (b *bench) prepare() (err error) {
	b.rootfs = filepath.Join(b.work, "rootfs")
	if err := prepareRoot(b.rootfs, filepath.Join(b.o.buildDir, "probe")); err != nil {
		return err
	}
	r := &bare{
		b: b, exe: filepath.Join(b.o.buildDir, "runsc"), root: filepath.Join(b.run, "runsc"),
		reaper: b.reaper, live: map[string]bool{},
	}
	if r.tree, err = newTree(fmt.Sprintf("/sandboxer-bench-%d.runsc", os.Getpid())); err != nil {
		return err
	}
	if r.log, err = os.Create(filepath.Join(b.work, "runsc.log")); err != nil {
		return err
	}
	b.bare = r
	dir := filepath.Join(b.work, "marks")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	b.marks, err = newMarks(dir)
	return err
}

// withDaemon runs f with a daemon of its own, and ends it in any case.
func (b *bench) withDaemon(ctx context.Context, f func(*ours) error) error {
	o, err := startDaemon(ctx, b, b.reaper)
	if err != nil {
		return err
	}
	err = f(o)
	return errors.Join(err, o.stop(context.WithoutCancel(ctx)))
}

// name gives out names that are not part of each other.
func (b *bench) name(prefix string) string {
	b.names++
	return fmt.Sprintf("%s-%04d", prefix, b.names)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
