package daemon

import (
	"fmt"

	"sandboxer/actuator"
	"sandboxer/internal/events"
)

// hookEnded makes an event of a hook's end, with what the hook has said.
func (d *daemon) hookEnded(h actuator.HookEnd) {
	e := events.Event{Sandbox: h.Sandbox, Container: h.Container, Type: events.Normal, Reason: "HookDone", Took: h.Took,
		Message: fmt.Sprintf("%s hook %s has succeeded", h.Point, h.Path)}
	if h.Err != nil {
		e.Type, e.Reason = events.Warning, "HookFailed"
		e.Message = fmt.Sprintf("%s hook %s has failed: %v", h.Point, h.Path, h.Err)
	}
	if h.Output != "" {
		e.Message += fmt.Sprintf("; it said %q", h.Output)
	}
	d.events.Append(e)
}
