package plan

import (
	"fmt"
	"strings"

	"sandboxer/desired"
	"sandboxer/observed"
)

// mostFields is how many changed fields a reason names.
const mostFields = 6

// whyChanged says of a container what of it is declared otherwise than what it
// was made from.
func whyChanged(c *observed.Container, now *desired.Container) string {
	return fmt.Sprintf("container %q was changed", c.Name) + naming(c.Fields, now.Fields())
}

// whyAnew is why one is made anew that is declared as it was.
func whyAnew(container string) string {
	return fmt.Sprintf("a restart of container %q was asked for", container)
}

// whyReplaced says the same of the sandbox.
func (p *planner) whyReplaced() string {
	if which := naming(p.o.Record.Fields, p.d.Fields()); which != "" {
		return "the sandbox was changed" + which
	}
	if v := p.d.opened(p.o.Record); v != "" {
		return fmt.Sprintf("volume %q was served to be read only, as no container wrote it, and one is to write it now", v)
	}
	return "runtime, hostname, network, volumes or init containers were changed"
}

// naming says which fields differ; nothing where nobody knows.
func naming(was, is map[string]string) string {
	fields := desired.ChangedFields(was, is)
	if len(fields) == 0 {
		return ""
	}
	more := ""
	if n := len(fields) - mostFields; n > 0 {
		fields, more = fields[:mostFields], fmt.Sprintf(" and %d more", n)
	}
	return ": " + strings.Join(fields, ", ") + more
}

// added reports whether a container is new in a sandbox whose commands run.
func (p *planner) added(name string) bool {
	before := &p.in.Memory
	_, known := before.Containers[name]
	return !known && p.o.Record != nil && before.RanIn == p.o.Record.Sentry && before.SpecHash != ""
}

// noteReplaced tells of containers that run with what is not on the host any
// more. They are left alone, as a Pod is whose Secret was changed: when to
// restart is for its owner to say.
func (p *planner) noteReplaced() {
	var texts []string
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		if dc, _ := p.d.Container(c.Name); dc != nil && Live(c) && len(c.Replaced) > 0 {
			texts = append(texts, strings.Join(c.Replaced, ", ")+fmt.Sprintf(" since container %q was started", c.Name))
		}
	}
	if len(texts) > 0 {
		p.condition(SourceReplaced, SourceReplaced, "%s; \"sandboxer restart %s\" takes up what is there now", strings.Join(texts, "; "), p.in.Name)
	}
}
