package main

import (
	"io"
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command's -o offers what the command takes, and no flag with a value, and
// no word, is completed by files where it means none.
func TestEverythingCompletes(t *testing.T) {
	paths := map[string]bool{"validate": true, "plan": true} // whose words are files
	for _, cmd := range below((&cli{stdout: io.Discard, stderr: io.Discard}).root()) {
		if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 && !paths[cmd.Name()] {
			t.Errorf("%s: its words are completed by files", cmd.CommandPath())
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			complete, ok := cmd.GetFlagCompletionFunc(f.Name)
			if !ok && f.NoOptDefVal == "" {
				t.Errorf("%s --%s is completed by files", cmd.CommandPath(), f.Name)
			}
			if f.Name != "output" || !ok {
				return
			}
			words, directive := complete(cmd, nil, "")
			if cmd.Parent().Name() == "debug" { // it names a file
				if len(words) > 0 || directive != cobra.ShellCompDirectiveDefault {
					t.Errorf("%s --output: %q, %v", cmd.CommandPath(), words, directive)
				}
				return
			}
			if directive != cobra.ShellCompDirectiveNoFileComp || !slices.Contains(words, "json") || !slices.Contains(words, f.DefValue) {
				t.Errorf("%s --output: %q, %v", cmd.CommandPath(), words, directive)
			}
		})
	}
}
