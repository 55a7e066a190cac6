package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

func (c *cli) planCommand() *cobra.Command {
	outputs := []string{"table", "wide", "json"}
	var output string
	var exit bool
	cmd := &cobra.Command{
		Use:   "plan [PATH...]",
		Short: "Show what would be done, and why",
		Long: `Shows what the daemon would do, and why, if the files or folders were its
manifests, and its only ones: what runs and is not in them shows as to be
destroyed. Without any it shows what it is about to do. Nothing is changed.
Faults in them make the exit code 1; what on the host is in the way of a start
is a note. A PATH of - is stdin.

With --exit-code it ends with 3 where there is something to do.`,
		Example: "  sandboxer plan\n  sandboxer plan ./manifests\n  sandboxer plan web.yaml -o json\n" +
			"  sandboxer plan --exit-code ./manifests >/dev/null; [ $? = 3 ] && echo \"it would change something\"",
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			paths, piped, err := keepStdin(paths)
			if err != nil {
				return err
			}
			defer os.RemoveAll(piped)
			absolute := []string{}
			for _, p := range paths {
				abs, err := filepath.Abs(p)
				if err != nil {
					return err
				}
				absolute = append(absolute, abs)
			}
			client := c.client()
			defer client.Close()
			plan, err := client.Plan(cmd.Context(), absolute)
			if err != nil {
				return err
			}
			if piped != "" {
				unpipe(plan.Problems, piped)
				unpipe(plan.Notes, piped)
			}
			if err := c.showPlan(plan, output); err != nil {
				return err
			}
			for _, p := range plan.Problems {
				c.say("%s", printable(p))
			}
			if len(plan.Problems) > 0 {
				return errFailed
			}
			if exit && len(plan.Actions) > 0 {
				return exitCode(exitChanges)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	cmd.Flags().BoolVar(&exit, "exit-code", false, "end with 3 where there is something to do")
	return cmd
}

// unpipe has what is said of the file that stdin was kept in said of stdin.
func unpipe(texts []string, dir string) {
	file := filepath.Join(dir, stdinFile)
	for i, t := range texts {
		texts[i] = strings.ReplaceAll(strings.ReplaceAll(t, file, stdinName), strings.TrimPrefix(file, "/"), stdinName)
	}
}

func (c *cli) showPlan(plan api.Plan, output string) error {
	if output == "json" {
		return printValue(c.stdout, plan, false)
	}
	switch {
	case len(plan.Actions) > 0:
	case len(plan.Problems) > 0 || len(plan.Notes) > 0:
		return showNotes(c.stdout, plan.Notes) // problems say themselves that not all is
	default:
		_, err := fmt.Fprintln(c.stdout, "Nothing to do: all is as declared.")
		return err
	}
	t := &table{w: c.stdout, width: columns(c.stdout), wide: output == "wide", wrap: true, columns: []column{
		{title: "ACTION"}, {title: "OBJECT", most: 24}, {title: "CHANGE"}, {title: "REASON"}}}
	var rows [][]string
	for _, a := range plan.Actions {
		object := strings.TrimSuffix(a.Sandbox+"/"+a.Container, "/")
		rows = append(rows, []string{a.Action, object, dash(a.Class), a.Reason})
	}
	t.fit(rows)
	if err := t.head(); err != nil {
		return err
	}
	for _, r := range rows {
		if err := t.row(r); err != nil {
			return err
		}
	}
	return showNotes(c.stdout, plan.Notes)
}

// showNotes shows what a plan has no action for.
func showNotes(w io.Writer, notes []string) error {
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, printable(localTimes("Note: "+n))); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm-deletions [NAME...]",
		Short: "Let held deletions go ahead",
		Long: `Lets the deletions go ahead that the deletion guard holds because too many
sandboxes would go at once: those of the NAMEs, or all. "sandboxer get" shows
them with DeletionHeld. A NAME of which none is held hinders no other.
It does not wait: what runs in them has its grace period to end.`,
		Example:           "  sandboxer confirm-deletions\n  sandboxer confirm-deletions web db",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeHeld,
		RunE: func(cmd *cobra.Command, names []string) error {
			client := c.client()
			defer client.Close()
			done, err := client.ConfirmDeletions(cmd.Context(), names)
			if err != nil {
				return err
			}
			switch {
			case len(done.Confirmed) > 0:
				_, err = fmt.Fprintf(c.stdout, "Deletion begins: %s\n\"sandboxer get\" lists each until it is gone.\n", strings.Join(done.Confirmed, ", "))
			case len(names) == 0:
				_, err = fmt.Fprintln(c.stdout, "No deletions are held.")
			}
			if len(done.NotHeld) > 0 {
				return errors.Join(err, fmt.Errorf("no deletion is held of %s: \"sandboxer get\" shows which are, with DeletionHeld", strings.Join(done.NotHeld, ", ")))
			}
			return err
		},
	}
}
