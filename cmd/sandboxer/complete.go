package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"sandboxer/internal/api"
)

// completeTime is how long a shell waits for what the daemon knows.
const completeTime = 2 * time.Second

// Nothing is completed by files where none are meant.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// completer offers a shell what can follow.
type completer = cobra.CompletionFunc

// sandboxes asks the daemon what there is; nothing where it does not answer.
func (c *cli) sandboxes(ctx context.Context) []api.Sandbox {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	client := c.client()
	defer client.Close()
	list, err := client.List(ctx)
	if err != nil {
		return nil
	}
	// A rejected document can have any name.
	return slices.DeleteFunc(list.Items, func(s api.Sandbox) bool {
		return s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != ""
	})
}

// runs says of a container that something can be done in it.
func runs(ct api.Container) bool { return ct.State == "running" }

// anyContainer takes all.
func anyContainer(api.Container) bool { return true }

// completeNames offers names of sandboxes that were not said yet.
func (c *cli) completeNames(cmd *cobra.Command, said []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.names(cmd, said, func(api.Sandbox) bool { return true }), noFiles
}

// completeName offers the name of one sandbox.
func (c *cli) completeName(cmd *cobra.Command, said []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(said) > 0 {
		return nil, noFiles
	}
	return c.completeNames(cmd, said, begun)
}

// completeHeld offers the sandboxes whose deletion is held.
func (c *cli) completeHeld(cmd *cobra.Command, said []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.names(cmd, said, func(s api.Sandbox) bool { return condition(s.Status, api.DeletionHeld) != nil }), noFiles
}

func (c *cli) names(cmd *cobra.Command, said []string, wanted func(api.Sandbox) bool) (names []string) {
	for _, s := range c.sandboxes(cmd.Context()) {
		if wanted(s) && !slices.Contains(said, s.Name) {
			names = append(names, cobra.CompletionWithDesc(s.Name, string(s.Status.Phase)))
		}
	}
	return names
}

// completeTargets offers names of sandboxes and, behind a slash, those of their
// containers that are wanted; no more than most, 0: any number.
func (c *cli) completeTargets(most int, wanted func(api.Container) bool) completer {
	return func(cmd *cobra.Command, said []string, begun string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(said) >= most {
			return nil, noFiles
		}
		name, _, inside := strings.Cut(begun, "/")
		if !inside {
			return c.completeNames(cmd, said, begun)
		}
		var found []string
		for _, ct := range c.containers(cmd.Context(), name, wanted) {
			if target := name + "/" + ct; !slices.Contains(said, strings.SplitN(target, "\t", 2)[0]) {
				found = append(found, target)
			}
		}
		return found, noFiles
	}
}

// containers are the wanted ones of a sandbox, each with its state behind it.
func (c *cli) containers(ctx context.Context, sandbox string, wanted func(api.Container) bool) (found []string) {
	for _, s := range c.sandboxes(ctx) {
		if s.Name != sandbox {
			continue
		}
		for _, ct := range s.Status.All() {
			if wanted(ct) {
				found = append(found, cobra.CompletionWithDesc(ct.Name, ct.State))
			}
		}
	}
	return found
}

// completeContainer offers the containers of the sandbox that was named, for a
// flag.
func (c *cli) completeContainer(wanted func(api.Container) bool) completer {
	return func(cmd *cobra.Command, said []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(said) == 0 {
			return nil, noFiles
		}
		return c.containers(cmd.Context(), said[0], wanted), noFiles
	}
}

// completeExec offers where a command can be run, and before the command a
// container behind its flag: to cobra all that follows the NAME is the command.
func (c *cli) completeExec(cmd *cobra.Command, said []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(said) == 0 {
		return c.completeTargets(1, runs)(cmd, said, begun)
	}
	if cmd.Flags().Parse(said[1:]) != nil || cmd.Flags().NArg() > 0 || len(c.line) < 2 {
		return nil, noFiles // of what is in the container nobody here knows
	}
	flag, _, inOne := strings.Cut(c.line[len(c.line)-1], "=")
	switch {
	case inOne && strings.HasPrefix(flag, "-"):
	case strings.HasPrefix(begun, "-"):
		return flagsOf(cmd), noFiles
	default:
		flag = c.line[len(c.line)-2]
	}
	short := strings.HasPrefix(flag, "-") && !strings.HasPrefix(flag, "--") && strings.HasSuffix(flag, "c")
	if flag != "--container" && !short {
		return nil, noFiles
	}
	return c.containers(cmd.Context(), said[0], runs), noFiles
}

// completeKill offers where a signal can be sent, and then which.
func (c *cli) completeKill(cmd *cobra.Command, said []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(said) == 1 && !cmd.Flags().Changed("signal") {
		return completeSignals(cmd, said, begun)
	}
	return c.completeTargets(1, runs)(cmd, said, begun)
}

// lastSignal is the last one that is no real-time signal.
const lastSignal = 31

// completeSignals offers the signals, as they are begun to be written.
func completeSignals(_ *cobra.Command, _ []string, begun string) (names []string, _ cobra.ShellCompDirective) {
	short := begun != "" && !strings.HasPrefix("SIG", strings.ToUpper(begun)[:min(len(begun), 3)])
	for n := unix.Signal(1); n <= lastSignal; n++ {
		name := unix.SignalName(n)
		if short {
			name = strings.TrimPrefix(name, "SIG")
		}
		if begun != "" && begun == strings.ToLower(begun) {
			name = strings.ToLower(name)
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names, noFiles
}

// completeLabels offers what a selector can ask for of the labels that there are.
func (c *cli) completeLabels(cmd *cobra.Command, _ []string, begun string) (found []string, _ cobra.ShellCompDirective) {
	before := ""
	if i := strings.LastIndexByte(begun, ','); i >= 0 {
		before, begun = begun[:i+1], begun[i+1:]
	}
	not := strings.HasPrefix(begun, "!")
	is := "=" // as it is begun to be written, if it is
	if i := strings.IndexAny(begun, "!="); i > 0 {
		is = begun[i:]
		if is = is[:len(is)-len(strings.TrimLeft(is, "!="))]; is == "!" {
			is = "!="
		}
	}
	for _, s := range c.sandboxes(cmd.Context()) {
		for key, value := range s.Labels {
			if not {
				found = append(found, before+"!"+key)
			} else {
				found = append(found, before+key+is+value)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), noFiles
}

// completeGoals offers what can be waited for.
func completeGoals(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return goals(), noFiles
}

// completeWords has a flag that takes one of some words offer those.
func completeWords(words ...string) completer { return cobra.FixedCompletions(words, noFiles) }

// completeManifest offers files that can hold one.
func completeManifest(_ *cobra.Command, said []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(said) > 0 {
		return nil, noFiles
	}
	return completeConfig(nil, nil, "")
}

// completeConfig offers files that can be the daemon's settings.
func completeConfig(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeFolder offers folders.
func completeFolder(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeFile offers files of any kind.
func completeFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// flagsOf are a command's flags.
func flagsOf(cmd *cobra.Command) (names []string) {
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		names = append(names, cobra.CompletionWithDesc("--"+f.Name, f.Usage))
	})
	return names
}

// below are the commands of a command, and theirs.
func below(cmd *cobra.Command) (all []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		all = append(append(all, sub), below(sub)...)
	}
	return all
}

// completions has every command's flags offer what they take. What is in none of
// these takes no file, and neither does a command that says nothing of its
// arguments and takes none.
func (c *cli) completions(root *cobra.Command) {
	levels := completeWords("debug", "info", "warn", "error")
	of := map[string]completer{
		"container": c.completeContainer(anyContainer), "selector": c.completeLabels, "signal": completeSignals,
		"for": completeGoals, "log-level": levels, "log-format": completeWords("text", "json"), "config": completeConfig,
		"manifests": completeFolder, "state-dir": completeFolder, "data-dir": completeFolder, "image-path": completeFolder,
	}
	for _, cmd := range below(root) {
		if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && cmd.Args != nil && cmd.Args(cmd, nil) == nil && cmd.Args(cmd, []string{""}) != nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			complete := of[f.Name]
			if complete == nil && f.NoOptDefVal == "" {
				complete = cobra.NoFileCompletions
			}
			if complete != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // a command's own goes before
			}
		})
	}
}
