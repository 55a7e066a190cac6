package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandboxer/desired"
	"sandboxer/internal/answers"
)

func (c *cli) validateCommand() *cobra.Command {
	var noHost bool
	command := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check manifests without a daemon",
		Long: `Checks files and folders of manifests without a daemon, as strictly as the
daemon does, and what they name on this host: bundles, roots, volumes, files
with values, checkpoints, hooks. Every fault is printed as
"file:line: path: message"
and makes the exit code 1.`,
		Example: "  sandboxer validate web.yaml\n  sandboxer validate /etc/sandboxer.d",
		Args:    args(cobra.MinimumNArgs(1), "files or folders"),
		RunE: func(_ *cobra.Command, paths []string) error {
			asked := answers.New(self, nil)
			defer asked.Close()
			set := desired.ReadDir(paths, asked.Scan(answers.Limit))
			for _, name := range slices.Sorted(maps.Keys(set.Sandboxes)) {
				if !noHost {
					set.Problems = append(set.Problems, onHost(set.Sandboxes[name], asked.Check)...)
				}
			}
			for _, p := range set.Skipped {
				fmt.Fprintf(c.stderr, "not read: %s\n", p)
			}
			for _, p := range set.Problems {
				fmt.Fprintln(c.stdout, p)
			}
			if n := len(set.Problems); n > 0 {
				fmt.Fprintf(c.stderr, "%s found; %s valid.\n", count(n, "fault", "faults"), count(len(set.Sandboxes), "sandbox", "sandboxes"))
				return errFailed
			}
			names := ""
			if len(set.Sandboxes) > 0 {
				names = ": " + strings.Join(slices.Sorted(maps.Keys(set.Sandboxes)), ", ")
			}
			_, err := fmt.Fprintf(c.stdout, "%s valid%s\n", count(len(set.Sandboxes), "sandbox", "sandboxes"), names)
			return err
		},
	}
	command.Flags().BoolVar(&noHost, "no-host", false, "leave out what the manifests name on the host")
	return command
}

// count is "1 fault", "2 faults".
func count(n int, one, more string) string {
	if n == 1 {
		more = one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of manifests",
		Long:    "Prints the JSON Schema of a manifest document, for editors to check with.",
		Example: "  sandboxer schema > sandboxer.schema.json",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			b, err := desired.Schema()
			if err == nil {
				_, err = c.stdout.Write(b)
			}
			return err
		},
	}
}
