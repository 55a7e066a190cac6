package plan

import (
	"fmt"
	"slices"
	"time"

	"sandboxer/observed"
)

// MemoryStep is the least, in bytes, by which a sandbox's memory must have
// changed to be worth another question.
const MemoryStep = 4 << 20

// oomWindow is how long after a kill by the kernel was told of an end is taken
// for its consequence: who is killed lives a while longer, and where that is
// the host's part of a process, the sentry ends the process only when it would
// run next.
const oomWindow = 5 * time.Second

// oomAgain is when a container that was killed for memory, and has not ended,
// is killed again.
const oomAgain = time.Second

const sigkill = 9

// killed tells of kills by the kernel that are not told of yet, and remembers
// that they are.
func (p *planner) killed() {
	if !p.newKills() {
		return
	}
	m := &p.mem
	m.OOMSentry, m.OOMKills, m.OOMSeen = p.o.Record.Sentry, p.o.Memory.Kills, p.now
	p.notice("", observed.ReasonOOMKilled, "%s", p.killer())
}

// newKills reports whether the kernel has killed in the sandbox since that was
// told of last. A sandbox that is made anew has a new cgroup, which counts anew.
func (p *planner) newKills() bool {
	told := uint64(0)
	if p.mem.OOMSentry == p.o.Record.Sentry {
		told = p.mem.OOMKills
	}
	return p.o.Memory.Kills > told
}

// killedByKernel reports whether the end of the instance cm.Live, which nobody
// here asked for, is owed to a kill by the kernel.
func (p *planner) killedByKernel(cm ContainerMemory, e observed.Exit) bool {
	if p.world == lost {
		return e.Reason == observed.ReasonSandboxLost && p.sentryKilled()
	}
	return p.running() && e.Signal == sigkill && cm.StopID != cm.Live && p.killedLately()
}

// sentryKilled reports whether a sentry that is gone was killed by the kernel.
// It may have been seen to live after the kill was counted.
func (p *planner) sentryKilled() bool {
	m := &p.o.Memory
	return p.newKills() || m.Kills > 0 && (m.KilledPID == p.o.Record.Sentry.PID || p.killedLately())
}

// killedLately reports whether a kill was told of a moment ago.
func (p *planner) killedLately() bool {
	return p.mem.OOMSentry == p.o.Record.Sentry && p.now.Sub(p.mem.OOMSeen) < oomWindow
}

// killer says whom the kernel killed, and for want of what.
func (p *planner) killer() string {
	m := &p.o.Memory
	whom := "one of its processes"
	sentry := p.o.Record.Sentry.PID
	switch pid := m.KilledPID; {
	case pid == sentry, p.world == lost: // it outlives all others, whoever was killed last
		whom = fmt.Sprintf("its sentry (process %d)", sentry)
	case pid == 0:
	default:
		whom = fmt.Sprintf("process %d, an application's", pid)
		for i := range p.o.Containers {
			if c := &p.o.Containers[i]; c.Gofer.PID == pid {
				whom = fmt.Sprintf("the gofer of container %q (process %d)", c.Name, pid)
			}
		}
	}
	// A cgroup is charged in batches, so it may fail a little below its limit.
	if m.LimitBytes == 0 || m.PeakBytes != 0 && m.PeakBytes < m.LimitBytes-MemoryStep {
		return fmt.Sprintf("the host ran out of memory and the kernel killed %s; the sandbox had used %s at most", whom, size(m.PeakBytes))
	}
	return fmt.Sprintf("the sandbox reached its limit of %s (peak %s) and the kernel killed %s", size(m.LimitBytes), size(m.PeakBytes), whom)
}

// size is a number of bytes for people; 0: nobody knows.
func size(bytes int64) string {
	if bytes == 0 {
		return "an unknown amount"
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// rememberLimit puts a container's declared memory limit in force. One that is
// below what the container uses waits, like one of the cgroup's, until it uses
// less: it was not the container that did anything.
func (p *planner) rememberLimit(cm ContainerMemory, c *observed.Container, declared int64) ContainerMemory {
	lowered := declared != 0 && (cm.MemoryLimit == 0 || declared < cm.MemoryLimit)
	used, known := p.o.Memory.Containers[c.ID]
	if !known {
		used = p.o.Memory.UsageBytes // at most
	}
	if !lowered || used <= declared {
		cm.MemoryLimit = declared
	}
	return cm
}

// limitsInUse says, by a condition, which declared memory limit waits; the
// cgroup's, if that one waits too, has been told of already.
func (p *planner) limitsInUse() {
	if slices.ContainsFunc(p.conditions, func(c Condition) bool { return c.Type == LimitsDenied }) {
		return
	}
	for dc := range p.d.All() {
		c, cm := p.find(dc.Name), p.mem.Containers[dc.Name]
		if c == nil || !Live(c) || cm.Live != c.ID || cm.MemoryLimit == dc.MemoryLimit() {
			continue
		}
		until := "no limit"
		if cm.MemoryLimit != 0 {
			until = "the one of " + size(cm.MemoryLimit)
		}
		p.condition(LimitsDenied, "InUse", "container %q uses %s, more than its new memory limit of %s; until it uses less %s is in force",
			dc.Name, size(p.o.Memory.Containers[c.ID]), size(dc.MemoryLimit()), until)
		return
	}
}

// overLimit ends a container that uses more memory than its limit, inside the
// sandbox, so that its siblings and the sandbox live.
func (p *planner) overLimit(c *observed.Container) (s step, over bool) {
	used, limit := p.o.Memory.Containers[c.ID], p.mem.Containers[c.Name].MemoryLimit
	if limit == 0 || used <= limit {
		return step{}, false
	}
	if cm := p.mem.Containers[c.Name]; cm.StopID == c.ID && cm.StopReason == observed.ReasonOOMKilled && p.now.Before(cm.StopAsked.Add(oomAgain)) {
		p.lookAt(cm.StopAsked.Add(oomAgain))
		return step{waits: true}, true // it is about to end
	}
	why := fmt.Sprintf("container %q used %s of memory, more than its limit of %s", c.Name, size(used), size(limit))
	return step{verb: Kill, name: c.Name, id: c.ID, reason: why, exit: observed.ReasonOOMKilled, message: why + "; all its processes were killed", rests: true}, true
}

// memoryMark is how much memory the sandbox's cgroup has to use for a container
// to be over its limit, as far as the last answer tells; 0: none can be. What a
// container frees can hide what another takes: a look that finds much changed
// asks anew.
func (p *planner) memoryMark() int64 {
	if p.d == nil || !p.running() {
		return 0
	}
	m := &p.o.Memory
	mark := int64(0)
	for dc := range p.d.All() {
		c, limit := p.find(dc.Name), dc.MemoryLimit()
		if limit == 0 || c == nil || !Live(c) {
			continue
		}
		at := limit
		if m.Containers != nil {
			at = m.ContainersAt + max(limit-m.Containers[c.ID], MemoryStep)
		}
		if mark == 0 || at < mark {
			mark = at
		}
	}
	return mark
}
