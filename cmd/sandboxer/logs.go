package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/logs"
)

func (c *cli) logsCommand() *cobra.Command {
	var o logs.Options
	var tail, since string
	cmd := &cobra.Command{
		Use:   "logs NAME[/CONTAINER]",
		Short: "Show what a container wrote",
		Long: `Shows what a container wrote to its stdout and stderr, also before the
daemon was last started and before the container was last restarted.`,
		Example: "  sandboxer logs web --follow\n  sandboxer logs web/app --tail 20 --timestamps\n" +
			"  sandboxer logs web --since 10m",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			var err, err2 error
			o.Tail, err = parseTail(tail)
			o.Since, err2 = parseSince(since, time.Now())
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			t, err := lookUp(cmd.Context(), client, names[0])
			if err != nil {
				return err
			}
			return client.Logs(cmd.Context(), t.sandbox.Name, t.container, o, c.stdout)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the container ends")
	f.StringVarP(&tail, "tail", "n", "all", "how many of the last lines")
	f.StringVar(&since, "since", "", "leave out older lines: a duration such as 10m, or a time such as 2026-01-02T15:04:05Z")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "begin each line with its time")
	return cmd
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
