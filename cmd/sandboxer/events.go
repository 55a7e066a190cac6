package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

func (c *cli) eventsCommand() *cobra.Command {
	var output string
	var follow bool
	cmd := &cobra.Command{
		Use:               "events [NAME]",
		Short:             "Show what happened, and why",
		Long:              "Shows what happened to one sandbox or all, and why, oldest first.",
		Example:           "  sandboxer events\n  sandboxer events web --follow",
		Args:              args(cobra.MaximumNArgs(1), "at most one NAME"),
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, "table", "wide", "json"); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			name := ""
			if len(names) == 1 {
				name = names[0]
			}
			list, err := client.Events(cmd.Context(), name)
			if err == nil && len(list) == 0 && name != "" { // a sandbox that is gone has events too
				var t target
				if t, err = lookUp(cmd.Context(), client, name); err == nil {
					name = t.sandbox.Name
					list, err = client.Events(cmd.Context(), name)
				} else if follow {
					err = nil // it may come
				}
			}
			if err != nil {
				return err
			}
			if output == "json" && !follow {
				return printValue(c.stdout, api.EventList{Items: list}, false)
			}
			show := c.eventPrinter(output, list, follow)
			if follow {
				return client.FollowEvents(cmd.Context(), name, show)
			}
			for _, e := range list {
				if err := show(e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json (with --follow: a line each)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with every new one")
	return cmd
}

// eventPrinter returns what prints one event; list is what is there before.
func (c *cli) eventPrinter(output string, list []events.Event, follow bool) func(events.Event) error {
	if output == "json" {
		enc := json.NewEncoder(c.stdout)
		enc.SetEscapeHTML(false)
		return func(e events.Event) error { return enc.Encode(e) }
	}
	t := eventTable(c, list, output == "wide", follow)
	began := false
	return func(e events.Event) error {
		if !began {
			began = true
			if err := t.head(); err != nil {
				return err
			}
		}
		return t.row(eventCells(e))
	}
}

// eventTable is a table with room for list.
func eventTable(c *cli, list []events.Event, wide, follow bool) *table {
	t := &table{w: c.stdout, wide: wide, wrap: true, grows: follow, columns: []column{
		{title: "TIME", least: 8}, {title: "TYPE", least: 7}, {title: "OBJECT", least: 8, most: 18},
		{title: "REASON", least: 9, most: 16}, {title: "MESSAGE"}}}
	var rows [][]string
	for _, e := range list {
		rows = append(rows, eventCells(e))
	}
	t.fit(rows)
	return t
}

func eventCells(e events.Event) []string {
	object := dash(e.Sandbox)
	if e.Container != "" {
		object += "/" + e.Container
	}
	message := e.Message
	if e.Took > 0 {
		message += " (" + e.Took.Round(time.Millisecond/10).String() + ")"
	}
	return []string{clock(e.Time), string(e.Type), object, e.Reason, message}
}

// clock is a time of the last day, or else a date.
func clock(t time.Time) string {
	if d := time.Since(t); d >= 0 && d < 24*time.Hour {
		return t.Local().Format(time.TimeOnly)
	}
	return t.Local().Format(time.DateOnly)
}
