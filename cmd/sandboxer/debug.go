package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

func (c *cli) debugCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Gather a bug report; look into the daemon",
		Long: `Gathers what a bug report needs, and shows how the daemon itself stands: for who
looks for a fault in sandboxer. The daemon answers admins alone, and also where
it answers nothing else any more.`,
		Example: "  sandboxer debug dump\n  sandboxer debug state\n  sandboxer debug pprof profile --seconds 30 -o cpu.pb.gz",
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) > 0 {
				return usagef("there is no command \"debug %s\"; there are dump, state and pprof", list[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.dumpCommand(), c.stateCommand(), c.pprofCommand())
	return cmd
}

func (c *cli) dumpCommand() *cobra.Command {
	var d dump
	var output string
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Gather a bug report in one file",
		Long: `Gathers for a bug report, in one tar.gz: versions, facts of the host, settings,
accepted manifests, status of all sandboxes, summaries of their records, events,
the end of the daemon's log, what it does at present, and its goroutines. It
changes nothing. What can't be had is said, and left out; where the daemon does
not answer, what is in its directories is taken.

Values are left out that may be secret: of variables (those in files are never
read), headers, hooks' variables and "files" volumes, also where a message has
them. --with-env keeps literal values of containers' variables. Commands,
arguments, paths, labels and names stay, and so does what programs, hooks and
probes have said in messages, with values that are declared no more, and what
these quote of rejected documents: read it before you give it away.`,
		Example: "  sandboxer debug dump\n  sandboxer debug dump -o - | ssh desk 'cat >report.tar.gz'",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now().UTC()
			d.name = "sandboxer-debug-" + now.Format("20060102T150405Z")
			if output == "" {
				output = d.name + ".tar.gz"
			}
			if output == stdinName && terminal(c.stdout) {
				return usagef("a bug report is not text: name a file with -o")
			}
			client := c.client()
			defer client.Close()
			d.gather(cmd.Context(), client, now)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			for _, m := range d.missing {
				c.say("Not in it: %s", m)
			}
			if err := c.writeTo(output, d.write); err != nil {
				return err
			}
			if output != stdinName {
				c.say("%s: read it before you give it away; README.txt in it says what was left out.", output)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "file to write, which is not there yet; -: stdout (default sandboxer-debug-TIME.tar.gz)")
	f.BoolVar(&d.withEnv, "with-env", false, "keep literal values of containers' variables")
	f.StringVar(&d.stateDir, "state-dir", defaultState, "the daemon's, where it does not answer")
	f.StringVar(&d.dataDir, "data-dir", "/var/lib/sandboxer", "the daemon's, where it does not answer")
	f.StringVar(&d.config, "config", "/etc/sandboxer/config.yaml", "the daemon's, where it does not answer")
	_ = cmd.RegisterFlagCompletionFunc("output", completeFile) // it has none yet
	return cmd
}

func (c *cli) stateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "state",
		Short: "Show what the daemon does at present, as JSON",
		Long: `Shows how the daemon itself stands, as JSON: what is done to each sandbox and
since when, what waits, when it is tried next, how long the latest pass took,
what goes on beside, counts of what it holds, and its settings. What is in it
may be otherwise in any version.`,
		Example: "  sandboxer debug state",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := c.client()
			defer client.Close()
			s, err := client.DebugState(cmd.Context())
			if err != nil {
				return err
			}
			return printValue(c.stdout, s, false)
		},
	}
}

func (c *cli) pprofCommand() *cobra.Command {
	var output string
	var seconds, debug int
	cmd := &cobra.Command{
		Use:   "pprof PROFILE",
		Short: "Take a profile of the daemon",
		Long: `Takes a profile of the daemon, one of
` + strings.Join(api.Profiles, ", ") + `.
"go tool pprof" reads it, and "go tool trace" the trace. Of block, mutex,
profile (of the CPU) and trace, which are taken over a time, one is taken at a
time. With --debug 1 or 2 all but profile and trace are text (goroutine: 2 is
what a crash prints).`,
		Example:   "  sandboxer debug pprof heap -o heap.pb.gz\n  sandboxer debug pprof goroutine --debug 2",
		Args:      args(cobra.ExactArgs(1), "one PROFILE"),
		ValidArgs: api.Profiles,
		RunE: func(cmd *cobra.Command, names []string) error {
			if !slices.Contains(api.Profiles, names[0]) {
				return usagef("there is no profile %q; there are %s", names[0], strings.Join(api.Profiles, ", "))
			}
			if seconds < 0 || debug < 0 {
				return usagef("--seconds and --debug: want 0 or more")
			}
			client := c.client()
			defer client.Close()
			if output == stdinName && debug == 0 && terminal(c.stdout) {
				return usagef("a profile is not text: name a file with -o, or say --debug 1")
			}
			return c.writeTo(output, func(w io.Writer) error { return client.Profile(cmd.Context(), names[0], debug, seconds, w) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", stdinName, "file to write, which is not there yet; -: stdout")
	f.IntVar(&seconds, "seconds", 0, "how long it is taken; 0: as long as the daemon likes (10 s)")
	f.IntVar(&debug, "debug", 0, "1 or 2: as text")
	_ = cmd.RegisterFlagCompletionFunc("output", completeFile) // it has none yet
	return cmd
}

// writeTo has a file written that is not there yet and that nobody else can read; -
// is stdout. Of one that could not be written nothing is left.
func (c *cli) writeTo(path string, write func(io.Writer) error) error {
	if path == stdinName {
		return write(c.stdout)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
