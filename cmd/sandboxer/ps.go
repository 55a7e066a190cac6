package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"sandboxer/internal/api"
)

func (c *cli) psCommand() *cobra.Command {
	outputs := []string{"table", "wide", "json"}
	var output, container string
	cmd := &cobra.Command{
		Use:   "ps NAME[/CONTAINER]",
		Short: "Show the processes of a sandbox",
		Long: `Shows the processes of a sandbox: whose they are, what they use and what they
run. Their numbers count in the whole sandbox; in their containers they have
others. %CPU is of one CPU, over the life of the process.`,
		Example:           "  sandboxer ps web\n  sandboxer ps web/app -o json",
		Args:              args(cobra.ExactArgs(1), "one NAME"),
		ValidArgsFunction: c.completeTargets(1, anyContainer),
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := oneOf("output", output, outputs...); err != nil {
				return err
			}
			client := c.client()
			defer client.Close()
			t, err := lookUp(cmd.Context(), client, list[0])
			if err != nil {
				return err
			}
			if t.container, err = oneContainer(t.container, container); err != nil {
				return err
			}
			found, err := client.Processes(cmd.Context(), t.sandbox.Name, t.container)
			if err != nil {
				return err
			}
			if output == "json" {
				return printValue(c.stdout, api.ProcessList{Items: found}, false)
			}
			return c.processTable(found, output == "wide")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords(outputs...)) // it has none yet
	cmd.Flags().StringVarP(&container, "container", "c", "", "this container's only; as NAME/CONTAINER")
	return cmd
}

func (c *cli) processTable(list []api.Process, wide bool) error {
	t := &table{w: c.stdout, width: columns(c.stdout), wide: wide, columns: []column{{title: "CONTAINER", most: 16}, {title: "PID"}, {title: "PPID"},
		{title: "UID"}, {title: "%CPU"}, {title: "MEMORY"}, {title: "TIME"}, {title: "AGE"}, {title: "COMMAND"}}}
	var rows [][]string
	for _, p := range list {
		age := max(0, time.Since(p.StartedAt))
		rows = append(rows, []string{p.Container, strconv.Itoa(p.PID), strconv.Itoa(p.PPID), strconv.FormatUint(uint64(p.UID), 10),
			fmt.Sprintf("%.1f", 100*p.CPUSeconds/max(age.Seconds(), 0.01)), bytesText(p.MemoryBytes), cpuTime(p.CPUSeconds),
			duration.HumanDuration(age), strings.Join(p.Command, " ")})
	}
	t.fit(rows)
	if err := t.head(); err != nil {
		return err
	}
	for _, r := range rows {
		if err := t.row(r); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime is a time as ps prints it, with the hundredths that short ones have.
func cpuTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	return fmt.Sprintf("%d:%02d:%02d", d/time.Hour, d/time.Minute%60, d/time.Second%60)
}

// bytesText is a size in the largest unit that leaves a digit before the point.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%ci", f, units[unit])
	}
	return fmt.Sprintf("%.0f%ci", f, units[unit])
}
