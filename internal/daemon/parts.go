package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator"
	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/cgroup"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/claims"
	"sandboxer/internal/events"
	"sandboxer/internal/goferbin"
	"sandboxer/internal/infra"
	"sandboxer/internal/logs"
	"sandboxer/internal/probe"
	"sandboxer/internal/sealed"
	"sandboxer/internal/shelf"
	"sandboxer/internal/written"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// scanPatience is how long what does not answer may hold up what does: as long as
// it goes on not answering it is passed over.
const scanPatience = 300 * time.Millisecond

// open makes all parts, none of which does anything yet.
func (d *daemon) open(ctx context.Context) (err error) {
	if d.c.StateDir, err = filepath.Abs(d.c.StateDir); err != nil {
		return err
	}
	if d.c.DataDir, err = filepath.Abs(d.c.DataDir); err != nil {
		return err
	}
	bootID, err := observed.BootID()
	if err != nil {
		return err
	}
	if d.cgroups, err = cgroup.Detect(); err != nil {
		return err
	}
	if err := d.reserve(ctx); err != nil {
		return err
	}
	// No container can make names by now, and nothing was read.
	if err := d.ownAll(); err != nil {
		return err
	}
	key, made, err := sealed.Key(actuator.KeyFile(d.c.DataDir))
	if err != nil {
		return fmt.Errorf("the key that records are signed with: %w", err)
	}
	d.newKey = made
	d.records, err = observed.NewRecords(observed.RecordsConfig{
		StateDir: d.c.StateDir, BootID: bootID, Key: key, Spares: filepath.Join(d.c.DataDir, "records"),
	})
	if err != nil {
		return err
	}
	d.logs, err = logs.New(logs.Config{
		StateDir: d.c.StateDir,
		DataDir:  d.c.DataDir,
		MaxFile:  d.c.MaxLogFile,
		MaxFiles: d.c.MaxLogFiles,
		Changed:  d.outputChanged,
		Log:      d.c.Log,
	})
	if err != nil {
		return err
	}
	if d.events, err = events.Open(events.Config{Dir: d.c.DataDir, Log: d.c.Log}); err != nil {
		return err
	}
	d.memories = memories{dir: filepath.Join(d.c.DataDir, "memory"), damaged: d.damaged}
	if err := os.MkdirAll(d.memories.dir, 0o700); err != nil {
		return err
	}
	if err := observed.BecomeSubreaper(); err != nil {
		return err
	}
	d.reaper = observed.NewReaper(nil, func(pid int) { d.actuator.Stopped(pid) })
	if d.watcher, err = observed.NewWatcher(); err != nil {
		return err
	}
	if d.alarms, err = cgroup.NewAlarms(d.cgroups); err != nil {
		return err
	}
	d.images = checkpoint.Store{Dir: filepath.Join(d.c.DataDir, "checkpoints"), Runtime: infra.Checkpoints(d.c.Version.GVisor), Refused: d.refused}
	image, err := infra.File()
	if err != nil {
		return err
	}
	goferExe := ""
	if d.program, err = goferbin.Open(); err != nil {
		return err
	}
	if d.program != nil {
		goferExe = fmt.Sprintf("/proc/self/fd/%d", d.program.Fd())
	}
	var foreground *actuator.Foreground
	if d.c.Foreground != nil {
		foreground = &d.c.Foreground.Foreground
	}
	const exe = "/proc/self/exe"
	d.answers = answers.New(exe, func() { d.directory.Rescan() })
	d.written = written.New(written.Dir, d.c.StateDir, d.answers.Check)
	d.actuator, err = actuator.New(actuator.Config{
		Exe:          exe,
		Answers:      d.answers,
		Written:      d.written,
		Version:      d.c.Version.Version,
		GVisor:       d.c.Version.GVisor,
		GoferExe:     goferExe,
		StateDir:     d.c.StateDir,
		DataDir:      d.c.DataDir,
		Guard:        func() (shelf.Guard, error) { return d.guard(context.Background(), d.answers) },
		Claims:       claims.Stamp,
		Declared:     func() []*desired.Sandbox { return d.source.declared() },
		Image:        image,
		CgroupParent: d.c.CgroupParent,
		Cgroups:      d.cgroups,
		Alarms:       d.alarms,
		Records:      d.records,
		Checkpoints:  d.images,
		Logs:         d.logs,
		Watcher:      d.watcher,
		Reaper:       d.reaper,
		Foreground:   foreground,
		Poke:         func(name string) { d.loop.Poke(name) },
		Ended:        d.containerEnded,
		PreStopped:   d.preStopped,
		Hooked:       d.hookEnded,
		Emptied:      d.volumeEmptied,

		AllowUnsafeOwners: d.c.AllowUnsafeOwners,
		AllowBundleHooks:  d.c.AllowBundleHooks,
		Accepted:          func(name string) *desired.Sandbox { return d.directory.Accepted(name) },
		Log:               d.c.Log,
	})
	if err != nil {
		return err
	}
	d.looker, err = observed.New(observed.Config{
		Records:      d.records,
		Prober:       d.actuator,
		Image:        d.images.Read,
		CgroupProcs:  d.cgroups.Started,
		Liveness:     d.watcher.Liveness,
		Memory:       d.actuator.Memory,
		PreStop:      d.actuator.PreStop,
		Silent:       d.actuator.Silent,
		Frozen:       d.actuator.Frozen,
		Replaced:     d.actuator.Replaced,
		CgroupPath:   func(name string) string { return filepath.Join(d.c.CgroupParent, name) },
		UserLogMoved: d.actuator.UserLogMoved,
	})
	if err != nil {
		return err
	}
	d.directory, err = desired.New(desired.Config{
		Dirs:              d.c.Manifests,
		Store:             filepath.Join(d.c.DataDir, "manifests"),
		Resync:            d.c.Resync,
		Settle:            d.c.Settle,
		DeletionGuard:     d.c.DeletionGuard,
		AllowUnsafeOwners: d.c.AllowUnsafeOwners,
		NoEvents:          d.c.ResyncOnly,
		Damaged:           d.damaged,
		Answers:           func() desired.Answers { return d.answers.Scan(scanPatience) },
		Reach:             d.manifestsReach,
		Awake:             func() (time.Duration, string) { return awake(), bootID },
		Log:               d.c.Log,
	})
	if err != nil {
		return err
	}
	d.source = newSource(d.directory)
	d.prober, err = probe.New(probe.Config{Reach: d.actuator.Reach, Report: d.probed})
	if err != nil {
		return err
	}
	d.loop, err = reconcile.New(reconcile.Config{
		Looker:     d.looker,
		Actor:      probedActor{d.actuator, d.prober},
		Source:     d.source,
		Store:      d.memories,
		Lister:     d,
		Dependency: d.dependency,
		Unfit:      d.actuator.Unfit,
		GVisor:     d.c.Version.GVisor,
		Resync:     d.c.Resync,
		ResyncOnly: d.c.ResyncOnly,
		Awake:      func() (time.Duration, string) { return awake(), bootID },
		Log:        d.c.Log,
		OnPass:     d.passed,
		OnAction:   d.acted,
	})
	return err
}

// awake is for how long the host has been awake since it was booted.
func awake() time.Duration {
	var t unix.Timespec
	// Fails for no clock that there is.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}

// close ends what open has made, last made first.
func (d *daemon) close() {
	if d.answers != nil {
		d.answers.Close()
	}
	if d.actuator != nil {
		d.actuator.Close()
	}
	if d.logs != nil {
		_ = d.logs.Close()
	}
	if d.events != nil {
		_ = d.events.Close()
	}
	if d.cgroups != nil {
		// Only the parent of no cgroups goes; one in use stays.
		_, _ = d.cgroups.Prune(d.c.CgroupParent)
	}
}
