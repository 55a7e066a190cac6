package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// daemonOptions are the daemon's flags, checked and filled in.
type daemonOptions struct {
	Manifests           []string
	StateDir            string
	DataDir             string
	Socket              string
	Config              string
	Resync              time.Duration
	Settle              time.Duration
	DeletionGuard       float64
	CgroupParent        string
	ResyncOnly          bool
	LogLevel            string
	LogFormat           string
	StopSandboxesOnExit bool
}

// check refuses what makes no sense, before anything is touched.
func (o *daemonOptions) check() error {
	switch {
	case len(o.Manifests) == 0:
		return usagef("--manifests needs at least one directory")
	case o.Resync <= 0:
		return usagef("--resync %s: want more than 0", o.Resync)
	case o.Settle < 0:
		return usagef("--settle %s: want 0 or more", o.Settle)
	case !(o.DeletionGuard >= 0 && o.DeletionGuard <= 1):
		return usagef("--deletion-guard %v: want a share from 0 to 1 (1 turns it off)", o.DeletionGuard)
	case !filepath.IsAbs(o.CgroupParent) || filepath.Clean(o.CgroupParent) == "/":
		return usagef("--cgroup-parent %s: want a path such as /sandboxer, below each hierarchy's mount point", o.CgroupParent)
	}
	o.CgroupParent = filepath.Clean(o.CgroupParent)
	return errors.Join(
		oneOf("log-level", o.LogLevel, "debug", "info", "warn", "error"),
		oneOf("log-format", o.LogFormat, "text", "json"))
}

// noteConfig warns of a configuration file that was asked for and is not there: what
// it is to say, such as who has access, does not hold. One that is made later, or
// never, is no reason to leave sandboxes alone.
func (c *cli) noteConfig(cmd *cobra.Command, path string) {
	if !cmd.Flags().Changed("config") {
		return
	}
	if _, err := readAnswering(path); errors.Is(err, fs.ErrNotExist) {
		c.say("sandboxer: --config %s is not there: all settings have their defaults", path)
	}
}

func (c *cli) daemonCommand() *cobra.Command {
	var o daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run the daemon in the foreground",
		Long: `Runs the daemon in the foreground; it needs root.

SIGTERM, Ctrl-C or the end of its terminal ends the daemon and leaves every
sandbox running: a later daemon takes them over as they are.

It listens on --socket, else on sandboxer.sock in the state directory, whatever
$` + socketEnv + ` says: that is where the other commands ask.`,
		Example: "  sandboxer daemon\n" +
			"  sandboxer daemon --manifests ./manifests --state-dir /tmp/s/run --data-dir /tmp/s/data --stop-sandboxes-on-exit",
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c.noteConfig(cmd, o.Config)
			// The environment's is where clients ask, of any daemon.
			if o.Socket = c.socket; o.Socket == "" {
				o.Socket = filepath.Join(o.StateDir, "sandboxer.sock")
			}
			return c.runDaemon(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Manifests, "manifests", []string{"/etc/sandboxer.d"}, "directory of manifests; can be given more than once")
	f.StringVar(&o.StateDir, "state-dir", defaultState, "records of what runs; need not survive a reboot")
	f.StringVar(&o.DataDir, "data-dir", "/var/lib/sandboxer", "accepted manifests, what is remembered, logs, volumes and checkpoints")
	f.StringVar(&o.Config, "config", "/etc/sandboxer/config.yaml", "settings; may be missing")
	f.DurationVar(&o.Resync, "resync", 30*time.Second, "how often everything is looked at anew, events or not")
	f.BoolVar(&o.ResyncOnly, "resync-only", false, "act at each resync alone: no file events, no ends of processes, no timers")
	f.DurationVar(&o.Settle, "settle", time.Second, "how long a document must be absent before it counts as removed")
	f.Float64Var(&o.DeletionGuard, "deletion-guard", 0.5, "share of the sandboxes beyond which removals are held; 1: never")
	f.StringVar(&o.CgroupParent, "cgroup-parent", "/sandboxer", "parent of every sandbox's cgroup")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	f.BoolVar(&o.StopSandboxesOnExit, "stop-sandboxes-on-exit", false, "stop every sandbox when the daemon ends")
	return cmd
}
