package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sandboxer/internal/events"
	"sandboxer/internal/logs"
)

// outputChanged makes an event of it when a container's output begins to be
// lost, and when it is kept again; the next pass publishes the condition.
func (d *daemon) outputChanged(c logs.Change) {
	e := events.Event{
		Sandbox: c.Sandbox, Container: c.Container, Type: events.Warning, Reason: "OutputLost",
		Message: fmt.Sprintf("output of container %q is being lost: its log can't be written: %s", c.Container, c.Loss.Why),
	}
	if !c.Losing {
		e.Type, e.Reason = events.Normal, "OutputKept"
		e.Message = fmt.Sprintf("output of container %q is written to its log again; %s", c.Container, c.Loss)
	}
	d.events.Append(e)
	d.loop.Poke(c.Sandbox)
}

// outputLost is the message of the condition, empty where nothing is lost.
func outputLost(losing map[string]logs.Loss) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(losing)) {
		list = append(list, fmt.Sprintf("container %q: %s", name, losing[name]))
	}
	return strings.Join(list, "; ")
}
