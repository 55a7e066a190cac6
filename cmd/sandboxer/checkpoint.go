package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (c *cli) checkpointCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "checkpoint NAME",
		Short: "Write a checkpoint of a running sandbox",
		Long: `Writes the processes of a sandbox, with their memory and open files, into a
directory of the daemon's host. The sandbox is frozen meanwhile and then goes
on as it was. A manifest with restoreFrom: DIR starts from there.`,
		Example:           "  sandboxer checkpoint web --image-path /srv/checkpoints/web-1\n  sandboxer checkpoint web --image-path ./web-2",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeName,
		RunE: func(cmd *cobra.Command, names []string) error {
			if path == "" {
				return usagef("--image-path is required: a directory that is not there yet")
			}
			dir, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			t, err := lookUpWhole(cmd.Context(), client, names[0])
			if err != nil {
				return err
			}
			done, err := client.Checkpoint(cmd.Context(), t.sandbox.Name, dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "%s: %d bytes in %s\n", done.Sandbox, done.Bytes, done.Path)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "image-path", "", "directory to write, which is not there yet or empty; required")
	return cmd
}
