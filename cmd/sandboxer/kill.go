package main

import (
	"cmp"
	"errors"

	"github.com/spf13/cobra"

	"sandboxer/desired"
	"sandboxer/internal/api"
)

func (c *cli) killCommand() *cobra.Command {
	var sig, container string
	var all bool
	cmd := &cobra.Command{
		Use:   "kill NAME[/CONTAINER] [SIGNAL]",
		Short: "Send a signal to a container",
		Long: `Sends a signal, SIGTERM unless said otherwise, to the first process of a
container, or to all of them. What follows an end is the container's
restartPolicy's business: to stop a sandbox for good, declare it Stopped.

With --all and no container named, it goes to every process of the sandbox.`,
		Example:           "  sandboxer kill web SIGHUP\n  sandboxer kill web/app -s KILL --all",
		Args:              args(cobra.RangeArgs(1, 2), "a NAME and perhaps a signal"),
		ValidArgsFunction: c.completeKill,
		RunE: func(cmd *cobra.Command, list []string) error {
			switch {
			case len(list) == 1 && sig == "":
				sig = "SIGTERM"
			case len(list) == 2 && sig != "":
				return usagef("%s and --signal %s: say one signal", list[1], sig)
			case len(list) == 2:
				sig = list[1]
			}
			if _, err := desired.SignalNumber(sig); err != nil {
				return usagef("signal %w; write it as SIGTERM, TERM or 15", err)
			}
			client := c.client()
			defer client.Close()
			t, err := lookUpWhole(cmd.Context(), client, list[0])
			if err != nil {
				return err
			}
			if t.container, err = oneContainer(t.container, container); err != nil {
				return err
			}
			req := api.KillRequest{Signal: sig, All: all}
			if !all || t.container != "" {
				return client.Kill(cmd.Context(), t.sandbox.Name, t.container, req)
			}
			var errs []error
			sent := false
			for _, ct := range t.sandbox.Status.All() {
				err := client.Kill(cmd.Context(), t.sandbox.Name, ct.Name, req)
				errs = append(errs, err)
				sent = sent || err == nil
			}
			if sent {
				return nil // those that do not run have no processes
			}
			return errors.Join(errs...)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&sig, "signal", "s", "", "which signal, as SIGTERM, TERM or 15 (default SIGTERM)")
	f.StringVarP(&container, "container", "c", "", "which container, where there are several; as NAME/CONTAINER")
	f.BoolVarP(&all, "all", "a", false, "every process, not only the first")
	_ = cmd.RegisterFlagCompletionFunc("container", c.completeContainer(runs)) // it has none yet
	return cmd
}

// oneContainer is the container that is named in one of two ways.
func oneContainer(inName, flag string) (string, error) {
	if inName != "" && flag != "" && inName != flag {
		return "", usagef("two containers are named: %s and --container %s", inName, flag)
	}
	return cmp.Or(inName, flag), nil
}
