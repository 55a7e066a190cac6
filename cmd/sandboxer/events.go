package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

func (c *cli) eventsCommand() *cobra.Command {
	outputs := []string{"table", "wide", "json"}
	var output string
	var follow bool
	cmd := &cobra.Command{
		Use:   "events [NAME[/CONTAINER]]",
		Short: "Show what happened, and why",
		Long: `Shows what happened to one sandbox or all, and why, oldest first. Events
outlive the daemon and the sandbox; the latest 2000 are shown. With --follow new
ones are added until you interrupt it, over restarts of the daemon.`,
		Example:           "  sandboxer events\n  sandboxer events web --follow\n  sandboxer events web/app -o json",
		Args:              args(cobra.MaximumNArgs(1), "at most one NAME[/CONTAINER]"),
		ValidArgsFunction: c.completeTargets(1, anyContainer),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			name, container := "", ""
			if len(names) == 1 {
				name = names[0]
			}
			list, err := client.Events(cmd.Context(), name)
			if err == nil && len(list) == 0 && name != "" { // a sandbox that is gone has events too
				var t target
				if t, err = lookUp(cmd.Context(), client, name); err == nil {
					name, container = t.sandbox.Name, t.container
					list, err = client.Events(cmd.Context(), name)
				} else {
					unknown := err
					name, container, _ = strings.Cut(name, "/")
					list, err = client.Events(cmd.Context(), name)
					of := func(e events.Event) bool { return container == "" || e.Container == container }
					if err == nil && !slices.ContainsFunc(list, of) && !follow { // else it may come
						err = unknown
					}
				}
			}
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(e events.Event) bool { return container != "" && e.Container != container })
			if output == "json" && !follow {
				return printValue(c.stdout, api.EventList{Items: list}, false)
			}
			show := c.eventPrinter(output, list, follow)
			if follow {
				return followEvents(cmd.Context(), client, name, func(e events.Event) error {
					if container != "" && e.Container != container {
						return nil
					}
					return show(e)
				})
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
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with every new one")
	return cmd
}

// followEvents shows every event once, also where the daemon is restarted
// meanwhile: a new one begins with those that are kept.
func followEvents(ctx context.Context, client *api.Client, name string, show func(events.Event) error) error {
	shown := map[events.Event]bool{}
	var order []events.Event
	var lost time.Time // since when the daemon does not answer
	for {
		began := time.Now()
		err := client.FollowEvents(ctx, name, func(e events.Event) error {
			e.Time = e.Time.UTC() // the same instant is the same key
			if shown[e] {
				return nil
			}
			shown[e] = true
			if order = append(order, e); len(order) > events.DefaultKeep {
				delete(shown, order[0])
				order = order[1:]
			}
			return show(e)
		})
		if ctx.Err() != nil || !away(err) {
			return err
		}
		if time.Since(began) > retryEvery || lost.IsZero() { // it had answered
			lost = time.Now()
		}
		if time.Since(lost) > retryFor {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
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
	t := &table{w: c.stdout, width: columns(c.stdout), wide: wide, wrap: true, grows: follow, columns: []column{
		{title: "TIME", least: 8, whole: true}, {title: "TYPE", least: 7}, {title: "OBJECT", least: 8, most: 18},
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
