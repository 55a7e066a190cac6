package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sandboxer/internal/api"
)

func (c *cli) restartCommand() *cobra.Command {
	var gofers, all bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "restart [NAME[/CONTAINER]...]",
		Short: "Start containers anew, or only their gofers",
		Long: `Ends the containers of a sandbox as its manifest says and starts them again,
also those that had ended. A sandbox with init containers is made anew, so that
they run again; naming one container restarts that one alone.

With --gofer only the processes that open files for them are replaced, one
after the other, and no container notices: that is how a host picks up the
gofer of a newer sandboxer. "sandboxer get -o wide" shows their versions.`,
		Example:           "  sandboxer restart web\n  sandboxer restart web/app\n  sandboxer restart --gofer web\n  sandboxer restart --gofers --all",
		ValidArgsFunction: c.completeTargets(0, anyContainer),
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

// nextAfter is how long a sandbox may hold up the next one. It is waited for all
// the same.
const nextAfter = 5 * time.Second

// restart goes through what names mean, or through all, one after the other.
// What can't be restarted keeps it from no other.
func (c *cli) restart(ctx context.Context, names []string, gofers bool) error {
	client := c.client()
	defer client.Close()
	list, err := client.List(ctx)
	if err != nil {
		return err
	}
	var targets []target
	var faults []error
	for _, n := range names {
		t, err := findWhole(list.Items, n)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		targets = append(targets, t)
	}
	if len(names) == 0 {
		for _, s := range list.Items {
			runs := func(c api.Container) bool { return c.State == "running" || c.State == "paused" }
			if gofers && !slices.ContainsFunc(s.Status.All(), runs) {
				continue // it has none
			}
			if s.DesiredState == "Running" || s.DesiredState == "Paused" {
				targets = append(targets, target{sandbox: s})
			}
		}
	}
	failed := c.report(faults)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards failed and what is printed
	for _, t := range targets {
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			err := c.restartOne(ctx, client, t, gofers)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = c.report([]error{err})
				return
			}
			what := "restarted"
			if gofers {
				what = "has new gofers"
			}
			if gofers && t.container != "" {
				what = "has a new gofer"
			}
			name := strings.TrimSuffix(t.sandbox.Name+"/"+t.container, "/")
			if _, err := fmt.Fprintln(c.stdout, name, what); err != nil {
				failed = err
			}
		})
		select {
		case <-done:
		case <-time.After(nextAfter):
		}
	}
	wg.Wait()
	return failed
}

// restartOne asks for it, and waits until it is done.
func (c *cli) restartOne(ctx context.Context, client *api.Client, t target, gofers bool) error {
	name := t.sandbox.Name
	last := "its state is not known yet"
	before, err := client.Get(ctx, name)
	var asked api.Restarted
	if err == nil {
		asked, err = client.Restart(ctx, name, t.container, gofers)
	}
	if err != nil && !errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded) {
		return fmt.Errorf("restarting %s: %w", name, err)
	}
	err = client.Watch(ctx, name, func(ch api.Change) error {
		if ch.Name != name {
			return nil
		}
		if ch.Deleted {
			return fmt.Errorf("sandbox %q was deleted meanwhile", name)
		}
		for _, ct := range ch.Status.All() {
			if slices.Contains(asked.Containers, ct.Name) && !isNew(ct, containerOf(before, ct.Name), gofers) {
				last = fmt.Sprintf("container %q is %s", ct.Name, ct.State)
				return nil
			}
		}
		return errReached
	})
	switch {
	case errors.Is(err, errReached):
		return nil
	case errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return fmt.Errorf("sandbox %q was not restarted in time: %s; \"sandboxer describe %s\" says why", name, last, name)
	}
	return err
}

// containerOf is a sandbox's container of that name; zero: it has none.
func containerOf(s api.Sandbox, name string) api.Container {
	for _, c := range s.Status.All() {
		if c.Name == name {
			return c
		}
	}
	return api.Container{}
}

// isNew says whether a container, or its gofer, is another one than before, and has
// begun: which is the later one the clock does not tell, as it may be set meanwhile.
// One that has ended since needs no gofer.
func isNew(ct, before api.Container, gofer bool) bool {
	if !gofer {
		return ct.StartedAt != nil && (ct.ID != before.ID || !sameTime(ct.StartedAt, before.StartedAt))
	}
	if ct.State != "running" && ct.State != "paused" {
		return true
	}
	return ct.GoferSince != nil && (ct.ID != before.ID || !sameTime(ct.GoferSince, before.GoferSince))
}

func sameTime(a, b *time.Time) bool { return a == b || a != nil && b != nil && a.Equal(*b) }
