package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandboxer/internal/api"
)

func (c *cli) restartCommand() *cobra.Command {
	var gofers, all bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "restart [NAME...]",
		Short: "Start containers anew, or only their gofers",
		Long: `Ends the containers of a sandbox as its manifest says and starts them again,
also those that had ended. A sandbox with init containers is made anew, so that
they run again; naming one container restarts that one alone.

With --gofer only the processes that open files for them are replaced, one
after the other, and no container notices: that is how a host picks up the
gofer of a newer sandboxer. "sandboxer get -o wide" shows their versions.`,
		Example:           "  sandboxer restart web\n  sandboxer restart web/app\n  sandboxer restart --gofer web\n  sandboxer restart --gofers --all",
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			switch {
			case all && len(names) > 0:
				return usagef("restart takes NAMEs or --all, not both")
			case !all && len(names) == 0:
				return usagef("restart takes a NAME, or --all")
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, os.ErrDeadlineExceeded)
			defer cancel()
			return c.restart(ctx, names, gofers)
		},
	}
	cmd.Flags().BoolVar(&gofers, "gofer", false, "replace gofers, and restart no container")
	cmd.Flags().BoolVar(&all, "all", false, "all sandboxes that are declared to run")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait for all of it")
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "gofers" {
			name = "gofer"
		}
		return pflag.NormalizedName(name)
	})
	return cmd
}

// restart goes through what names mean, or through all, one after the other.
func (c *cli) restart(ctx context.Context, names []string, gofers bool) error {
	client := c.client()
	defer client.Close()
	list, err := client.List(ctx)
	if err != nil {
		return err
	}
	var targets []target
	for _, n := range names {
		t, err := find(list.Items, n)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	if len(names) == 0 {
		for _, s := range list.Items {
			if s.DesiredState == "Running" || s.DesiredState == "Paused" {
				targets = append(targets, target{sandbox: s})
			}
		}
	}
	for _, t := range targets {
		if err := c.restartOne(ctx, client, t, gofers); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) restartOne(ctx context.Context, client *api.Client, t target, gofers bool) error {
	name := t.sandbox.Name
	asked, err := client.Restart(ctx, name, t.container, gofers)
	if err != nil {
		return err
	}
	last := "its state is not known yet"
	err = client.Watch(ctx, name, func(ch api.Change) error {
		if ch.Name != name {
			return nil
		}
		if ch.Deleted {
			return fmt.Errorf("sandbox %q was deleted meanwhile", name)
		}
		for _, ct := range ch.Status.All() {
			if slices.Contains(asked.Containers, ct.Name) && !isNew(ct, asked.Asked, gofers) {
				last = fmt.Sprintf("container %q is %s", ct.Name, ct.State)
				return nil
			}
		}
		return errReached
	})
	switch {
	case errors.Is(err, errReached):
	case errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return fmt.Errorf("sandbox %q was not restarted in time: %s; \"sandboxer describe %s\" says why", name, last, name)
	default:
		return err
	}
	what := "restarted"
	if gofers {
		what = "has new gofers"
	}
	_, err = fmt.Fprintln(c.stdout, name, what)
	return err
}

// isNew says whether a container, or its gofer, began after that instant. One
// that has ended since needs no gofer.
func isNew(ct api.Container, asked time.Time, gofer bool) bool {
	began := ct.StartedAt
	if gofer {
		if ct.State != "running" && ct.State != "paused" {
			return true
		}
		began = ct.GoferSince
	}
	return began != nil && !began.Before(asked)
}
