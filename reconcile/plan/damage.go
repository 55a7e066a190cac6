package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sandboxer/observed"
)

// noteDamage remembers what was found damaged of the sandbox's records until
// there is another sentry, which is told of as long: what is used in its place is as good, but whatever
// has damaged the one may damage more.
func (p *planner) noteDamage() {
	m := &p.mem
	var sentry observed.Process
	if p.o.Record != nil {
		sentry = p.o.Record.Sentry
	}
	if len(p.o.Damaged) > 0 {
		p.damaged(damage(p.o.Damaged))
	}
	switch none := (observed.Process{}); {
	case sentry == none:
	case m.DamageIn == none:
		m.DamageIn = sentry
	case m.DamageIn != sentry:
		m.Damage = ""
	}
	if m.Damage == "" {
		m.DamageIn = observed.Process{}
	}
	if p.lost = p.lostContainers(); p.world != broken && len(p.o.Damaged)+len(p.lost) == 0 {
		m.MendFailed = false
	}
}

// damaged remembers damage and has it told of once.
func (p *planner) damaged(what string) {
	if p.mem.Damage != what {
		p.notice("", RecordDamaged, "%s", what)
	}
	p.mem.Damage, p.mem.DamageIn = what, observed.Process{}
	if p.o.Record != nil {
		p.mem.DamageIn = p.o.Record.Sentry
	}
}

func damage(files map[string]string) string {
	var texts []string
	for _, file := range slices.Sorted(maps.Keys(files)) {
		texts = append(texts, fmt.Sprintf("the record %s was damaged (%s); its copy is used, and what was damaged is kept as %s.damaged", file, files[file], file))
	}
	return strings.Join(texts, "; ")
}

// mend has records repaired before anything else is done: from their copies,
// or, where one has none and its sandbox lives, from what the kernel and the
// sentry know. Where that failed once, what there is must do.
func (p *planner) mend() bool {
	switch {
	case p.mem.MendFailed:
		return false
	case len(p.o.Damaged) > 0:
		p.act(Action{Verb: Mend, Reason: damage(p.o.Damaged)})
	case p.sandboxLost():
		p.damaged(fmt.Sprintf("the record sandbox.json and its copy could not be used (%s); it was made anew from what runs, as if that had been started as it is declared now", p.o.Broken))
		p.act(Action{Verb: Mend, Reason: "the sandbox's record can't be used: " + p.o.Broken + "; what runs of the sandbox is looked for"})
	case len(p.lost) > 0:
		name := p.lost[0] // the others are looked for with it
		why := p.whyLost(name)
		p.damaged(fmt.Sprintf("the record containers/%s.json and its copy could not be used (%s); what is found of the container in its sandbox goes on", name, why))
		p.act(Action{Verb: Mend, Container: name, Reason: fmt.Sprintf("the record of container %q can't be used: %s; what is in the sandbox of it is looked for", name, why)})
	default:
		return false
	}
	return true
}

// sandboxLost reports whether something runs of a sandbox whose record can't be used.
func (p *planner) sandboxLost() bool {
	return p.world == broken && p.o.Broken != "" && p.o.CgroupProcs > 0 && p.o.Image == nil
}

// lostContainers are those of a sandbox that runs that may run and of which there is
// no record that can be used, and likewise gofers of volumes, sorted.
func (p *planner) lostContainers() []string {
	if !p.running() || p.suspended() {
		return nil
	}
	lost := p.torn()
	for i := range p.o.Servers {
		if p.o.Servers[i].ID == "" {
			lost = append(lost, p.o.Servers[i].Name)
		}
	}
	if p.d != nil {
		for dc := range p.d.All() {
			_, torn := p.o.BrokenContainers[dc.Name]
			if cm := p.mem.Containers[dc.Name]; !torn && cm.Live != "" && cm.Live != cm.Seen && p.find(dc.Name) == nil {
				lost = append(lost, dc.Name)
			}
		}
	}
	slices.Sort(lost)
	return lost
}

// whyLost says why a container's record can't be used.
func (p *planner) whyLost(name string) string {
	if why := p.o.BrokenContainers[name]; why != "" {
		return why
	}
	return "it and its copies are missing"
}

// mayMend reports whether what is not known of a container may be known soon: then
// nothing is taken for an end.
func (p *planner) mayMend() bool {
	return !p.mem.MendFailed && (p.sandboxLost() || len(p.lost) > 0)
}
