//go:build !client

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/api"
	"sandboxer/internal/claims"
	"sandboxer/internal/daemon"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/logs"
	"sandboxer/internal/owner"
	"sandboxer/internal/written"
)

// runDaemon runs the daemon until ctx is done.
func runDaemon(ctx context.Context, o daemonOptions) error {
	if os.Geteuid() != 0 {
		return errors.New("the daemon must run as root: it makes namespaces, cgroups and mounts; try again with sudo")
	}
	if err := unblockSignals(); err != nil {
		return err
	}
	out := newLossy(os.Stderr)
	defer out.finish()
	kept := &recent{}
	log := newLog(io.MultiWriter(out, kept), o.LogLevel, o.LogFormat)
	// As soon as can be: who is ended before leaves running what is to be stopped.
	ctx, stop := untilEnded(ctx, log)
	defer stop()
	c, err := readConfig(o.Config)
	if err != nil {
		return err
	}
	if err := surround(log); err != nil {
		return err
	}
	return daemon.Run(ctx, daemon.Config{
		Access:                 c.grants,
		Manifests:              o.Manifests,
		StateDir:               o.StateDir,
		DataDir:                o.DataDir,
		Socket:                 o.Socket,
		Resync:                 o.Resync,
		Settle:                 o.Settle,
		DeletionGuard:          o.DeletionGuard,
		CgroupParent:           o.CgroupParent,
		ResyncOnly:             o.ResyncOnly,
		AllowUnsafeOwners:      c.AllowUnsafeManifests,
		AllowBundleHooks:       c.AllowBundleHooks,
		AllowKernelFileSystems: c.AllowKernelFileSystems,
		ConfigFile:             o.Config,
		StopSandboxesOnExit:    o.StopSandboxesOnExit,
		MaxLogFile:             c.Logs.MaxSize.Value(),
		MaxLogFiles:            c.Logs.MaxFiles,
		Version:                buildVersion(),
		Log:                    log,
		RecentLog:              kept.bytes,
	})
}

// config is the daemon's configuration file.
type config struct {
	// AllowUnsafeManifests obeys manifests that others than root and the
	// daemon's user can write.
	AllowUnsafeManifests bool `json:"allowUnsafeManifests,omitempty"`
	// AllowKernelFileSystems lets containers mount the host's procfs, sysfs and
	// device files, with the memory of their own sandbox in them.
	AllowKernelFileSystems bool `json:"allowKernelFileSystems,omitempty"`
	// AllowBundleHooks runs the hooks that OCI bundles carry.
	AllowBundleHooks bool `json:"allowBundleHooks,omitempty"`
	// Access says what users other than root may ask of the daemon.
	Access []access   `json:"access,omitempty"`
	Logs   logsConfig `json:"logs"`

	grants []api.Grant // what Access comes to
}

// access is what the members of a group may do.
type access struct {
	Group desired.NameOrNumber `json:"group"`
	Level string               `json:"level"` // read, operate or admin
}

// grants looks groups up, and tells what is wrong with the list.
func grants(list []access, wrong func(path, format string, args ...any)) (grants []api.Grant) {
	first := map[uint32]int{}
	for i, a := range list {
		at := fmt.Sprintf("access[%d]", i)
		level, err := api.LevelOf(a.Level)
		if err != nil {
			wrong(at+".level", "%v", err)
		}
		gid, err := groupID(string(a.Group))
		if err != nil {
			wrong(at+".group", "%v", err)
			continue
		}
		if before, twice := first[gid]; twice {
			wrong(at+".group", "%s has its level from access[%d] already", a.Group, before)
			continue
		}
		first[gid] = i
		grants = append(grants, api.Grant{GID: gid, Level: level})
	}
	return grants
}

// groupID is the number of a group that is given by name or number.
func groupID(group string) (uint32, error) {
	if group == "" {
		return 0, errors.New("required: a group's name or number")
	}
	number := group
	if _, err := strconv.ParseUint(number, 10, 32); err != nil {
		g, err := user.LookupGroup(group)
		if unknown := user.UnknownGroupError(""); errors.As(err, &unknown) {
			return 0, fmt.Errorf("the host has no group %q", group)
		}
		if err != nil {
			return 0, err
		}
		number = g.Gid
	}
	gid, err := strconv.ParseUint(number, 10, 32)
	return uint32(gid), err
}

// logsConfig bounds the log of each container.
type logsConfig struct {
	MaxSize  resource.Quantity `json:"maxSize"`  // of each file
	MaxFiles int               `json:"maxFiles"` // the one that grows included
}

// The least that a log can do with: entries of 16 KiB, and a file to read on
// while the next one begins.
const (
	leastLogSize  = 64 << 10
	leastLogFiles = 2
	mostLogFiles  = 1000
)

func (l *logsConfig) check(wrong func(path, format string, args ...any)) {
	if v := l.MaxSize.Value(); v < leastLogSize {
		wrong("logs.maxSize", "%s: want 64Ki or more", l.MaxSize.String())
	}
	if l.MaxFiles < leastLogFiles || l.MaxFiles > mostLogFiles {
		wrong("logs.maxFiles", "%d: want %d to %d", l.MaxFiles, leastLogFiles, mostLogFiles)
	}
}

// notWritten refuses a configuration file that a container may have written, or may
// reach by another name. It was read by then: what was changed meanwhile shows.
func notWritten(f hostpath.File) error {
	answers := func(string) error { return nil }
	all, err := written.New(written.Dir, "", answers).Writers()
	if err != nil || len(all) == 0 {
		return err
	}
	kept, err := claims.Kept(answers)
	if err != nil {
		return err
	}
	return errors.Join(all.Planted(f.File, f.Real, kept), all.RefusalElse(f.File, f.Real))
}

// maxConfig is more than any configuration file has, in bytes.
const maxConfig = 16 << 20

// readJudged reads a configuration file. It is one object that is read and judged: a
// container that could write the folder would exchange it in between.
func readJudged(path string) ([]byte, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	asked := answers.New(self, nil)
	defer asked.Close()
	f, err := hostpath.Resolver{Answers: asked.Check, Link: hostpath.AnyLink}.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := f.Read(maxConfig)
	if err != nil {
		return nil, err
	}
	if err := owner.Check(path); err != nil {
		return nil, err
	}
	return b, errors.Join(owner.CheckOpened(f.File, f.Real), notWritten(f))
}

// readConfig reads a configuration file; one that is not there says nothing.
func readConfig(path string) (config, error) {
	c := config{Logs: logsConfig{MaxSize: *resource.NewQuantity(logs.DefaultMaxFile, resource.BinarySI), MaxFiles: logs.DefaultMaxFiles}}
	b, err := readJudged(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	var list []error
	for _, p := range desired.Strict(path, b, &c, func(wrong func(string, string, ...any)) {
		c.Logs.check(wrong)
		c.grants = grants(c.Access, wrong)
	}) {
		list = append(list, errors.New(p.String()))
	}
	return c, errors.Join(list...)
}

// newLog logs what operators want at info, what developers want at debug
// (logr's V(1)), and errors at error.
func newLog(w io.Writer, level, format string) logr.Logger {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	o := &slog.HandlerOptions{Level: levels[level], ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		// logr's V(1) is slog's level -1, between the two names.
		if a.Key == slog.LevelKey && a.Value.Any().(slog.Level) < slog.LevelInfo {
			a.Value = slog.StringValue("DEBUG")
		}
		return a
	}}
	if format == "json" {
		return logr.FromSlogHandler(slog.NewJSONHandler(w, o))
	}
	return logr.FromSlogHandler(slog.NewTextHandler(w, o))
}
