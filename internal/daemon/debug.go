package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandboxer/actuator"
	"sandboxer/internal/api"
	"sandboxer/internal/mountinfo"
	"sandboxer/observed"
	"sandboxer/reconcile"
)

// debugTime is how long each part of the daemon may take to say how it stands: who
// asks looks for one that hangs.
const debugTime = 500 * time.Millisecond

// part is what get returns; nothing, and its name added to missing, where that is
// not known in time. What hangs is left to hang.
func part[T any](missing *[]string, name string, get func() T) (v T) {
	got := make(chan T, 1)
	go func() { got <- get() }()
	select {
	case v = <-got:
	case <-time.After(debugTime):
		*missing = append(*missing, name)
	}
	return v
}

// RecentLog implements api.Backend.
func (d *daemon) RecentLog() []byte {
	if d.c.RecentLog == nil {
		return nil
	}
	return d.c.RecentLog()
}

// DebugState implements api.Backend.
func (d *daemon) DebugState(context.Context) api.DebugState {
	var missing []string
	type background struct {
		list []actuator.Background
		held actuator.Held
	}
	loop := part(&missing, "loop", d.loop.State)
	passes := part(&missing, "passes", d.passes.all)
	beside := part(&missing, "background", func() (b background) { b.list, b.held = d.actuator.Background(); return b })
	s := api.DebugState{
		Time: time.Now().UTC(), StartedAt: d.started.UTC(), PID: os.Getpid(), Version: d.c.Version, Settings: d.settings(),
		Loop:      api.DebugLoop{Workers: loop.Workers, Working: loop.Working, Passing: loop.Passing, Queue: append([]string{}, loop.Queue...)},
		Sandboxes: []api.DebugSandbox{}, Background: []api.DebugWork{}, Mounts: []string{},
	}
	s.NotReady = part(&missing, "startup", func() string {
		if err := d.startup.err(); err != nil {
			return err.Error()
		}
		return ""
	})
	s.Counts = part(&missing, "counts", processCounts)
	s.Counts.EndWaits, s.Counts.GoferSockets, s.Counts.Terminals = beside.held.Waits, beside.held.Gofers, beside.held.Terminals
	s.Counts.ProcessWatches = part(&missing, "watches of processes", d.watcher.Len)
	s.Counts.MemoryWatches = part(&missing, "watches of memory", d.alarms.Len)
	s.Counts.EventsDropped = part(&missing, "events", d.events.Dropped)
	for _, pass := range passes {
		count(&s.Counts, &pass.Observed)
	}
	for _, k := range loop.Keys {
		pass, seen := passes[k.Name]
		s.Sandboxes = append(s.Sandboxes, debugSandbox(k, pass, seen))
	}
	for _, b := range beside.list {
		s.Background = append(s.Background, api.DebugWork{Sandbox: b.Sandbox, Container: b.Container, What: b.What, Since: b.Since.UTC()})
	}
	s.Mounts = append(s.Mounts, part(&missing, "mounts", d.ownMounts)...)
	s.Missing = missing
	return s
}

// settings are those that are in force.
func (d *daemon) settings() api.DebugSettings {
	s := api.DebugSettings{
		Manifests: append([]string{}, d.c.Manifests...), StateDir: d.c.StateDir, DataDir: d.c.DataDir, Socket: d.c.Socket,
		CgroupParent: d.c.CgroupParent, ConfigFile: d.c.ConfigFile, Cgroups: int(d.cgroups.Mode()),
		ResyncSeconds: d.c.Resync.Seconds(), SettleSeconds: d.c.Settle.Seconds(), DeletionGuard: d.c.DeletionGuard,
		LogMaxBytes: d.c.MaxLogFile, LogMaxFiles: d.c.MaxLogFiles, Access: []api.DebugGrant{}, ResyncOnly: d.c.ResyncOnly,
		AllowUnsafeManifests: d.c.AllowUnsafeOwners, AllowKernelFileSystems: d.c.AllowKernelFileSystems,
		AllowBundleHooks: d.c.AllowBundleHooks, StopSandboxesOnExit: d.c.StopSandboxesOnExit, Foreground: d.c.Foreground != nil,
		DebugLog: d.c.Log.V(1).Enabled(),
	}
	for _, g := range d.c.Access {
		s.Access = append(s.Access, api.DebugGrant{GID: g.GID, Level: g.Level.String()})
	}
	return s
}

// processCounts are those of this process alone.
func processCounts() (c api.DebugCounts) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Goroutines, c.HeapBytes, c.SystemBytes = runtime.NumGoroutine(), m.HeapInuse, m.Sys-m.HeapReleased
	// What /proc does not say is 0.
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		c.OpenFiles = len(files) - 1 // the directory itself was open
	}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		if _, rest, ok := bytes.Cut(b, []byte("\nThreads:")); ok {
			n, _, _ := strings.Cut(string(rest), "\n")
			c.Threads, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		c.OpenFilesLimit = limit.Cur
	}
	return c
}

// count adds a sandbox's processes.
func count(c *api.DebugCounts, o *observed.Sandbox) {
	if o.Sentry.Lives() {
		c.Sentries++
	}
	for _, r := range slices.Concat(o.Containers, o.Servers) {
		if r.GoferRun.Lives() {
			c.Gofers++
		}
		if r.KeeperRun.Lives() {
			c.Keepers++
		}
	}
}

// debugSandbox is what the loop does to a sandbox, and what the latest pass found.
func debugSandbox(k reconcile.KeyState, pass reconcile.Pass, seen bool) api.DebugSandbox {
	s := api.DebugSandbox{
		Name: k.Name, Phase: string(k.Phase), Queued: k.Queued, Again: k.Again, NextTry: instant(k.Next), Passes: k.Passes,
		LastPass: instant(k.Last), PassSeconds: k.Took.Seconds(), LookSeconds: k.Look.Seconds(),
	}
	if k.Phase != "" {
		s.Since = instant(k.Since)
	}
	for _, a := range k.Actions {
		s.Actions = append(s.Actions, api.DebugWork{Sandbox: k.Name, Container: a.Container, What: string(a.Verb), Since: a.Since.UTC()})
	}
	for _, r := range k.Retries {
		s.Retries = append(s.Retries, api.DebugRetry{Action: string(r.Verb), Container: r.Container, Failed: r.Failed, Attempts: r.Attempts, NextTry: r.Next.UTC()})
	}
	if pass.LookErr != nil {
		s.LookError = pass.LookErr.Error()
	}
	if seen && !pass.Blind {
		s.Record = debugRecord(&pass.Observed)
	}
	return s
}

// debugRecord is a summary of records. It holds nothing of what containers were
// given: environments, hooks and the like may be secrets.
func debugRecord(o *observed.Sandbox) *api.DebugRecord {
	if o.Record == nil && o.Broken == "" && o.Image == nil {
		return nil
	}
	r := &api.DebugRecord{
		Sentry: liveness(o.Sentry), CgroupProcs: o.CgroupProcs, Checkpoint: o.Image != nil, Broken: o.Broken,
		BrokenContainers: o.BrokenContainers, Damaged: o.Damaged, ProbeError: o.ProbeError,
	}
	if rec := o.Record; rec != nil {
		r.State, r.Generation, r.GVisor, r.CreatedAt = string(rec.State), rec.Generation, rec.GVisor, instant(rec.CreatedAt)
		r.Restored, r.HostNetwork, r.SentryPID = rec.Restored, rec.HostNetwork, rec.Sentry.PID
	}
	for _, c := range slices.Concat(o.Containers, o.Servers) {
		sum := api.DebugContainer{
			Name: c.Name, ID: c.ID, State: string(c.State), Generation: c.Generation, GoferPID: c.Gofer.PID, Gofer: liveness(c.GoferRun),
			GoferRestarts: c.GoferRestarts, KeeperPID: c.Keeper.PID, Keeper: liveness(c.KeeperRun), HookPhase: string(c.HookPhase), StartedAt: instant(c.StartedAt),
		}
		if c.Exit != nil {
			sum.EndedAt, sum.ExitReason = instant(c.Exit.At), c.Exit.Reason
			if c.Exit.Known {
				sum.ExitCode = new(c.Exit.Code)
			}
		}
		r.Containers = append(r.Containers, sum)
	}
	return r
}

// liveness in words; empty: nothing is on record.
func liveness(l observed.Liveness) string {
	return map[observed.Liveness]string{observed.Alive: "alive", observed.Gone: "gone", observed.Silent: "silent"}[l]
}

// instant is nil where there is none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// ownMounts are the daemon's own lines of the table of mounts.
func (d *daemon) ownMounts() []string {
	lines, err := mountinfo.Lines(mountinfo.Concerns(append([]string{d.c.StateDir, d.c.DataDir, filepath.Dir(d.c.Socket)}, d.c.Manifests...)...))
	if err != nil {
		return []string{err.Error()}
	}
	return lines
}
