package plan

import (
	"fmt"

	"sandboxer/observed"
)

// stepHooks decides for a declared container, which does not run, as far as
// hooks have to do with it; due is false where they have not.
func (p *planner) stepHooks(c *observed.Container, hash string) (s step, due bool) {
	if c == nil {
		return step{}, false
	}
	fits := c.State == observed.Creating && c.Exit == nil && c.Hash == hash
	switch {
	case fits && c.HookPhase == observed.HooksCreating:
		return step{waits: true}, true
	case fits && c.HookPhase == observed.HooksCreated:
		return step{verb: Start, name: c.Name, id: c.ID, reason: fmt.Sprintf("the hooks before the command of container %q have succeeded", c.Name)}, true
	}
	return p.release(c)
}

// release has an instance that does not run taken out of the sandbox, and its
// poststop hooks run, before anything else is done with its container.
func (p *planner) release(c *observed.Container) (s step, due bool) {
	switch c.HookPhase {
	case "":
		return step{}, false
	case observed.HooksStopping:
		return step{waits: true}, true
	}
	why := fmt.Sprintf("container %q has ended", c.Name)
	if c.Exit == nil {
		why = fmt.Sprintf("this instance of container %q is not to be started any more", c.Name)
	}
	return step{verb: Release, name: c.Name, id: c.ID, reason: why + ", and hooks are to be run after it", rests: true}, true
}

// releaseAll is release for a sandbox in which nothing runs, and reports
// whether there was anything to do.
func (p *planner) releaseAll() bool {
	for i := range p.o.Containers {
		if s, due := p.release(&p.o.Containers[i]); due {
			p.apply(s)
		}
	}
	return len(p.actions) > 0
}

// destroy has nothing left of the sandbox. What hooks are owed, or run, comes
// before their records go.
func (p *planner) destroy(why string) {
	owed, run := false, false
	for i := range p.o.Containers {
		phase := p.o.Containers[i].HookPhase
		run = run || phase == observed.HooksStopping
		owed = owed || phase != "" && phase != observed.HooksStopping
	}
	switch {
	case p.imageOwes() && (p.world == stopped || p.world == absent):
		p.act(Action{Verb: Discard, Reason: why + ", and hooks are to be run first: the checkpoint is discarded"})
	case owed || p.imageOwes():
		p.act(Action{Verb: Stop, Reason: why + ", and hooks are to be run first"})
	case run:
		// They poke when they are over.
	default:
		p.act(Action{Verb: Destroy, Reason: why})
	}
}

// imageOwes reports whether hooks are to be run for containers of the
// sandbox's checkpoint.
func (p *planner) imageOwes() bool {
	if p.o.Image == nil {
		return false
	}
	for _, c := range p.o.Image.Containers {
		if c.HookPhase != "" {
			return true
		}
	}
	return false
}
