package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"sandboxer/internal/api"
)

func (c *cli) describeCommand() *cobra.Command {
	outputs := []string{"text", "json", "yaml"}
	var output string
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show everything about sandboxes",
		Long: `Shows everything about sandboxes: specification, conditions and containers,
what was done and why, and when the daemon tries next. Of one NAME -o json and
yaml print one object, of several {"items": [...]}.

Values that come from files (valueFrom) never show. Of "files" volumes the text
shows the sizes; -o json and yaml hold the accepted specification whole.`,
		Example:           "  sandboxer describe web\n  sandboxer describe web -o json",
		Args:              args(cobra.MinimumNArgs(1), "at least one NAME"),
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			list, err := client.List(cmd.Context())
			if err != nil {
				return err
			}
			items, faults := pick(list.Items, names)
			all := []api.Description{}
			for _, s := range items {
				d, err := client.Describe(cmd.Context(), s.Name)
				if err != nil {
					faults = append(faults, err)
					continue
				}
				all = append(all, d)
			}
			switch {
			case len(all) == 0 && len(names) == 1:
			case output != "text" && len(names) == 1:
				err = printValue(c.stdout, all[0], output == "yaml")
			case output != "text":
				err = printValue(c.stdout, descriptions{all}, output == "yaml")
			default:
				err = c.describeAll(all)
			}
			if err != nil {
				return err
			}
			return c.report(faults)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	return cmd
}

// descriptions are what JSON shows of several sandboxes.
type descriptions struct {
	Items []api.Description `json:"items"`
}

func (c *cli) describeAll(all []api.Description) error {
	for i, d := range all {
		if i > 0 {
			fmt.Fprintln(c.stdout)
		}
		if err := c.describe(d); err != nil {
			return err
		}
	}
	return nil
}

// page collects indented lines.
type page struct{ bytes.Buffer }

// field writes one line, aligned with the others of its block.
func (p *page) field(indent int, name, value string) {
	if value == "" {
		return
	}
	fmt.Fprintf(p, "%s%-*s %s\n", strings.Repeat(" ", indent), 15-indent, name+":", printable(localTimes(value)))
}

func (c *cli) describe(d api.Description) error {
	p := &page{}
	s := d.Status
	p.field(0, "Name", d.Name)
	p.field(0, "Source", d.Source)
	p.field(0, "Declared", dash(d.DesiredState))
	ready := ""
	if s.Ready {
		ready = ", ready"
	}
	p.field(0, "Phase", string(s.Phase)+ready)
	p.field(0, "Reason", s.Reason)
	p.field(0, "Message", s.Message)
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		labels = append(labels, k+"="+d.Labels[k])
	}
	p.field(0, "Labels", strings.Join(labels, ", "))
	p.field(0, "Runtime", strings.TrimSpace(s.Runtime+" "+s.GVisor))
	p.field(0, "Spec hash", s.SpecHash)
	p.field(0, "Sandbox pid", number(s.SandboxPID))
	if s.OOMScoreAdj != nil {
		p.field(0, "OOM score", fmt.Sprint(*s.OOMScoreAdj))
	}
	p.field(0, "Cgroup", s.Cgroup)
	p.field(0, "Created", moment(s.CreatedAt))
	p.field(0, "Next look", moment(d.NextTry))
	c.describeConditions(p, s.Conditions)
	if len(d.Notes) > 0 {
		p.WriteString("Notes:\n")
		for _, n := range d.Notes {
			fmt.Fprintf(p, "  %s\n", strings.Join(fitText(printable(localTimes(n)), c.stdout), "\n    "))
		}
	}
	describeContainers(p, "Init containers", s.InitContainers)
	describeContainers(p, "Containers", s.Containers)
	if len(d.Pending) > 0 {
		p.WriteString("Pending:\n")
		for _, a := range d.Pending {
			fmt.Fprintf(p, "  %s: %s\n", strings.TrimSpace(a.Action+" "+a.Container), a.Reason)
		}
	}
	if err := describeSpec(p, d); err != nil {
		return err
	}
	if _, err := io.WriteString(c.stdout, printableLines(p.String())); err != nil {
		return err
	}
	if len(d.Events) == 0 {
		_, err := fmt.Fprintln(c.stdout, "Events:         none")
		return err
	}
	fmt.Fprintln(c.stdout, "Events:")
	t := eventTable(c, d.Events, false, false)
	if err := t.head(); err != nil {
		return err
	}
	for _, e := range d.Events {
		if err := t.row(eventCells(e)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) describeConditions(p *page, list []api.Condition) {
	if len(list) == 0 {
		p.field(0, "Conditions", "none")
		return
	}
	p.WriteString("Conditions:\n")
	for _, is := range list {
		since := ""
		if !is.Since.IsZero() {
			since = ", since " + moment(&is.Since)
		}
		fmt.Fprintf(p, "  %s (%s%s)\n", is.Type, is.Reason, since)
		for _, l := range fitText(printable(localTimes(is.Message)), c.stdout) {
			fmt.Fprintf(p, "    %s\n", l)
		}
	}
}

func describeContainers(p *page, title string, list []api.Container) {
	if len(list) > 0 {
		p.WriteString(title + ":\n")
	}
	for _, c := range list {
		fmt.Fprintf(p, "  %s:\n", c.Name)
		p.field(4, "ID", c.ID)
		p.field(4, "State", c.State)
		p.field(4, "Pid", number(c.PID))
		if c.GoferPID != nil {
			p.field(4, "Gofer pid", fmt.Sprint(*c.GoferPID))
			p.field(4, "Gofer since", strings.TrimSuffix(moment(c.GoferSince)+", version "+c.GoferVersion, ", version "))
		}
		p.field(4, "Restarts", fmt.Sprint(c.RestartCount))
		p.field(4, "New gofers", number(c.GoferRestarts))
		if c.ExitCode != nil {
			p.field(4, "Exit code", fmt.Sprint(*c.ExitCode))
		}
		p.field(4, "Reason", c.Reason)
		p.field(4, "Message", c.Message)
		p.field(4, "Last end", lastEnd(c.LastExit))
		p.field(4, "Started", moment(c.StartedAt))
		p.field(4, "Finished", moment(c.FinishedAt))
		p.field(4, "Next start", moment(c.NextStartAt))
	}
}

// lastEnd is how the instance before the one that runs ended.
func lastEnd(e *api.Exit) string {
	if e == nil {
		return ""
	}
	text := e.Reason
	if e.ExitCode != nil {
		text += fmt.Sprintf(", exit code %d", *e.ExitCode)
	}
	return strings.Trim(text+", "+moment(e.FinishedAt), ", ")
}

// fitText breaks an indented text where what it is written to has a width.
func fitText(s string, w io.Writer) []string {
	width := columns(w)
	if width == 0 {
		return []string{strings.Join(strings.Fields(s), " ")}
	}
	return wrapText(s, max(width-4, lastMin))
}

// describeSpec writes the specification as a manifest has it, but for the
// content of files, of which only the size shows.
func describeSpec(p *page, d api.Description) error {
	if d.Spec == nil {
		return nil
	}
	spec := *d.Spec
	spec.Volumes = slices.Clone(spec.Volumes)
	for i, v := range spec.Volumes {
		sizes := map[string]string{}
		for name, content := range v.Files {
			sizes[name] = fmt.Sprintf("(%d bytes)", len(content))
		}
		if len(sizes) > 0 {
			spec.Volumes[i].Files = sizes
		}
	}
	b, err := json.Marshal(spec)
	if err == nil {
		b, err = yaml.JSONToYAML(b)
	}
	if err != nil {
		return err
	}
	p.WriteString("Spec:\n")
	for l := range strings.Lines(string(b)) {
		p.WriteString("  " + l)
	}
	return nil
}

// moment is a time with how far it is from now.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	text := t.Local().Format(time.DateTime)
	d := time.Since(*t)
	if d < 0 {
		return text + " (in " + duration.HumanDuration(-d) + ")"
	}
	return text + " (" + duration.HumanDuration(d) + " ago)"
}
