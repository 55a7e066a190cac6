package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"sandboxer/internal/api"
	"sandboxer/reconcile"
)

func (c *cli) getCommand() *cobra.Command {
	var output string
	var watch bool
	cmd := &cobra.Command{
		Use:     "get [NAME...]",
		Aliases: []string{"list", "ls", "status"},
		Short:   "Show sandboxes, rejected documents and held deletions",
		Long: `Shows sandboxes, rejected documents and held deletions.

One NAME with -o json or yaml prints one object, all else {"items": [...]}.
With --watch, changes follow until you interrupt it, one line each.`,
		Example:           "  sandboxer get\n  sandboxer get web -o json\n  sandboxer get --watch",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, "table", "wide", "json", "yaml"); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			list, err := client.List(cmd.Context())
			if err != nil {
				return err
			}
			items, faults := pick(list.Items, names)
			if len(items) == 0 && len(faults) > 0 {
				return c.report(faults)
			}
			p := c.sandboxPrinter(output, items, watch)
			if watch {
				failed := c.report(faults)
				return errors.Join(c.watch(cmd.Context(), client, p, items, len(names) > 0), failed)
			}
			if err := p.all(items, len(names) == 1); err != nil {
				return err
			}
			return c.report(faults)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide, json or yaml")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with every change")
	return cmd
}

// pick gives the items that names mean, in their order, and what is wrong with
// the others; no names: all.
func pick(items []api.Sandbox, names []string) (picked []api.Sandbox, faults []error) {
	if len(names) == 0 {
		return items, nil
	}
	for _, n := range names {
		t, err := find(items, n)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if _, twice := byName(picked, t.sandbox.Name); !twice {
			picked = append(picked, t.sandbox)
		}
	}
	return picked, faults
}

// report says what could not be shown, beside what could. Where there is
// anything, the error that it returns makes the exit code 1.
func (c *cli) report(faults []error) error {
	for _, err := range faults {
		fmt.Fprintf(c.stderr, "sandboxer: %v\n", err)
	}
	if len(faults) > 0 {
		return errFailed
	}
	return nil
}

// watch prints what is and then what changes. A change that would print the
// same line, but for the age, is left out of a table.
func (c *cli) watch(ctx context.Context, client *api.Client, p *sandboxPrinter, items []api.Sandbox, only bool) error {
	if p.table != nil && p.table.head() != nil {
		return nil
	}
	one := "" // also if it goes before the watch begins
	if only && len(items) == 1 {
		one = items[0].Name
	}
	shown := map[string]string{}
	return client.Watch(ctx, one, func(ch api.Change) error {
		if _, wanted := byName(items, ch.Name); only && !wanted {
			return nil
		}
		if p.table != nil {
			line := strings.Join(p.cells(ch, ""), "\x00")
			if shown[ch.Name] == line {
				return nil
			}
			shown[ch.Name] = line
		}
		return p.change(ch)
	})
}

// sandboxPrinter prints sandboxes in one of get's forms.
type sandboxPrinter struct {
	w     io.Writer
	yaml  bool
	table *table // nil: JSON or YAML
}

func (c *cli) sandboxPrinter(output string, items []api.Sandbox, watch bool) *sandboxPrinter {
	p := &sandboxPrinter{w: c.stdout, yaml: output == "yaml"}
	if output == "json" || output == "yaml" {
		return p
	}
	p.table = &table{w: c.stdout, wide: output == "wide", grows: watch, columns: []column{
		{title: "NAME", least: 12, most: 24}, {title: "PHASE", least: 11}, {title: "READY"}, {title: "RESTARTS"}, {title: "AGE", least: 5}}}
	if p.table.wide {
		p.table.columns = append(p.table.columns, column{title: "DECLARED", least: 7}, column{title: "RUNTIME"},
			column{title: "PID", least: 5}, column{title: "GOFERS"}, column{title: "SOURCE"})
	}
	p.table.columns = append(p.table.columns, column{title: "MESSAGE"})
	var rows [][]string
	for _, s := range items {
		rows = append(rows, p.cells(api.Change{Sandbox: s}, age(s)))
	}
	p.table.fit(rows)
	return p
}

func (p *sandboxPrinter) all(items []api.Sandbox, one bool) error {
	if p.table == nil {
		if one {
			return printValue(p.w, items[0], p.yaml)
		}
		return printValue(p.w, api.List{Items: items}, p.yaml)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(p.w, "No sandboxes are declared. Put a manifest into the daemon's directory to make one.")
		return err
	}
	if err := p.table.head(); err != nil {
		return err
	}
	for _, s := range items {
		if err := p.table.row(p.cells(api.Change{Sandbox: s}, age(s))); err != nil {
			return err
		}
	}
	return nil
}

func (p *sandboxPrinter) change(ch api.Change) error {
	if p.table != nil {
		return p.table.row(p.cells(ch, age(ch.Sandbox)))
	}
	if p.yaml {
		if _, err := io.WriteString(p.w, "---\n"); err != nil {
			return err
		}
		return printValue(p.w, ch, true)
	}
	b, err := json.Marshal(ch)
	if err == nil {
		_, err = p.w.Write(append(b, '\n'))
	}
	return err
}

// cells are one row.
func (p *sandboxPrinter) cells(ch api.Change, age string) []string {
	s := ch.Status
	phase, ready, message := string(s.Phase), "-", s.Message
	if ch.Deleted {
		phase = "Deleted"
	}
	n, restarts := 0, 0
	for _, c := range s.Containers {
		restarts += c.RestartCount
		if c.Ready {
			n++
		}
	}
	if text, ok := initPhase(s); ok && !ch.Deleted {
		phase, restarts = text, 0
		for _, c := range s.InitContainers {
			restarts += c.RestartCount
		}
	} else if s.Reason == api.CrashLoopBackOff && !ch.Deleted {
		phase = s.Reason // where users of kubectl look for it
	}
	if len(s.Containers) > 0 {
		ready = fmt.Sprintf("%d/%d", n, len(s.Containers))
	}
	if s.Reason != "" && s.Phase != api.Invalid {
		message = strings.TrimSuffix(reasons(s)+": "+message, ": ")
	}
	cells := []string{ch.Name, phase, ready, strconv.Itoa(restarts), age}
	if p.table.wide {
		cells = append(cells, dash(ch.DesiredState), dash(s.Runtime), dash(number(s.SandboxPID)), dash(gofers(s, age != "")), dash(ch.Source))
	}
	return append(cells, message)
}

// gofers tells the versions of a sandbox's gofers and, if wanted, how long the
// oldest has served.
func gofers(s api.Status, withAge bool) string {
	var versions []string
	var oldest *time.Time
	for _, c := range s.All() {
		if c.GoferSince == nil {
			continue
		}
		if !slices.Contains(versions, c.GoferVersion) {
			versions = append(versions, c.GoferVersion)
		}
		if oldest == nil || c.GoferSince.Before(*oldest) {
			oldest = c.GoferSince
		}
	}
	if oldest == nil {
		return ""
	}
	text := strings.Join(versions, ",")
	if withAge {
		text += " " + duration.HumanDuration(time.Since(*oldest))
	}
	return text
}

// reasons are why a sandbox is as it is, and before it what waits for the user:
// the message, which tells of both, may be cut.
func reasons(s api.Status) string {
	list := []string{s.Reason}
	for _, c := range s.Conditions {
		if (c.Type == api.ManifestRejected || c.Type == api.DeletionHeld) && c.Type != s.Reason {
			list = slices.Insert(list, 0, c.Type)
		}
	}
	return strings.Join(list, ", ")
}

func age(s api.Sandbox) string {
	if s.Status.CreatedAt == nil {
		return "-"
	}
	return duration.HumanDuration(time.Since(*s.Status.CreatedAt))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// number is n, or nothing for 0.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// printValue writes v as indented JSON or as YAML of the same fields.
func printValue(w io.Writer, v any, asYAML bool) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	text := []byte(b.String())
	if asYAML {
		var err error
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
	}
	_, err := w.Write(text)
	return err
}

// conditionTypes are those that wait knows, sorted.
func conditionTypes() []string {
	return slices.Sorted(slices.Values([]string{api.OOMScoreDenied, api.Unsupported, api.DeletionHeld,
		api.ManifestRejected, api.RuntimeUnreachable, api.OutputLost, reconcile.LimitsDenied, reconcile.CreateFailed,
		reconcile.RestoreFailed, reconcile.SuspendFailed, reconcile.DependencyMissing, reconcile.DependencyNotReady,
		reconcile.RecordDamaged, reconcile.SourceReplaced, reconcile.InternalError}))
}
