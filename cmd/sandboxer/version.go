package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

// What the linker sets (-X main.version=…); empty in a plain go build.
var version, commit, date string

// buildVersion says which build this is, from the linker or else from what the
// Go tool noted.
func buildVersion() api.Version {
	v := api.Version{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = cmp.Or(v.Commit, s.Value)
			case "vcs.time":
				v.Date = cmp.Or(v.Date, s.Value)
			}
		}
		for _, m := range info.Deps {
			if m.Path == "gvisor.dev/gvisor" {
				v.GVisor = m.Version
			}
		}
		v.Version = cmp.Or(v.Version, info.Main.Version)
	}
	v.Version = cmp.Or(v.Version, "(devel)")
	return v
}

func (c *cli) versionCommand() *cobra.Command {
	outputs := []string{"text", "json"}
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Long:    "Prints which build this program is. GET /v1/version asks the daemon the same.",
		Example: "  sandboxer version\n  sandboxer version -o json",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			v := buildVersion()
			if output == "json" {
				return printValue(c.stdout, v, false)
			}
			_, err := fmt.Fprintf(c.stdout, "sandboxer %s\ncommit  %s\nbuilt   %s\ngo      %s\ngvisor  %s\n",
				v.Version, dash(v.Commit), dash(v.Date), v.Go, dash(v.GVisor))
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	return cmd
}

func (c *cli) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a shell's completion script",
		Long: `Prints the completion script of bash, zsh, fish or powershell: of commands,
flags and their values, and of the names of sandboxes and containers that the
daemon knows (behind NAME/ and -c), signals, labels and what can be waited for.

That of bash needs the package bash-completion, that of zsh its compinit.`,
		Example:   "  sandboxer completion bash > /etc/bash_completion.d/sandboxer\n  source <(sandboxer completion zsh)",
		Args:      args(cobra.ExactArgs(1), "one SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.stdout, true)
			case "zsh":
				return root.GenZshCompletion(c.stdout)
			case "fish":
				return root.GenFishCompletion(c.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.stdout)
			}
			return usagef("there is no completion for %s; there is for bash, zsh, fish and powershell", args[0])
		},
	}
}
