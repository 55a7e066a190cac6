package plan

import (
	"strings"

	"sandboxer/observed"
)

// Whole stands among the names of containers for the sandbox as a whole.
const Whole = ""

// Successors names what runs and would be ended because something else is to run
// in its place, as it is declared otherwise or a restart was asked for: containers,
// or Whole alone. Whether that could be started is to be found out before Decide:
// Input.Blocked. What is on its way to its end is not among them.
func Successors(in *Input) (names []string) {
	if in.Blind || in.Desired == nil || !in.Desired.Spec.State.Runs() || in.Observed.Image != nil {
		return nil
	}
	p := planner{in: in, d: in.Desired, o: &in.Observed, now: in.Now, mem: in.Memory, world: classify(&in.Observed)}
	if !p.running() || !p.mem.StopAsked.IsZero() {
		return nil
	}
	whole, runs := p.renewed(), false
	for i := range p.o.Containers {
		c := &p.o.Containers[i]
		if !Live(c) {
			continue
		}
		runs = true
		if dc, hash := p.d.Container(c.Name); dc != nil && p.superseded(c, hash) && !p.asked(c) {
			names = append(names, c.Name)
		}
	}
	if whole && runs {
		return []string{Whole}
	}
	return names
}

// renewed reports whether the sandbox that runs is to be made anew.
func (p *planner) renewed() bool {
	return p.outdated() || p.predates(p.o.Record.CreatedAt, p.mem.RestartAsked)
}

// superseded reports whether a container that runs is to be made anew from what
// is declared under that hash.
func (p *planner) superseded(c *observed.Container, hash string) bool {
	return c.Hash != hash || p.predates(c.StartedAt, p.mem.Containers[c.Name].RestartAsked)
}

// kept reports whether the sandbox goes on as it was made, though it is to be made
// anew: that one could not be started.
func (p *planner) kept() bool { return p.in.Blocked[Whole] != "" && p.running() && p.renewed() }

// stays reports the same of a container that runs.
func (p *planner) stays(c *observed.Container) bool {
	return p.kept() || p.in.Blocked[c.Name] != ""
}

// blocked reports whether anything waits for what it is to be made from.
func (p *planner) blocked() bool { return p.mem.Blocked != "" }

// noteBlocked tells of what could not be started in place of what runs. That goes
// on; the rest is tried when the sandbox is looked at next.
func (p *planner) noteBlocked() {
	var texts []string
	add := func(what, why string) {
		texts = append(texts, what+"; what runs goes on as it was, since the next could not be started: "+why)
	}
	if p.kept() {
		what := whyRenewed
		if p.outdated() {
			what = p.whyReplaced()
		}
		add(what, p.in.Blocked[Whole])
	} else {
		for i := range p.o.Containers {
			c := &p.o.Containers[i]
			dc, hash := p.d.Container(c.Name)
			why := p.in.Blocked[c.Name]
			if dc == nil || why == "" || !Live(c) || !p.superseded(c, hash) {
				continue
			}
			what := whyAnew(c.Name)
			if c.Hash != hash {
				what = whyChanged(c, dc)
			}
			add(what, why)
		}
	}
	text := strings.Join(texts, "; ")
	if text != "" {
		p.condition(StartBlocked, StartBlocked, "%s", text)
		if text != p.mem.Blocked {
			p.notice("", StartBlocked, "%s", text)
		}
	}
	p.mem.Blocked = text
}
