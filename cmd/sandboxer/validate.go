package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandboxer/desired"
	"sandboxer/internal/answers"
	"sandboxer/internal/checkpoint"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/infra"
	"sandboxer/internal/sources"
	"sandboxer/reconcile/plan"
)

func (c *cli) validateCommand() *cobra.Command {
	var noHost bool
	command := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check manifests without a daemon",
		Long: `Checks files and folders of manifests without a daemon, as strictly as the
daemon does, and what they name on this host: bundles, roots, volumes, files
with values, checkpoints, hooks, console sockets, the folders of pid files and
user logs. Every fault is printed as "file:line: field: what is wrong" and makes
the exit code 1. What is allowed and most likely not meant is told as
"Note: ..." on stderr. A PATH of - is stdin.`,
		Example: "  sandboxer validate web.yaml\n  sandboxer validate /etc/sandboxer.d",
		Args:    args(cobra.MinimumNArgs(1), "files or folders"),
		RunE: func(_ *cobra.Command, paths []string) error {
			asked := answers.New(self, nil)
			defer asked.Close()
			paths, piped, err := keepStdin(paths)
			if err != nil {
				return err
			}
			defer os.RemoveAll(piped)
			shown := func(p desired.Problem) string {
				if piped != "" && filepath.Dir(p.File) == piped {
					p.File = stdinName
				}
				return printable(p.String())
			}
			set := desired.ReadDir(paths, asked.Scan(answers.Limit))
			host := thisHost(asked)
			for _, name := range slices.Sorted(maps.Keys(set.Sandboxes)) {
				if !noHost {
					set.Problems = append(set.Problems, host.Sandbox(set.Sandboxes[name])...)
				}
			}
			set.Problems = desired.Place(set.Problems)
			for _, p := range set.Skipped {
				c.say("not read: %s", shown(p))
			}
			for _, p := range set.Problems {
				fmt.Fprintln(c.stdout, shown(p))
			}
			for _, n := range desired.Place(set.Notes()) {
				c.say("Note: %s (sandbox %s)", shown(n), n.Name)
			}
			for _, p := range set.Problems {
				delete(set.Sandboxes, p.Name) // what the host lacks is known of accepted ones alone
			}
			if n := len(set.Problems); n > 0 {
				c.say("%s found; %s valid.", count(n, "fault", "faults"), count(len(set.Sandboxes), "sandbox", "sandboxes"))
				return errFailed
			}
			names := ""
			if len(set.Sandboxes) > 0 {
				names = ": " + strings.Join(slices.Sorted(maps.Keys(set.Sandboxes)), ", ")
			}
			_, err = fmt.Fprintf(c.stdout, "%s valid%s\n", count(len(set.Sandboxes), "sandbox", "sandboxes"), names)
			return err
		},
	}
	command.Flags().BoolVar(&noHost, "no-host", false, "leave out what the manifests name on the host")
	return command
}

// thisHost is the host as who has no daemon sees it.
func thisHost(asked *answers.Checker) sources.Host {
	return sources.Host{
		Answers: asked.Check, Paths: hostpath.Resolver{Answers: asked.Check, Link: hostpath.AnyLink}, BundleHooks: true,
		Checkpoint: func(s *desired.Sandbox, dir string) error {
			if err := asked.Check(dir); err != nil {
				return err
			}
			image, err := checkpoint.Read(dir, infra.Checkpoints(buildVersion().GVisor))
			if err != nil {
				return err
			}
			if why := plan.Refusal(image, plan.Declare(s)); why != "" {
				return errors.New(why)
			}
			return nil
		},
	}
}

// stdinName is what stdin is called among the PATHs.
const stdinName = "-"

// stdinFile is the name of the file that it is kept in.
const stdinFile = "stdin.yaml"

// keepStdin has stdin, where a path means that, in a file: a manifest is read more
// than once. dir is what to remove, empty where there is none.
func keepStdin(paths []string) (kept []string, dir string, err error) {
	for _, p := range paths {
		if p != stdinName && p != "/dev/stdin" && p != "/dev/fd/0" {
			kept = append(kept, p)
			continue
		}
		if dir != "" {
			return nil, "", errors.Join(usagef("stdin can be read once"), os.RemoveAll(dir))
		}
		if dir, err = os.MkdirTemp("", "sandboxer-stdin-"); err != nil {
			return nil, "", err
		}
		data, err := io.ReadAll(io.LimitReader(os.Stdin, desired.MaxFileSize+1))
		file := filepath.Join(dir, stdinFile)
		if err == nil {
			err = os.WriteFile(file, data, 0o600)
		}
		if err != nil {
			return nil, "", errors.Join(err, os.RemoveAll(dir))
		}
		kept = append(kept, file)
	}
	return kept, dir, nil
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
