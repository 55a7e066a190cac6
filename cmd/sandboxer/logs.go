package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
	"sandboxer/internal/logs"
)

func (c *cli) logsCommand() *cobra.Command {
	var o logs.Options
	var tail, since, container string
	var timestamps bool
	cmd := &cobra.Command{
		Use:   "logs NAME[/CONTAINER]",
		Short: "Show what a container wrote",
		Long: `Shows what a container wrote, also before the daemon was last started and
before the container was last restarted: what it wrote to stdout on stdout,
what it wrote to stderr on stderr. Lines that begin with "[sandboxer]" are the
daemon's: they say where output was lost, and why.

--follow goes on over restarts of the container and of the daemon. It ends when
the container has ended for good, or is removed.`,
		Example: "  sandboxer logs web --follow\n  sandboxer logs web/app --tail 20 --timestamps\n" +
			"  sandboxer logs web --since 10m 2>&1 | grep error\n  sandboxer logs web --previous",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeTargets(1, anyContainer),
		RunE: func(cmd *cobra.Command, names []string) error {
			var err, err2 error
			o.Tail, err = parseTail(tail)
			o.Since, err2 = parseSince(since, time.Now())
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if err := o.Check(); err != nil {
				return usagef("%v", err)
			}
			client := c.client()
			defer client.Close()
			var t target
			find := func() (err error) { t, err = lookUp(cmd.Context(), client, names[0]); return err }
			if o.Follow {
				err = persist(cmd.Context(), find)
			} else {
				err = find()
			}
			if err != nil {
				return err
			}
			if t.container, err = oneContainer(t.container, container); err != nil {
				return err
			}
			o.Entries = true
			return readLogs(cmd.Context(), client, t, o, logs.NewText(c.stdout, c.stderr, timestamps))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&container, "container", "c", "", "which container, where there are several; as NAME/CONTAINER")
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the container has ended for good")
	f.BoolVarP(&o.Previous, "previous", "p", false, "only what the run before the last one wrote")
	f.StringVarP(&tail, "tail", "n", "all", "how many of the last lines")
	f.StringVar(&since, "since", "", "leave out older lines: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	f.BoolVarP(&timestamps, "timestamps", "t", false, "begin each line with its time")
	return cmd
}

// readLogs writes a container's output to text. What follows it goes on where it
// was when the daemon, which has named the container, comes back.
func readLogs(ctx context.Context, client *api.Client, t target, o logs.Options, text *logs.Text) error {
	for {
		err := client.Logs(ctx, t.sandbox.Name, t.container, o, text)
		if !o.Follow || !away(err) || ctx.Err() != nil {
			return err
		}
		if o.After = text.Resume(); o.After != "" {
			o.Tail, o.Since = logs.All, time.Time{}
		}
		if err := comeBack(ctx, client, t); err != nil {
			return err
		}
	}
}

// comeBack waits until the daemon answers again and shows what is followed.
func comeBack(ctx context.Context, client *api.Client, t target) error {
	for lost := time.Now(); ; {
		sb, err := client.Get(ctx, t.sandbox.Name)
		known := err == nil && len(sb.Status.Containers) > 0
		if known || ctx.Err() != nil || time.Since(lost) > retryFor ||
			err != nil && !away(err) && !errors.Is(err, api.ErrNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

func parseTail(s string) (int, error) {
	if s == "all" || s == "-1" {
		return logs.All, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, usagef("--tail %s: want a number of lines, or all", s)
	}
	return n, nil
}

func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since %s: want a duration such as 10m, or a time such as 2026-01-02T15:04:05Z", s)
}
