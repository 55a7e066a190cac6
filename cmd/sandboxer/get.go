package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"sandboxer/internal/api"
	"sandboxer/reconcile/plan"
)

func (c *cli) getCommand() *cobra.Command {
	outputs := []string{"table", "wide", "json", "yaml"}
	var output, labels string
	var watch bool
	cmd := &cobra.Command{
		Use:     "get [NAME... | -l SELECTOR]",
		Aliases: []string{"list", "ls", "status"},
		Short:   "Show sandboxes, rejected documents and held deletions",
		Long: `Shows sandboxes, rejected documents and held deletions.

One NAME with -o json or yaml prints one object, all else {"items": [...]}.
With --watch, changes follow until you interrupt it, one line each, also over
restarts of the daemon.

A SELECTOR is KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between: of labels.`,
		Example:           "  sandboxer get\n  sandboxer get web -o json\n  sandboxer get --watch\n  sandboxer get -l tier=front,env!=prod",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			wanted, err := parseSelector(labels)
			if err != nil {
				return usagef("--selector %w", err)
			}
			if wanted != nil && len(names) > 0 {
				return usagef("get takes NAMEs or a --selector, not both")
			}
			client := c.client()
			defer client.Close()
			list, err := client.List(cmd.Context())
			if err != nil {
				return err
			}
			items, faults := pick(wanted.pick(list.Items), names)
			p := c.sandboxPrinter(output, items, watch)
			if len(items) == 0 && len(faults) > 0 && (len(names) == 1 || watch || p.table != nil) {
				return c.report(faults)
			}
			if watch {
				failed := c.report(faults)
				return errors.Join(c.watch(cmd.Context(), client, p, items, len(names) > 0, wanted), failed)
			}
			if wanted != nil && len(items) == 0 && p.table != nil {
				_, err := fmt.Fprintln(c.stdout, "No sandbox has such labels.")
				return err
			}
			if err := p.all(items, len(names) == 1); err != nil {
				return err
			}
			return c.report(faults)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with every change")
	cmd.Flags().StringVarP(&labels, "selector", "l", "", "only what has such labels")
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
		c.say("sandboxer: %v", err)
	}
	if len(faults) > 0 {
		return errFailed
	}
	return nil
}

// watch prints what is and then what changes, also over restarts of the daemon. A
// change that would print the same, but for the age in a table, is left out. What is shown and has such
// labels no more shows once, as it is then.
func (c *cli) watch(ctx context.Context, client *api.Client, p *sandboxPrinter, items []api.Sandbox, only bool, wanted selector) error {
	if p.table != nil && p.table.head() != nil {
		return nil
	}
	one := "" // also if it goes before the watch begins
	if only && len(items) == 1 {
		one = items[0].Name
	}
	shown, matched := map[string]string{}, map[string]bool{}
	for _, i := range items {
		matched[i.Name] = true
	}
	change := func(ch api.Change) error {
		if _, named := byName(items, ch.Name); only && !named {
			return nil
		}
		was := matched[ch.Name]
		matched[ch.Name] = !ch.Deleted && wanted.of(ch.Sandbox)
		if !was && !matched[ch.Name] {
			return nil
		}
		line, err := p.line(ch)
		if err != nil || shown[ch.Name] == line {
			return err
		}
		shown[ch.Name] = line
		return p.change(ch)
	}
	for {
		err := client.Watch(ctx, one, change)
		if !away(err) || ctx.Err() != nil {
			return err
		}
		// What goes while no daemon runs, the next one knows nothing of.
		var list api.List
		if err := outlast(ctx, retryFor, func() (err error) { list, err = client.List(ctx); return err }); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			if _, is := byName(list.Items, name); is {
				continue
			}
			if err := change(api.Change{Sandbox: api.Sandbox{Name: name}, Deleted: true}); err != nil {
				return err
			}
		}
	}
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
	p.table = &table{w: c.stdout, width: columns(c.stdout), wide: output == "wide", grows: watch, columns: []column{
		{title: "NAME", least: 12, most: 24}, {title: "PHASE", least: len(api.CrashLoopBackOff), whole: true}, {title: "READY"}, {title: "RESTARTS"}, {title: "AGE", least: 5}}}
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
		return printValue(p.w, api.List{Items: append([]api.Sandbox{}, items...)}, p.yaml)
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

// line is what tells a change from those that show the same.
func (p *sandboxPrinter) line(ch api.Change) (string, error) {
	if p.table != nil {
		return strings.Join(p.cells(ch, ""), "\x00"), nil
	}
	b, err := json.Marshal(ch)
	return string(b), err
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
	if why := reasons(s, phase); why != "" && s.Phase != api.Invalid {
		message = strings.TrimSuffix(why+": "+message, ": ")
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
		text += " " + ago(*oldest)
	}
	return text
}

// reasons are why a sandbox is as it is, and before it what waits for the user:
// the message, which tells of both, may be cut. What shows as the phase is not
// said twice.
func reasons(s api.Status, phase string) string {
	var list []string
	if s.Reason != "" && !strings.HasSuffix(phase, s.Reason) {
		list = append(list, s.Reason)
	}
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
	return ago(*s.Status.CreatedAt)
}

// ago is how long ago that was; what is to come, as the clock was put back, is now.
func ago(t time.Time) string { return duration.HumanDuration(max(0, time.Since(t))) }

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
		api.ManifestRejected, api.RuntimeUnreachable, api.OutputLost, plan.LimitsDenied, plan.CreateFailed,
		plan.RestoreFailed, plan.SuspendFailed, plan.DependencyMissing, plan.DependencyNotReady,
		plan.RecordDamaged, plan.SourceReplaced, plan.StartBlocked, plan.InternalError}))
}
