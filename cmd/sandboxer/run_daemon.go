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
	"strconv"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/daemon"
	"sandboxer/internal/logs"
	"sandboxer/internal/owner"
)

// runDaemon runs the daemon until ctx is done.
func runDaemon(ctx context.Context, o daemonOptions) error {
	if err := unblockSignals(); err != nil {
		return err
	}
	c, err := readConfig(o.Config)
	if err != nil {
		return err
	}
	out := newLossy(os.Stderr)
	defer out.finish()
	log := newLog(out, o.LogLevel, o.LogFormat)
	if err := surround(log); err != nil {
		return err
	}
	ctx, stop := untilEnded(ctx, log)
	defer stop()
	may, err := grants(c.Access)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Config, err)
	}
	return daemon.Run(ctx, daemon.Config{
		Access:                 may,
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
}

// access is what the members of a group may do.
type access struct {
	Group desired.NameOrNumber `json:"group"`
	Level string               `json:"level"` // read, operate or admin
}

// grants looks groups up.
func grants(list []access) (grants []api.Grant, err error) {
	for i, a := range list {
		level, err := api.LevelOf(a.Level)
		if err != nil {
			return nil, fmt.Errorf("access[%d].level: %w", i, err)
		}
		gid, err := strconv.ParseUint(string(a.Group), 10, 32)
		if err != nil {
			g, err := user.LookupGroup(string(a.Group))
			if err != nil {
				return nil, fmt.Errorf("access[%d].group: %w", i, err)
			}
			if gid, err = strconv.ParseUint(g.Gid, 10, 32); err != nil {
				return nil, fmt.Errorf("access[%d].group: %s: %w", i, a.Group, err)
			}
		}
		grants = append(grants, api.Grant{GID: uint32(gid), Level: level})
	}
	return grants, nil
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

func (l *logsConfig) check() error {
	if v := l.MaxSize.Value(); v < leastLogSize {
		return fmt.Errorf("logs.maxSize: %s: want 64Ki or more", l.MaxSize.String())
	}
	if l.MaxFiles < leastLogFiles || l.MaxFiles > mostLogFiles {
		return fmt.Errorf("logs.maxFiles: %d: want %d to %d", l.MaxFiles, leastLogFiles, mostLogFiles)
	}
	return nil
}

// readConfig reads a configuration file; one that is not there says nothing.
func readConfig(path string) (config, error) {
	c := config{Logs: logsConfig{MaxSize: *resource.NewQuantity(logs.DefaultMaxFile, resource.BinarySI), MaxFiles: logs.DefaultMaxFiles}}
	b, err := readAnswering(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = owner.Check(path)
	}
	if err != nil {
		return c, err
	}
	if problems := desired.Strict(path, b, &c); len(problems) > 0 {
		var list []error
		for _, p := range problems {
			list = append(list, errors.New(p.String()))
		}
		return c, errors.Join(list...)
	}
	if err := c.Logs.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
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
