package main

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	var output string
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show everything about one sandbox",
		Long: `Shows everything about one sandbox: its specification, conditions and
containers, what was done and why, and when the daemon tries next.

Values that come from files (valueFrom) never show. Of "files" volumes the text
shows the sizes; -o json and yaml hold the accepted specification whole.`,
		Example:           "  sandboxer describe web\n  sandboxer describe web -o json",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := oneOf("output", output, "text", "json", "yaml"); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			t, err := lookUp(cmd.Context(), client, names[0])
			if err != nil {
				return err
			}
			d, err := client.Describe(cmd.Context(), t.sandbox.Name)
			if err != nil {
				return err
			}
			if output != "text" {
				return printValue(c.stdout, d, output == "yaml")
			}
			return c.describe(d)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}

// page collects indented lines.
type page struct{ bytes.Buffer }

// field writes one line, aligned with the others of its block.
func (p *page) field(indent int, name, value string) {
	if value == "" {
		return
	}
	name += ":"
	fmt.Fprintf(p, "%s%-*s%s\n", strings.Repeat(" ", indent), 16-indent, name, value)
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
	p.field(0, "Runtime", s.Runtime)
	p.field(0, "Spec hash", s.SpecHash)
	p.field(0, "Sandbox pid", number(s.SandboxPID))
	if s.OOMScoreAdj != nil {
		p.field(0, "OOM score", fmt.Sprint(*s.OOMScoreAdj))
	}
	p.field(0, "Cgroup", s.Cgroup)
	p.field(0, "Created", moment(s.CreatedAt))
	p.field(0, "Next look", moment(d.NextTry))
	describeConditions(p, s.Conditions)
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
	if _, err := c.stdout.Write(p.Bytes()); err != nil {
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

func describeConditions(p *page, list []api.Condition) {
	if len(list) == 0 {
		p.field(0, "Conditions", "none")
		return
	}
	p.WriteString("Conditions:\n")
	for _, c := range list {
		since := ""
		if !c.Since.IsZero() {
			since = ", since " + moment(&c.Since)
		}
		fmt.Fprintf(p, "  %s (%s%s)\n", c.Type, c.Reason, since)
		for _, l := range wrapText(c.Message, tableWidth-4) {
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
		p.field(4, "Started", moment(c.StartedAt))
		p.field(4, "Finished", moment(c.FinishedAt))
		p.field(4, "Next start", moment(c.NextStartAt))
	}
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
